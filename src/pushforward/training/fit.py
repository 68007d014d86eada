"""`fit`, the public function: from a model and data to a trained model and the history of the run."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import torch
from torch import nn

from pushforward import losses
from pushforward.errors import InputError, described, require_flag, require_kind, require_path
from pushforward.losses import Loss
from pushforward.numerics.precision import precision as conditioners_in
from pushforward.specification import nodes
from pushforward.training.data.form import Form
from pushforward.training.data.loader import NOT_RESUMABLE, NOT_SHARED
from pushforward.training.data.source import open_data
from pushforward.training.device import on_device
from pushforward.training.flat_weights import laid_flat
from pushforward.training.history import History
from pushforward.training.learner import Learner
from pushforward.training.loss_needs import check_call, check_needs
from pushforward.training.optimizer import OptimizerFactory
from pushforward.training.options import Options
from pushforward.training.progress import shown
from pushforward.training.random_states import forked
from pushforward.training.ranks import Ranks
from pushforward.training.run import Watch
from pushforward.training.run_folder import RunFolder
from pushforward.training.start import initialize, resume_run, start_run
from pushforward.training.threads import StepThreads


def fit(
    model: nn.Module,
    data: Any,
    context: Any = None,
    *,
    weight: Any = None,
    validation: Any = 0.1,
    loss: Loss = losses.nll,
    optimizer: str | OptimizerFactory = "adam",
    learning_rate: float | None = None,
    schedule: str = "cosine",
    epochs: int | None = None,
    num_steps: int | Sequence[tuple[int, int]] | None = None,
    max_seconds: float | None = None,
    batch_size: int | None = None,
    dequantize: int | None = None,
    device: str | torch.device = "auto",
    compile: bool = False,
    precision: str = "highest",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    weight_decay: float | None = None,
    clip_norm: float | None = 5.0,
    patience: int | None = None,
    raise_dropout: bool = False,
    average: float | None = None,
    watch: Watch | None = None,
) -> History:
    """Train a model on data, by default by maximum likelihood.

    The model comes back on the device and dtype it came with, in eval(), with the weights of the least validation loss.
    It may have `initialize(x, context)` (called once, on at most 100,000 training rows and ten million numbers),
    `redraw(generator)` (called once a step), `context_features`, and `takes_integers` (integers reach the loss as they
    are). The run ends with the first of `epochs`, `num_steps` and `max_seconds`; without any of them after 100 epochs.
    torch's global generator is left as found.

    Inside a process group of torch.distributed (`torchrun`) its processes share the run. All of them call `fit` with
    the same arguments and all rows; each takes its part of every batch, and one sum of gradients a step keeps their
    models alike. The first alone writes, prints and watches; its model is what all begin with. See docs/scale.md.

    Args:
        model: Any module that the loss can use; for `losses.nll` one with `log_prob(x, context)`.
        data: Array or tensor of rows (N, D); `(x, y)` of two; a loader of batches `x` or `(x, y)`; the rows of a file
            (`pf.scale.stream_rows`); or None, for a loss that draws its own samples. y is context if the model takes
            one, and ignored otherwise. float64 passes a flow's preprocessing in float64.
        context: (N, C), for an array of data.
        weight: (N,), how much each row counts.
        validation: Share of the rows, drawn by the seed (at most 20,000 rows); or rows `x`, `(x, context)` or a loader;
            or None. A loader as `data` cannot be split: its share is ignored.
        loss: `(model, batch, generator) -> (B,)`, one number a row; `fit` takes the weighted mean. In a compiled step
            the generator is None, which stands for torch's global one. A loss of your own may name the method of the
            model that it calls, for a check before the first batch: `my_loss.needs = "log_prob"`.
        optimizer: "adam", "adamw", or a function from parameters to an optimizer, whose rates, one a group, then stand
            in place of `learning_rate`. `schedule` shapes them; a scheduler of your own would be overwritten.
        learning_rate: Largest learning rate; by default 0.005.
        schedule: "cosine" (warm-up over 5 % of the steps, then half a cosine to 0) or "constant".
        epochs: Passes through the data.
        num_steps: Number of steps, or the `plan` of a `History`, to repeat a run that was limited by time.
        max_seconds: Seconds of wall-clock time, compiling left out. Turned into a number of steps by timing.
        batch_size: Rows a batch; by default a tenth of the rows, but from 32 to 512. A loader brings its own.
        dequantize: Number of levels of integer data (256 for pixels); the model then sees k + u in (0, 256), with fresh
            noise u.
        device: "auto" (where the model is, or CUDA if there is one), or a device. On CUDA a step is recorded once as a
            graph and replayed, unless `notes` of the history say why not; a loss of your own, which might do another
            thing at each step, only if it says `my_loss.capturable = True`.
        compile: Compile the whole step, optimizer included: seconds to minutes at first, then several times as fast for
            small models.
        precision: Of the networks inside a flow, in training and validation: "highest", "high" (TF32 on a GPU) or
            "bf16", see `pushforward.precision`. Weights, maps and log_dets stay in the model's dtype.
        seed: Seed of split, shuffles, noise and dropout.
        out: Folder for `checkpoint.safetensors` and `history.jsonl`.
        resume: Go on from the checkpoint in `out`, bit for bit (on the same machine, versions and number of threads
            and processes).
        progress: Show a bar in a terminal, lines elsewhere.
        weight_decay: By default 0 for "adam" and 0.01 for "adamw".
        clip_norm: Largest norm of the gradient, or None.
        patience: Number of reports (about a hundred a run) without a better validation loss after which to stop.
        raise_dropout: Raise the rate of the model's `nn.Dropout` layers, 0 or more at first, step by step whenever the
            validation loss has fallen behind the training loss (by 0.07 nats a column, a median over five reports).
            `notes` of the history tell when. The model comes back with the rates it came with.
        average: Average the weights over the latest steps (Polyak averaging), such as 0.1, a share of the steps so far:
            at step s the newest weights count 1 / (0.1 s), and a third of the average is older than that share.
            Held-out rows judge averages, and the model comes back with one; buffers are those of the step. The noise of
            the steps goes, which otherwise only a falling rate takes away, before rows are learned by heart. Not with
            `raise_dropout`, which compares losses of the same weights.
        watch: Called between steps, in eval() and without gradients, with the number of steps taken, first with 0. It
            may look at the model, score and sample, which changes nothing in the run, and returns after how many more
            steps it wants to be called again; 0 or None ends the run there. `watch=lambda step: 500 - step` takes the
            first 500 steps of a longer run. Not with `out`.

    Returns:
        The history of the run.

    Raises:
        InputError: If an option, the data or the checkpoint is not usable, or rows have no finite loss at the start.
        RunError: If the training diverges beyond repair, the disk is full, or another process of the run has ended. The
            model keeps its last good weights.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, once the run is saved; the message says how to go on.

    Example:
        >>> import torch, pushforward as pf
        >>> flow = pf.recipes.realnvp(2, num_layers=2)
        >>> history = pf.fit(flow, torch.randn(100, 2), num_steps=20, progress=False)
        >>> history.stopped_because
        'finished'
    """
    options = Options.among(locals())
    _check_model(model, data)
    out = None if out is None else require_path("out", out)
    if resume and out is None:
        raise InputError("resume=True needs out=, the folder of the checkpoint.")
    if watch is not None and (out is not None or not callable(watch)):
        raise InputError(
            f"watch must be a function of the number of steps, in a run without out=; got {described(watch)}."
        )
    torch.optim.SGD([nn.Parameter(torch.zeros(()))])  # the first optimizer imports much of torch: not training time
    ranks = Ranks.here()  # from here on the time counts
    # Whoever scores under no_grad() may train there too.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        conditioners_in(options.precision),
        on_device(model, device),
        shown(require_flag("progress", progress) and ranks.is_first) as display,
    ):
        form = Form.of(model, options.dequantize)
        check_needs(model, loss)
        check_call(loss)
        generator = torch.Generator(form.device).manual_seed(options.seed)
        with closing(open_data(data, context, weight, validation, form, generator, options.batch_size)) as source:
            if options.patience is not None and source.validation is None:
                raise InputError("patience= counts reports without a better validation loss: give validation=.")
            if resume and not source.batches.resumable:
                raise InputError(NOT_RESUMABLE)
            if ranks.are_several and not source.batches.resumable:
                raise InputError(NOT_SHARED)
            identity = {**options.digest(), "model": _fingerprint(model), **source.digest}
            ranks.require_alike(identity)
            folder = None if out is None else RunFolder(out, identity, ranks)
            state = folder.read() if folder is not None and resume else None
            if resume and state is None:
                source.notes.append(f"no checkpoint in {out}: starting afresh")
            dropout_seed = int(torch.randint(2**62, (), generator=generator, device=form.device))
            threads = StepThreads(model, source.batches.batch_size, timed=max_seconds is not None)
            with threads.in_use(), forked(form.device, seed=dropout_seed):
                initialize(model, source.batches)  # a run that goes on has its numbers from the checkpoint afterwards
                with laid_flat(model) as weights:
                    if ranks.are_several:
                        weights.load(ranks.from_first(weights.on_the_cpu))
                    learner = Learner(weights, options, generator, threads, ranks)
                    run = (
                        start_run(learner, source, options, folder=folder, progress=display, watch=watch)
                        if state is None
                        else resume_run(learner, source, options, state, folder=folder, progress=display)
                    )
                    run.finish()
    return run.history


def _check_model(model: Any, data: Any) -> None:
    """Raise InputError unless the model is a module, with the remedy where it was given second."""
    remedy = "use one such as pf.recipes.realnvp(2)"
    if isinstance(data, nn.Module):
        remedy = "the model comes first, pf.fit(model, data)"
    elif callable(model) and hasattr(model, "__name__"):
        remedy = f"call it, {model.__name__}(...), and give what it makes"
    require_kind("model", model, nn.Module, "a torch.nn.Module with what the loss calls, such as log_prob", remedy)


def _fingerprint(model: nn.Module) -> str:
    """Return a fingerprint of what a model is: its specification, and the sizes of its tensors."""
    describe = getattr(model, "specification", None)
    specification = type(model).__name__ if describe is None else describe()
    for node in nodes(specification):
        node.pop("data_dtype", None)  # learned from the data
    tensors = [*model.named_parameters(), *model.named_buffers()]
    sizes = [(name, tuple(value.shape), str(value.dtype)) for name, value in tensors]
    text = json.dumps([specification, sizes], default=lambda value: type(value).__name__)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
