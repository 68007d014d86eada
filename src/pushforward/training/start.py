"""Step 0: all that happens before the first step that counts, and how a run goes on from a checkpoint."""

import math
import statistics
import time
from typing import Any

import torch
from torch import nn

from pushforward.errors import InputError
from pushforward.training.clock import Clock
from pushforward.training.data.batches import Batches
from pushforward.training.data.rows import Rows
from pushforward.training.data.source import Source
from pushforward.training.dropout import RisingDropout
from pushforward.training.guard import Guard, check_initial
from pushforward.training.history import History
from pushforward.training.learner import Learner
from pushforward.training.options import Options
from pushforward.training.plan import Plan
from pushforward.training.progress import Progress
from pushforward.training.random_states import fixed_noise
from pushforward.training.run import REPORTS, Run, Watch
from pushforward.training.run_folder import RunFolder
from pushforward.training.train_loss import TrainLoss, mean_and_error
from pushforward.training.validation import Validation, row_losses

DEFAULT_EPOCHS = 100
CHECK_SHARE = 0.05  # of the time, for the initial losses
REHEARSAL_SHARE = 0.02  # of the time, for timing a step
REHEARSAL_STEPS = 200


@torch.no_grad()
def initialize(model: nn.Module, batches: Batches) -> None:
    """Let the model learn from training rows what it learns from data before its weights are laid flat."""
    head = batches.head()
    if head is None or not hasattr(model, "initialize"):
        return
    batch = head.batch(slice(None), fixed_noise(head.index.device))
    if batch.x is not None:
        model.initialize(batch.x, batch.context)  # type: ignore[operator]


def start_run(
    learner: Learner,
    source: Source,
    options: Options,
    *,
    folder: RunFolder | None,
    progress: Progress,
    watch: Watch | None,
) -> Run:
    """Return a run at step 0: its initial losses checked, its steps planned, its first report written.

    Raises:
        InputError: If the run has no length, or a row no finite loss.
    """
    batches, budget = source.batches, options.max_seconds
    history = History(notes=source.notes, num_ranks=learner.ranks.size)
    for note in source.notes:
        progress.note(note)
    most = _most_steps(options, batches.steps_per_epoch)
    began, clock = time.perf_counter(), learner.ranks.clock
    losses = row_losses(
        learner, batches.checked, batches.batch_size, max_seconds=None if budget is None else CHECK_SHARE * budget
    )
    validation = Validation(source.validation, batches.batch_size)
    if source.validation is not None:  # a guess, until the first validation
        a_row = learner.ranks.from_first(lambda: (time.perf_counter() - began) / len(losses))
        validation.seconds = a_row * len(source.validation)
    initial = check_initial(learner.model, losses, batches.checked, "data")
    guard = Guard.at_start(initial, learner.numbers())
    learner.model.train()
    _prepare(learner, batches, history, progress, clock, compiling=options.compile)
    num_steps = most
    if options.compile or budget is not None:
        seconds_a_step, compile_seconds = _rehearse(
            learner, batches, REHEARSAL_SHARE * (budget or 0.0), compiling=options.compile
        )
        history.compile_seconds += compile_seconds
        clock.leave_out(compile_seconds)
        if budget is not None:
            left = budget - clock.seconds - validation.seconds
            num_steps = min(_steps_in(left, seconds_a_step, validation), most)
    changes = options.recorded_plan or [(0, int(num_steps))]
    plan = Plan(changes, schedule=options.schedule, max_seconds=budget, most=most)
    run = Run(
        learner=learner,
        batches=batches,
        validation=validation,
        plan=plan,
        guard=guard,
        history=history,
        clock=clock,
        patience=options.patience,
        dropout=_rising_dropout(learner.model, source) if options.raise_dropout else None,
        folder=folder,
        progress=progress,
        watch=watch,
        learning_rate=learner.set_rate(plan.rate_factor(0)),
    )
    run.report(mean_and_error(losses), validation.loss(learner, initial=True))
    return run


