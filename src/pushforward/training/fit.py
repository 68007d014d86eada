"""`fit`: checks what it is given, sets a run up, and leaves the model as it should be found."""

import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from pushforward import losses
from pushforward.errors import InputError, RunError
from pushforward.training.batches import LoaderBatches, NoData, RowBatches, split
from pushforward.training.checkpoint import NAME, check_digest, open_folder, read_checkpoint
from pushforward.training.evaluation import forked
from pushforward.training.history import History
from pushforward.training.interrupt import signals_caught
from pushforward.training.loop import REHEARSAL_SHARE, Loop, Setting
from pushforward.training.progress import make_progress
from pushforward.training.rows import Form, Rows, is_array, read_loader
from pushforward.training.schedule import SCHEDULES, Plan, check_length
from pushforward.training.step import CompiledStep, EagerStep, Loss, OptimizerFactory, make_optimizer
from pushforward.training.weights import Weights

DEFAULT_EPOCHS = 100
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
    learning_rate: float = 1e-3,
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

    The model comes back on the device and dtype it came with, in eval(), with the weights of the least validation loss. It
    may have `initialize(x, context)` (called once, on at most 100,000 training rows), `redraw(generator)` (called once a
    step) and `context_features`. The run ends with the first of `epochs`, `num_steps` and `max_seconds`; without any of
    them after 100 epochs. torch's global generator is left as found.

    Args:
        model: Any module that the loss can use; for `losses.nll` one with `log_prob(x, context)`.
        data: Array or tensor of rows (N, D); `(x, y)` of two; a loader of batches `x` or `(x, y)`; or None, for a loss
            that draws its own samples. y is context if the model takes one, and ignored otherwise. float64 passes a flow's
            preprocessing in float64.
        context: (N, C), for an array of data.
        weight: (N,), how much each row counts.
        validation: Share of the rows, drawn by the seed; or rows `x`, `(x, context)` or a loader; or None. A loader as
            `data` cannot be split: its share is ignored.
        loss: `(model, batch, generator) -> (B,)`, one number a row; `fit` takes the weighted mean. In a compiled step the
            generator is None, which stands for torch's global one.
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
            f"the likelihood of this model takes {model.forward_passes} passes a step (an inverse autoregressive flow): "
            "use recipes.maf, which scores in one pass."
        )
    if resume and out is None:
        raise InputError("resume=True needs out=, the folder of the checkpoint.")
    folder = None if out is None else open_folder(out)
    home = _device_of(model)
    display = make_progress(progress)
    weights: Weights | None = None
    try:
        model.to(_choose_device(device, home))
        weights = Weights(model)
        form = Form.of(model, dequantize)
        generator = torch.Generator(form.device).manual_seed(seed)
        batches, held, validates, digest = _read(data, context, weight, validation, form, generator, batch_size)
        if resume and not batches.resumable:
            raise InputError("a run on a loader or generator cannot be resumed: give tensors or arrays as data.")
        made = make_optimizer(optimizer, weights, learning_rate, weight_decay)
        step = (
            CompiledStep(model, loss, weights, made, clip_norm)
            if compile
            else EagerStep(model, loss, weights, made, clip_norm, generator)
        )
        loop = Loop(
            Setting(
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
                digest=json.loads(json.dumps({**arguments, "model": _model_digest(model, weights), **digest})),
                progress=display,
            )
        )
        if validation is not None and isinstance(batches, LoaderBatches) and not validates:
            loop.note("a loader cannot be split: without validation=(rows or a loader) the last weights are kept")
        with forked(form.device, seed=int(torch.randint(2**62, (), generator=generator, device=form.device))):
            _train(loop, epochs, num_steps, max_seconds, compile=compile, resume=resume)
        return loop.history
    finally:
        display.close()
        if weights is not None:
            weights.detach()
        model.to(home)
        model.eval()


