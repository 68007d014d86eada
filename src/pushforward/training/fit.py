"""`fit`: checks what it is given, sets a run up, and leaves the model as it should be found."""

import functools
import hashlib
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pushforward import losses
from pushforward.errors import InputError
from pushforward.training.batches import LoaderBatches, open_data
from pushforward.training.begin import initialize, train
from pushforward.training.checkpoint import open_folder, read_checkpoint
from pushforward.training.evaluation import forked
from pushforward.training.history import History
from pushforward.training.loop import Loop
from pushforward.training.progress import make_progress
from pushforward.training.rows import Form
from pushforward.training.schedule import SCHEDULES, check_length
from pushforward.training.setting import Setting
from pushforward.training.step import CompiledStep, EagerStep, Loss, OptimizerFactory, make_optimizer
from pushforward.training.threads import threads_for
from pushforward.training.weights import Weights

MOST_PASSES = 64


def fit(
    model: nn.Module,
    data: Any,
    context: Any = None,
    *,
    weight: Any = None,
    validation: Any = 0.1,
    loss: Loss = losses.nll,
    optimizer: str | OptimizerFactory = "adam",
    learning_rate: float = 5e-3,
    schedule: str = "cosine",
    epochs: int | None = None,
    num_steps: int | Sequence[tuple[int, int]] | None = None,
    max_seconds: float | None = None,
    batch_size: int | None = None,
    dequantize: int | None = None,
    device: str | torch.device = "auto",
    compile: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    weight_decay: float | None = None,
    clip_norm: float | None = 5.0,
    patience: int | None = None,
) -> History:
    """Train a model on data, by default by maximum likelihood.

    The model comes back on the device and dtype it came with, in eval(), with the weights of the least validation loss.
    It may have `initialize(x, context)` (called once, on at most 100,000 training rows and ten million numbers),
    `redraw(generator)` (called once a step), `context_features`, and `takes_integers` (integers reach the loss as they
    are). The run ends with the first of `epochs`, `num_steps` and `max_seconds`; without any of them after 100 epochs.
    torch's global generator is left as found.

    Args:
        model: Any module that the loss can use; for `losses.nll` one with `log_prob(x, context)`.
        data: Array or tensor of rows (N, D); `(x, y)` of two; a loader of batches `x` or `(x, y)`; or None, for a loss
            that draws its own samples. y is context if the model takes one, and ignored otherwise. float64 passes a
            flow's preprocessing in float64.
        context: (N, C), for an array of data.
        weight: (N,), how much each row counts.
        validation: Share of the rows, drawn by the seed (at most 20,000 rows); or rows `x`, `(x, context)` or a loader;
            or None. A loader as `data` cannot be split: its share is ignored.
        loss: `(model, batch, generator) -> (B,)`, one number a row; `fit` takes the weighted mean. In a compiled step
            the generator is None, which stands for torch's global one.
        optimizer: "adam", "adamw", or a function from parameters to an optimizer, which then sets the rate itself.
        learning_rate: Largest learning rate.
        schedule: "cosine" (warm-up over 5 % of the steps, then half a cosine to 0) or "constant".
        epochs: Passes through the data.
        num_steps: Number of steps, or the `plan` of a `History`, to repeat a run that was limited by time.
        max_seconds: Seconds of wall-clock time, compiling left out. Turned into a number of steps by timing.
        batch_size: Rows a batch; by default a tenth of the rows, but from 32 to 512. A loader brings its own.
        dequantize: Number of levels of integer data (256 for pixels); the model then sees k + u in (0, 256), with fresh
            noise u.
        device: "auto" (where the model is, or CUDA if there is one), or a device.
        compile: Compile the whole step, optimizer included: seconds to minutes at first, then several times as fast for
            small models.
        seed: Seed of split, shuffles, noise and dropout.
        out: Folder for `checkpoint.safetensors` and `history.jsonl`.
        resume: Go on from the checkpoint in `out`, bit for bit (on the same machine, versions and number of threads).
        progress: Show a bar in a terminal, lines elsewhere.
        weight_decay: By default 0 for "adam" and 0.01 for "adamw".
        clip_norm: Largest norm of the gradient, or None.
        patience: Number of reports (about a hundred a run) without a better validation loss after which to stop.

    Returns:
        The history of the run.

    Raises:
        InputError: If an option, the data or the checkpoint is not usable, or rows have no finite loss at the start.
        RunError: If the training diverges beyond repair, or the disk is full. The model keeps its last good weights.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, once the run is saved; the message says how to go on.

    Example:
        >>> import torch, pushforward as pf
        >>> flow = pf.recipes.realnvp(2, num_layers=2)
        >>> history = pf.fit(flow, torch.randn(100, 2), num_steps=20, progress=False)
        >>> history.stopped_because
        'finished'
    """
    arguments = {
        "loss": _name(loss),
        "optimizer": _name(optimizer),
        "learning_rate": learning_rate,
        "schedule": schedule,
        "epochs": epochs,
        "num_steps": num_steps,
        "max_seconds": max_seconds,
        "batch_size": batch_size,
        "dequantize": dequantize,
        "compile": compile,
        "seed": seed,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "patience": patience,
    }
    _check_options(arguments)
    if loss is losses.nll and getattr(model, "forward_passes", 1) > MOST_PASSES:
        raise InputError(
            f"the likelihood of this model takes {model.forward_passes} passes a step (it is inverse autoregressive), "
            f"more than {MOST_PASSES}: use recipes.maf, which scores in one pass."
        )
    if resume and out is None:
        raise InputError("resume=True needs out=, the folder of the checkpoint.")
    folder = None if out is None else open_folder(out)
    torch.optim.SGD([nn.Parameter(torch.zeros(()))])  # the first optimizer imports much of torch: not training time
    started = time.perf_counter()
    home = _device_of(model)
    display = make_progress(progress)
    weights: Weights | None = None
    try:
        model.to(_choose_device(device, home))
        form = Form.of(model, dequantize)
        _check_method(model, loss)
        generator = torch.Generator(form.device).manual_seed(seed)
        batches, held, validates, digest = open_data(data, context, weight, validation, form, generator, batch_size)
        if resume and not batches.resumable:
            raise InputError("a run on a loader or generator cannot be resumed: give tensors or arrays as data.")
        digest = json.loads(json.dumps({**arguments, "model": _model_digest(model), **digest}))
        state = read_checkpoint(folder, digest) if folder is not None and resume else None
        notes = []
        if resume and state is None:
            notes.append(f"no checkpoint in {folder}: starting afresh")
        if validation is not None and isinstance(batches, LoaderBatches) and not validates:
            notes.append("a loader cannot be split: without validation=(rows or a loader) the last weights are kept")
        for note in notes:
            display.note(note)
        dropout_seed = int(torch.randint(2**62, (), generator=generator, device=form.device))
        with threads_for(model, batches.batch_size), forked(form.device, seed=dropout_seed):
            if state is None:
                initialize(model, batches)
            weights = Weights(model)
            made = make_optimizer(optimizer, weights, learning_rate, weight_decay)
            step = (
                CompiledStep(model, loss, weights, made, clip_norm)
                if compile
                else EagerStep(model, loss, weights, made, clip_norm, generator)
            )
            setting = Setting(
                model=model,
                loss=loss,
                weights=weights,
                optimizer=made,
                step=step,
                batches=batches,
                validation=held,
                validates=validates,
                generator=generator,
                schedule=schedule,
                learning_rate=learning_rate,
                patience=patience,
                folder=folder,
                digest=digest,
                progress=display,
            )
            loop = Loop(setting, notes, started)
            train(loop, epochs, num_steps, max_seconds, compiling=compile, state=state)
        return loop.history
    finally:
        display.close()
        if weights is not None:
            weights.detach()
        model.to(home)
        model.eval()