def resume_run(
    learner: Learner,
    source: Source,
    options: Options,
    state: dict[str, Any],
    *,
    folder: RunFolder | None,
    progress: Progress,
) -> Run:
    """Return the run whose `state` a checkpoint holds, where it was."""
    batches, history = source.batches, History(**state["history"])
    history.plan = [(step, num_steps) for step, num_steps in history.plan]
    history.num_ranks, clock = learner.ranks.size, learner.ranks.new_clock(history.seconds)
    learner.restore(state["learner"])
    batches.seek(state["position"])
    learner.set_noise(state["noise"])
    learner.model.train()
    most = _most_steps(options, batches.steps_per_epoch)
    dropout = _rising_dropout(learner.model, source) if options.raise_dropout else None
    if dropout is not None:
        dropout.load(state["dropout"])
    if history.stopped_because == "running":
        began = time.perf_counter()
        learner.prepare(batches)
        if options.compile:
            _rehearse(learner, batches, 0.0, compiling=True)
            _leave_out_since(began, learner, history, clock)
    run = Run(
        learner=learner,
        batches=batches,
        validation=Validation(source.validation, batches.batch_size, state["validation_seconds"]),
        plan=Plan(history.plan, schedule=options.schedule, max_seconds=options.max_seconds, most=most),
        guard=Guard(**state["guard"]),
        history=history,
        clock=clock,
        patience=options.patience,
        dropout=dropout,
        folder=folder,
        progress=progress,
        train_loss=TrainLoss(**state["train_loss"]),
        **state["standing"],
    )
    run.recent = [loss.to(learner.generator.device) for loss in run.recent]
    if folder is not None:
        folder.replace_history(history)
    return run


def _prepare(
    learner: Learner, batches: Batches, history: History, progress: Progress, clock: Clock, *, compiling: bool
) -> None:
    """Find the fastest way of taking a step; where it is not recorded on a GPU, note why."""
    began = time.perf_counter()
    reason = learner.prepare(batches)
    if compiling:  # it has been compiled on the way
        _leave_out_since(began, learner, history, clock)
    if reason is not None:
        note = f"the step is not recorded as a CUDA graph, and runs operation by operation: {reason}"
        history.notes.append(note)
        progress.note(note)


def _leave_out_since(began: float, learner: Learner, history: History, clock: Clock) -> None:
    """Count the time since then as spent on compiling."""
    seconds = learner.ranks.from_first(lambda: time.perf_counter() - began)
    history.compile_seconds += seconds
    clock.leave_out(seconds)


def _rising_dropout(model: nn.Module, source: Source) -> RisingDropout:
    """Return the dropout of `model` for this run; InputError where nothing could tell or raise it."""
    held = source.validation
    if not isinstance(held, Rows) or held.x is None:
        raise InputError("raise_dropout=True goes by the loss of held-out rows: give validation=.")
    if not any(isinstance(module, nn.Dropout) for module in model.modules()):
        raise InputError("raise_dropout=True needs networks with nn.Dropout layers; the model has none.")
    return RisingDropout(model, columns=held.x[0].numel())


def _most_steps(options: Options, steps_per_epoch: int | None) -> float:
    """Return the number of steps that epochs and num_steps allow; infinite if time or a recorded plan decides."""
    epochs, num_steps = options.epochs, options.num_steps
    if epochs is None and num_steps is None and options.max_seconds is None:
        epochs = DEFAULT_EPOCHS
    bounds = [num_steps] if isinstance(num_steps, int) else []
    if epochs is not None:
        if steps_per_epoch is None:
            raise InputError("data of unknown length has no epochs: give num_steps or max_seconds.")
        bounds.append(epochs * steps_per_epoch)
    return min(bounds, default=math.inf)


def _rehearse(learner: Learner, batches: Batches, seconds: float, *, compiling: bool) -> tuple[float, float]:
    """Take steps that do not count, for about so long (two at least).

    Returns:
        The seconds that a step takes, and those that compiling took.
    """
    numbers, noise, ranks = learner.numbers(), learner.noise(), learner.ranks
    learner.set_rate(0.0)
    times: list[float] = []
    counted = 1 if compiling else 0  # from which on
    while len(times) < 2 or (len(times) < REHEARSAL_STEPS and ranks.from_first(lambda: sum(times[counted:]) < seconds)):
        before = time.perf_counter()
        learner.rehearse(batches).item()  # waits for the device
        times.append(time.perf_counter() - before)
    learner.restore(numbers)
    learner.set_noise(noise)
    return ranks.from_first(lambda: (statistics.median(times[1:]), times[0] if compiling else 0.0))


def _steps_in(seconds: float, seconds_a_step: float, validation: Validation) -> int:
    """Return how many steps, with their validations, fit into so many seconds."""
    few = seconds / (seconds_a_step + validation.seconds / validation.least_interval)
    many = (seconds - REPORTS * validation.seconds) / seconds_a_step
    return max(int(max(few, many)), 1)