def _train(
    loop: Loop,
    epochs: int | None,
    num_steps: int | Sequence[tuple[int, int]] | None,
    max_seconds: float | None,
    *,
    compile: bool,
    resume: bool,
) -> None:
    """Begin or resume, plan, and run."""
    setting = loop.setting
    state = None
    if resume and setting.folder is not None:
        state = read_checkpoint(setting.folder)
        if state is None:
            loop.note(f"no checkpoint in {setting.folder}: starting afresh")
        else:
            check_digest(setting.folder / NAME, state["digest"], setting.digest)
            loop.load_state(state)
    most = _most_steps(epochs, num_steps, max_seconds, setting.batches.steps_per_epoch)
    if state is None:
        loop.begin(max_seconds=max_seconds)
    if compile or (state is None and max_seconds is not None):
        seconds = loop.rehearse(seconds=REHEARSAL_SHARE * (max_seconds or 0.0), compiling=compile)
    if state is not None:
        changes = loop.history.plan
    elif isinstance(num_steps, Sequence):
        changes = list(num_steps)
    elif max_seconds is not None:
        changes = [(0, min(loop.steps_in(max_seconds, seconds), most or 2**62))]
    else:
        assert most is not None
        changes = [(0, most)]
    loop.plan = Plan(changes, max_seconds=max_seconds, most=math.inf if most is None else most)
    try:
        with signals_caught() as flag:
            loop.run(flag)
    finally:
        loop.keep_best()


def _most_steps(
    epochs: int | None,
    num_steps: int | Sequence[tuple[int, int]] | None,
    max_seconds: float | None,
    steps_per_epoch: int | None,
) -> int | None:
    """Return the number of steps that epochs and num_steps allow; None if time alone decides, or a recorded plan."""
    if epochs is None and num_steps is None and max_seconds is None:
        epochs = DEFAULT_EPOCHS
    bounds = [num_steps] if isinstance(num_steps, int) else []
    if epochs is not None:
        if steps_per_epoch is None:
            raise InputError("data of unknown length has no epochs: give num_steps or max_seconds.")
        bounds.append(epochs * steps_per_epoch)
    return min(bounds, default=None)


def _read(
    data: Any,
    context: Any,
    weight: Any,
    validation: Any,
    form: Form,
    generator: torch.Generator,
    batch_size: int | None,
) -> tuple[RowBatches | LoaderBatches | NoData, Rows | None, bool, dict[str, Any]]:
    """Return the batches, the validation rows, whether there is validation, and the digest of it all."""
    if isinstance(data, tuple) and len(data) == 2 and all(is_array(part) for part in data):
        if context is not None:
            raise InputError("context was given twice: as y of data=(x, y) and as context=.")
        data, context = data[0], data[1] if form.takes_context else None
    if isinstance(data, torch.utils.data.Dataset) and not isinstance(data, torch.utils.data.IterableDataset):
        raise InputError(
            "data is a Dataset, which yields single rows: wrap it in a torch DataLoader, or give its tensors."
        )
    share = 0.0 if validation is None else validation if isinstance(validation, (int, float)) else None
    if share is not None and not 0 <= share < 1:
        raise InputError(f"validation must be a share from 0 up to 1, or rows; got {validation!r}.")
    held = None if share is not None else _read_validation(validation, form)
    batches: RowBatches | LoaderBatches | NoData
    if data is None and context is None:
        batches = NoData(batch_size or 512, generator)
        return batches, held, held is not None or bool(share), {"validation": share if held is None else held.digest()}
    if data is not None and not is_array(data):
        if context is not None or weight is not None:
            raise InputError("context and weight go with arrays of data; a loader yields (x, y), with y the context.")
        if not isinstance(data, Iterable):
            raise InputError(f"data must be an array, a tensor, a loader or None; got {type(data).__name__}.")
        return LoaderBatches(data, form, generator), held, held is not None, {}
    rows = Rows.read(data, context, weight, form)
    digest: dict[str, Any] = {**rows.digest(), "validation": share if held is None else held.digest()}
    if share:
        rows, held = split(rows, share, generator)
    size = batch_size or min(max(len(rows) // 10, 32), 512)
    return RowBatches(rows, size, generator), held, held is not None, digest


def _read_validation(validation: Any, form: Form) -> Rows:
    if isinstance(validation, tuple):
        return Rows.read(*(*validation, None, None)[:3], form, "validation")
    return (
        Rows.read(validation, None, None, form, "validation")
        if is_array(validation)
        else read_loader(validation, form, "validation")
    )


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


def _model_digest(model: nn.Module, weights: Weights) -> str:
    """Return a fingerprint of what the model is: its specification, and the sizes of its tensors."""
    specification = model.specification() if hasattr(model, "specification") else type(model).__name__
    tensors = {**weights.parameters, **weights.fixed}
    sizes = [(name, tuple(value.shape), str(value.dtype)) for name, value in tensors.items()]
    text = json.dumps([specification, sizes], default=lambda value: type(value).__name__)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
