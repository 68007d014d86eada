"""The runs of the study `vae-prior`: what each trains and measures, kept in files, and worker processes for them.

`python -m pushforward.studies.vae.runs FOLDER` does the run that FOLDER/run.json describes.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pushforward import losses, metrics, recipes
from pushforward.data import mnist, mnist_sample
from pushforward.data.digits import Digits
from pushforward.errors import RunError
from pushforward.storage.whole_files import replacing
from pushforward.training import fit
from pushforward.vae import VAE, binarize, mlp_vae

RUN, MEASURED, ARRAYS, CHECKPOINT = "run.json", "measured.json", "arrays.safetensors", "checkpoint.safetensors"
WARM_UP, WARM_UP_WEIGHT = "warm-up", 0.3  # folder, and weight of the KL term while warming up
POLL_SECONDS = 0.5
TEST_SEED = 1_000  # of the test images' binarization: the same images for every model
NUM_SAMPLES = 36  # images drawn from each prior
ACTIVE = 0.01  # a latent is active if the variance of its posterior mean over images is above this (arXiv:1509.00519)


@dataclass(frozen=True)
class Run:
    """One training and how it is measured.

    Attributes:
        prior: A name that `mlp_vae` takes.
        latent: Number of latents.
        binarization: "dynamic" or "threshold".
        seed: Seed of weights, shuffles and noise.
        planar: Planar maps that refine the posterior, each steered by the encoder; 0 for none.
        warm_up: Epochs with a small weight of the KL term and half the learning rate, which come first.
        epochs, batch_size, learning_rate, hidden: Of the training proper and the networks.
        elbo_samples: Posterior samples for each test image in the ELBO.
        iwae_images, iwae_samples: Of the importance-weighted bound.
        compared: Latents of each law in MMD and pictures; twice as many in the C2ST.
        sample: Whether to use the tiny shipped part of MNIST.
    """

    prior: str
    latent: int = 32
    binarization: str = "dynamic"
    seed: int = 0
    planar: int = 0
    warm_up: int = 1
    epochs: int = 14
    batch_size: int = 125
    learning_rate: float = 2e-3
    hidden: int = 512
    elbo_samples: int = 8
    iwae_images: int = 1_000
    iwae_samples: int = 500
    compared: int = 2_000
    sample: bool = False

    @property
    def name(self) -> str:
        """What it is called in progress lines, and its folder."""
        refined = "-planar" if self.planar else ""
        return f"{self.prior}-{self.latent}{refined}-{self.binarization}-seed{self.seed}"

    def model(self) -> VAE:
        """Return the untrained autoencoder."""
        torch.manual_seed(self.seed)
        flow = None
        if self.planar:
            flow = recipes.planar(self.latent, num_layers=self.planar, context_features=32, hidden_features=(32,))
        hidden = (self.hidden, self.hidden)
        return mlp_vae(latent_features=self.latent, prior=self.prior, posterior_flow=flow, hidden_features=hidden)


@dataclass(frozen=True)
class Found:
    """A finished run.

    Attributes:
        run: What was run.
        numbers: What was measured; the keys are those of `_measure`, and what the training took.
        arrays: Per-image ELBOs and what the pictures show.
    """

    run: Run
    numbers: dict[str, Any]
    arrays: dict[str, Tensor]


def complete(runs: Sequence[Run], folder: Path, num_workers: int, say: Callable[[str], None]) -> list[Found]:
    """Return every run's findings, after doing those that the folder does not hold yet.

    Args:
        runs: The runs, in the order in which they are begun.
        folder: Where each has a folder of its own: its checkpoint while it trains, its findings afterwards.
        num_workers: Number of processes of one thread each; 0 works in this one.
        say: Called with lines of progress.

    Raises:
        RunError: If a worker fails.
    """
    pending = [run for run in runs if _read(run, folder / run.name) is None]
    say(f"  {len(runs) - len(pending)} of {len(runs)} runs are in {folder}")
    for run in pending:
        (folder / run.name).mkdir(parents=True, exist_ok=True)
        with replacing(folder / run.name / RUN) as file:
            file.write(json.dumps(asdict(run)).encode())
    if num_workers == 0:
        for run in pending:
            perform(folder / run.name)
            say(f"  {run.name}")
    else:
        _share(pending, folder, num_workers, say)
    found = [_read(run, folder / run.name) for run in runs]
    return [one for one in found if one is not None]


def _share(pending: Sequence[Run], folder: Path, num_workers: int, say: Callable[[str], None]) -> None:
    waiting = list(pending)
    workers: dict[str, tuple[subprocess.Popen[bytes], Any]] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < num_workers:
                run = waiting.pop(0)
                errors = tempfile.TemporaryFile("w+")  # closed below
                command = [sys.executable, "-m", __name__, str(folder / run.name), str(os.getpid())]
                one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
                process = subprocess.Popen(command, stderr=errors, stdin=subprocess.DEVNULL, env=one_thread)
                workers[run.name] = (process, errors)
            for name in [name for name, (process, _) in workers.items() if process.poll() is not None]:
                process, errors = workers.pop(name)
                errors.seek(0)
                last_words = (errors.read().strip().splitlines() or ["it gave no reason"])[-1]
                errors.close()
                if process.returncode:
                    raise RunError(f"the run {name} failed: {last_words}")
                say(f"  {name} ({len(pending) - len(waiting) - len(workers)} of {len(pending)} done)")
            time.sleep(POLL_SECONDS)
    finally:
        for process, _ in workers.values():
            process.terminate()  # it saves a checkpoint first
        for process, errors in workers.values():
            process.wait()
            errors.close()


def _read(run: Run, folder: Path) -> Found | None:
    """Return what the folder holds of exactly this run, or None."""
    try:
        numbers = json.loads((folder / MEASURED).read_text())
        arrays = load_file(folder / ARRAYS)
    except FileNotFoundError:
        return None
    return Found(run, numbers, arrays) if numbers["run"] == asdict(run) else None


def perform(folder: Path) -> None:
    """Train and measure what FOLDER/run.json says, going on from a checkpoint if there is one."""
    run = Run(**json.loads((folder / RUN).read_text()))
    data = mnist_sample() if run.sample else mnist()
    model = run.model()
    options: dict[str, Any] = {"batch_size": run.batch_size, "seed": run.seed, "resume": True, "progress": False}
    begun = fit(
        model,
        data.train.x,
        validation=None,
        loss=partial(losses.elbo, binarize=run.binarization, kl_weight=WARM_UP_WEIGHT),
        epochs=run.warm_up,
        learning_rate=run.learning_rate / 2,
        schedule="constant",
        out=folder / WARM_UP,
        **options,
    )
    history = fit(
        model,
        data.train.x,
        validation=data.validation.x,
        loss=partial(losses.elbo, binarize=run.binarization),
        epochs=run.epochs,
        learning_rate=run.learning_rate,
        out=folder,
        **options,
    )
    numbers, arrays = _measure(run, model, data)
    numbers |= {
        "run": asdict(run),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": begun.steps + history.steps,
        "seconds": begun.seconds + history.seconds,
        "best_validation": history.best_validation,
        "curve": [[run.warm_up + row["epoch"], row["train_loss"], row["validation_loss"]] for row in history.rows[1:]],
    }
    save_file(arrays, folder / ARRAYS)
    with replacing(folder / MEASURED) as file:
        file.write(json.dumps(numbers).encode())
    for finished in (folder, folder / WARM_UP):
        (finished / CHECKPOINT).unlink()  # ten times the model's size, and no longer needed


@torch.no_grad()
def _measure(run: Run, model: VAE, data: Digits) -> tuple[dict[str, Any], dict[str, Tensor]]:
    x = binarize(data.test.x, run.binarization, generator=torch.Generator().manual_seed(TEST_SEED))
    generator = torch.Generator().manual_seed(run.seed)
    pieces = [model.terms(some, run.elbo_samples, generator=generator) for some in x.split(500)]
    elbo = torch.cat([terms.log_weight.mean(-1) for terms in pieces])
    likelihood = torch.cat([terms.likelihood.mean(-1) for terms in pieces]).mean().item()
    chosen = torch.linspace(0, len(x) - 1, min(run.iwae_images, len(x))).long()
    iwae = model.iwae(x[chosen], run.iwae_samples, generator=generator)

    latents = torch.cat([model.encode(some, generator=generator)[0].squeeze(-2) for some in x.split(500)])
    latents = latents[torch.randperm(len(latents), generator=generator)]  # the test images come in two halves
    drawn = model.sample_prior(len(latents), generator=generator)
    few, many = min(run.compared, len(latents)), min(2 * run.compared, len(latents))
    null = metrics.mmd_null(latents[:few], drawn[:few], seed=run.seed)
    c2st = metrics.c2st(latents[:many], drawn[:many], seed=run.seed)
    flat, flat_drawn, share = _flattened(latents, drawn)
    means = torch.cat([model.posterior(some)[0] for some in x.split(500)])
    numbers = {
        "elbo": elbo.mean().item(),
        "elbo_error": _error(elbo),
        "likelihood": likelihood,
        "rate": likelihood - elbo.mean().item(),
        "iwae": iwae.mean().item(),
        "iwae_error": _error(iwae),
        "iwae_images": len(chosen),
        "elbo_of_iwae_images": elbo[chosen].mean().item(),
        "active": int((means.var(0) > ACTIVE).sum()),
        "mmd": null.observed,
        "mmd_null_95": null.null.quantile(0.95).item(),
        "mmd_p": null.p_value,
        "c2st": c2st,
        "c2st_rows": many,
        "pca_share": share,
    }
    shown = torch.stack([(data.test.labels == label).nonzero()[0, 0] for label in data.test.labels.unique()])
    arrays = {
        "elbo": elbo,
        "latents": flat[:few],
        "drawn": flat_drawn[:few],
        "labels": data.test.labels[shown],
        "images": x[shown],
        "reconstructions": model.reconstruct(x[shown]),
        "samples": model.sample(NUM_SAMPLES, generator=generator),
    }
    return numbers, {name: value.contiguous() for name, value in arrays.items()}


def _error(values: Tensor) -> float:
    return (values.std() / len(values) ** 0.5).item()


def _flattened(latents: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return both samples in two dimensions, by the first principal components of the latents, and their share."""
    if latents.shape[1] == 2:
        return latents, drawn, 1.0
    centre = latents.mean(0)
    _, scales, axes = torch.linalg.svd(latents - centre, full_matrices=False)
    share = (scales[:2].square().sum() / scales.square().sum()).item()
    return (latents - centre) @ axes[:2].T, (drawn - centre) @ axes[:2].T, share


def _end_with(parent: int) -> None:
    """End this process, its checkpoint saved, when its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    torch.set_num_threads(1)
    _end_with(int(sys.argv[2]))
    perform(Path(sys.argv[1]))