def _check_options(arguments: dict[str, Any]) -> None:
    """Raise InputError for an option out of range."""
    check_length(arguments["epochs"], arguments["num_steps"], arguments["max_seconds"])
    if isinstance(arguments["num_steps"], Sequence) and arguments["max_seconds"] is not None:
        raise InputError("a recorded plan in num_steps and max_seconds exclude each other: give one of them.")
    if arguments["schedule"] not in SCHEDULES:
        raise InputError(f"schedule must be one of {', '.join(SCHEDULES)}; got {arguments['schedule']!r}.")
    for name in ("batch_size", "patience"):
        value = arguments[name]
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(f"{name} must be an integer of at least 1; got {value!r}.")
    for name in ("learning_rate", "clip_norm"):
        value = arguments[name]
        if value is not None and not value > 0:
            raise InputError(f"{name} must be positive; got {value!r}.")


def _check_method(model: nn.Module, loss: Loss) -> None:
    """Raise InputError if the model lacks the method that a loss of ours calls."""
    wanted = {losses.nll: "log_prob", losses.elbo: "terms", losses.dequantized_nll: "bound"}
    given = getattr(loss, "func", loss)  # of a partial
    method = next((method for own, method in wanted.items() if own is given), None)
    if method is None or hasattr(model, method):
        return
    fitting = [own.__name__ for own, method in wanted.items() if hasattr(model, method)]
    remedy = f"give loss=pf.losses.{fitting[0]}" if fitting else "give a loss that suits the model"
    raise InputError(f"the loss {_name(given)} needs a model with {method}; {type(model).__name__} has none: {remedy}.")


def _choose_device(device: str | torch.device, home: torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda") if home.type == "cpu" and torch.cuda.is_available() else home
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error


def _device_of(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in model.parameters()), torch.device("cpu"))


def _name(value: Any) -> str:
    """Return a name for a function and the options bound to it."""
    if isinstance(value, str):
        return value
    if isinstance(value, functools.partial):
        return f"{_name(value.func)}{value.args}{value.keywords}"
    return getattr(value, "__qualname__", type(value).__name__)


def _model_digest(model: nn.Module) -> str:
    """Return a fingerprint of what the model is: its specification, and the sizes of its tensors."""
    describe = getattr(model, "specification", None)
    specification = type(model).__name__ if describe is None else describe()
    tensors = [*model.named_parameters(), *model.named_buffers()]
    sizes = [(name, tuple(value.shape), str(value.dtype)) for name, value in tensors]
    text = json.dumps([specification, sizes], default=lambda value: type(value).__name__)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
