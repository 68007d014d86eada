"""The runs of the study `vae-prior`: what each trains, and what it measures on test images."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward import fit, losses, metrics, recipes
from pushforward.data import LabelledImages, mnist, mnist_sample
from pushforward.studies.kit import num_parameters
from pushforward.vae import VAE, binarize, mlp_vae

WARM_UP_WEIGHT = 0.3  # of the KL term while warming up
TEST_SEED = 1_000  # of the test images' binarization: the same images for every model
NUM_SAMPLES = 36  # images drawn from each prior
LEVELS = 16  # of ink in pictures; more would be seen by nobody and make large files
ACTIVE = 0.01  # a latent is active if the variance of its posterior mean over images is above this (arXiv:1509.00519)


@dataclass(frozen=True)
class VAERun:
    """One training and how it is measured, a cell of the study."""

    prior: str  # a name that `mlp_vae` takes
    latent: int = 32  # number of latents
    binarization: str = "dynamic"  # or "threshold"
    seed: int = 0  # of weights, shuffles and noise
    planar: int = 0  # planar maps that refine the posterior, each steered by the encoder
    warm_up: int = 1  # epochs with a small weight of the KL term and half the learning rate, which come first
    epochs: int = 14
    batch_size: int = 125
    learning_rate: float = 2e-3
    hidden: int = 512
    elbo_samples: int = 8  # of the posterior for each test image
    iwae_images: int = 1_000
    iwae_samples: int = 500
    compared: int = 2_000  # latents of each law in MMD and pictures; twice as many in the C2ST
    sample: bool = False  # whether to use the tiny shipped part of MNIST

    @property
    def name(self) -> str:
        """What it is called in progress lines, and its files."""
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

    def perform(self, scratch: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Train, going on from a checkpoint if there is one, and measure."""
        data = mnist_sample() if self.sample else mnist()
        model = self.model()
        elbo = partial(losses.elbo, binarize=self.binarization)
        train = partial(
            fit, model, data.train.x, batch_size=self.batch_size, seed=self.seed, resume=True, progress=False
        )
        begun = train(
            validation=None,
            loss=partial(elbo, kl_weight=WARM_UP_WEIGHT),
            epochs=self.warm_up,
            learning_rate=self.learning_rate / 2,
            schedule="constant",
            out=scratch / "warm-up",
        )
        history = train(
            validation=data.validation.x,
            loss=elbo,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            out=scratch,
        )
        measured, tensors = self._measure(model, data.test)
        training = {
            "parameters": num_parameters(model),
            "steps": begun.steps + history.steps,
            "seconds": begun.seconds + history.seconds,
            "best_validation": history.best_validation,
            "curve": [[self.warm_up + row["epoch"], row["validation_loss"]] for row in history.rows[1:]],
        }
        return measured | training, tensors

    @torch.no_grad()
    def _measure(self, model: VAE, test: LabelledImages) -> tuple[dict[str, Any], dict[str, Tensor]]:
        x = binarize(test.x, self.binarization, generator=torch.Generator().manual_seed(TEST_SEED))
        generator = torch.Generator().manual_seed(self.seed)
        pieces = [model.terms(some, self.elbo_samples, generator=generator) for some in x.split(500)]
        elbos = torch.cat([terms.log_weight.mean(-1) for terms in pieces])
        likelihood = torch.cat([terms.likelihood.mean(-1) for terms in pieces]).mean().item()
        chosen = torch.linspace(0, len(x) - 1, min(self.iwae_images, len(x))).long()
        iwae = model.iwae(x[chosen], self.iwae_samples, generator=generator)

        latents = torch.cat([model.encode(some, generator=generator)[0].squeeze(-2) for some in x.split(500)])
        latents = latents[torch.randperm(len(latents), generator=generator)]  # the test images come in two halves
        drawn = model.sample_prior(len(latents), generator=generator)
        few, many = min(self.compared, len(latents)), min(2 * self.compared, len(latents))
        null = metrics.mmd_null(latents[:few], drawn[:few], seed=self.seed)
        flat, flat_drawn, share = _flattened(latents, drawn)
        means = torch.cat([model.posterior(some)[0] for some in x.split(500)])
        measured = {
            "elbo": elbos.mean().item(),
            "elbo_error": standard_error(elbos),
            "likelihood": likelihood,
            "rate": likelihood - elbos.mean().item(),
            "iwae": iwae.mean().item(),
            "iwae_error": standard_error(iwae),
            "iwae_images": len(chosen),
            "elbo_of_iwae_images": elbos[chosen].mean().item(),
            "active": int((means.var(0) > ACTIVE).sum()),
            "mmd": null.observed,
            "mmd_null_95": null.limit,
            "mmd_p": null.p_value,
            "c2st": metrics.c2st(latents[:many], drawn[:many], seed=self.seed),
            "c2st_rows": many,
            "pca_share": share,
        }
        first_of_label = torch.stack([(test.labels == label).nonzero()[0, 0] for label in test.labels.unique()])
        return measured, {
            "elbos": elbos,
            "latents": flat[:few],
            "drawn": flat_drawn[:few],
            "images": _inked(x[first_of_label]),
            "reconstructions": _inked(model.reconstruct(x[first_of_label])),
            "samples": _inked(model.sample(NUM_SAMPLES, generator=generator)),
        }


def standard_error(values: Tensor) -> float:
    """Return that of the mean of values (n,)."""
    return (values.std() / len(values) ** 0.5).item()


def _inked(images: Tensor) -> Tensor:
    """Return probabilities as levels of ink."""
    return (images * (LEVELS - 1)).round()


def _flattened(latents: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return both samples in two dimensions, by the first principal components of the latents, and their share."""
    if latents.shape[1] == 2:
        return latents, drawn, 1.0
    centre = latents.mean(0)
    _, scales, axes = torch.linalg.svd(latents - centre, full_matrices=False)
    share = (scales[:2].square().sum() / scales.square().sum()).item()
    return (latents - centre) @ axes[:2].T, (drawn - centre) @ axes[:2].T, share
