"""The run itself, from its first report on: steps, looks at their losses, reports and checkpoints."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import require_count
from pushforward.training.clock import Clock
from pushforward.training.data.batches import Batches
from pushforward.training.dropout import RisingDropout
from pushforward.training.guard import MOST_FAILURES, SNAPSHOT_STEPS, Guard
from pushforward.training.history import History
from pushforward.training.interrupt import Interrupted, signals_caught
from pushforward.training.learner import AVERAGED_STEPS, Learner
from pushforward.training.plan import Plan
from pushforward.training.progress import Progress
from pushforward.training.run_folder import RunFolder
from pushforward.training.train_loss import TrainLoss
from pushforward.training.validation import Validation

LOOK_STEPS = 20  # the losses of so many steps are looked at together: a look at each would wait for the device
SWIFT_LOOK_STEPS = 100  # of steps that take less time than the look
SWIFT_WORK = 2_000_000  # parameters times rows: the most of such a step
MOST_WORK = 1_000_000_000  # parameters times rows of steps taken at once: some 0.1 s, in which no signal is seen
REPORTS = 100
FEW_STEPS = 100
Watch = Callable[[int], int | None]  # see `fit`
STANDING = (
    "step", "learning_rate", "recent", "next_report", "reports_since_best", "best"
)  # fmt: skip


@dataclass
class Run:
    """A training run at some step, made by `start_run` or `resume_run` (start.py). Time decides nothing but the plan.

    Attributes:
        learner, batches, validation: What learns, from what, and judged by what.
        plan, guard, history, clock: How many steps there are, what to go back to, the reports so far, the time used.
        patience: Number of reports without improvement that end the run, or None.
        dropout: Raised where held-out rows fall behind, or None where it stays as it is.
        folder: For checkpoint and history, or None.
        progress: The display.
        watch: Called between steps; see `fit`.
        next_watch: The step after which it is to be called next.
        learning_rate: Of the last step taken, or, before the first, of the first.
        step: Steps taken.
        recent: Their losses since the last look, in pieces.
        train_loss: What the next report says of the losses looked at.
        next_report: The step after which the next report is due.
        reports_since_best: Reports without a better validation loss.
        best: The numbers of least validation loss; none without validation.
    """

    learner: Learner
    batches: Batches
    validation: Validation
    plan: Plan
    guard: Guard
    history: History
    clock: Clock
    patience: int | None
    dropout: RisingDropout | None
    folder: RunFolder | None
    progress: Progress
    learning_rate: float
    watch: Watch | None = None
    next_watch: int = 0
    step: int = 0
    recent: list[Tensor] = field(default_factory=list)
    train_loss: TrainLoss = field(default_factory=TrainLoss)
    next_report: int = 0
    reports_since_best: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    def finish(self) -> None:
        """Go on until the plan is fulfilled or patience runs out, and leave the model with the best weights.

        Raises:
            Interrupted: After a signal, once the run is saved.
            RunError: If the training diverges beyond repair, or the disk is full.
        """
        try:
            with signals_caught(self.learner.ranks.flag):
                self._go_on()
        finally:
            if self.best:
                self.learner.weights.load(self.best)
            else:
                self.learner.use_average()
                self.history.best_step = self.step
            if self.dropout is not None:
                self.dropout.put_back()
            self._sum_up()

    def _go_on(self) -> None:
        if self.history.stopped_because != "running":  # it was finished when it was saved
            return
        self._save()
        while self.history.stopped_because == "running":
            self.plan.revise(self.step, self.clock.seconds, self.validation.seconds)
            if self.watch is not None and self.step >= min(self.next_watch, self.plan.num_steps):
                self._call(self.watch)
            if self.history.stopped_because != "running" or self.step >= self.plan.num_steps:
                if self.history.rows[-1]["step"] != self.step:
                    self._report()
                if self.history.stopped_because == "running":
                    self._end()
            elif (signal := self.learner.ranks.flag.name) is not None:
                self.learner.ranks.from_first(self._save)  # no process ends before all is saved
                raise self._interrupted(signal)
            else:
                self._advance()
        self._save()

    def _call(self, watch: Watch) -> None:
        """Let the watcher look at the model, and hear when it wants to look again."""
        learner, noise = self.learner, self.learner.noise()
        learner.model.eval()
        with torch.no_grad(), learner.averaged():
            more = learner.ranks.from_first(lambda: watch(self.step))
        learner.model.train()
        learner.set_noise(noise)
        if not more:
            self.history.stopped_because = "ended by watch"
        else:
            self.next_watch = self.step + require_count("what watch returns,", more)

    def _end(self) -> None:
        """Say why the run ends."""
        if self.plan.max_seconds is None or self.step >= self.plan.most:
            self.history.stopped_because = "finished"
            return
        self.history.stopped_because = "time is up"
        if self.step < FEW_STEPS:
            note = (
                f"only {self.step} steps fitted into {self.plan.max_seconds:g} s, too few to learn from: give more "
                "time (max_seconds, --max-seconds), fewer or narrower layers, or the number of steps (num_steps, "
                "--steps)"
            )
            self.history.notes.append(note)
            self.progress.note(note)

    def _advance(self) -> None:
        """Take a step, or several; look at the losses, report and save when it is time."""
        factors = [self.plan.rate_factor(self.step + i) * self.guard.rate_cut for i in range(self._steps_at_once())]
        losses = self.learner.advance(self.batches, factors)
        self.learning_rate = self.learner.rates[0] * factors[len(losses) - 1]
        self.recent.append(losses)
        self.step += len(losses)
        self.learner.take_into_average(self.step)
        if self.step >= self.next_report:
            self._report()
        elif self.step % self._look_steps == 0:
            self._look()
        if self.folder is not None and self.folder.save_is_due():
            self._save()

    @property
    def _look_steps(self) -> int:
        return SWIFT_LOOK_STEPS if self.learner.way.work_of_a_step < SWIFT_WORK else LOOK_STEPS

    def _steps_at_once(self) -> int:
        """Return how many steps there are until something else has to be done."""
        if not self.learner.way.takes_many:
            return 1
        look = (self.step // self._look_steps + 1) * self._look_steps
        event = min(look, self.next_report, self.plan.num_steps, self.plan.next_change(self.step))
        event = event if self.watch is None else min(event, self.next_watch)
        if self.learner.average is not None:
            event = min(
                event,
                (self.step // AVERAGED_STEPS + 1) * AVERAGED_STEPS if self.step >= AVERAGED_STEPS else self.step + 1,
            )
        return max(min(int(event) - self.step, int(MOST_WORK / self.learner.way.work_of_a_step)), 1)

    def _look(self) -> None:
        """Judge the losses since the last look; keep a snapshot, or go back to one."""
        if not self.recent:
            return
        losses = torch.cat(self.recent).double()
        self.recent = []
        self.progress.update(self.step, self.plan.num_steps)
        guard, learner = self.guard, self.learner
        if not guard.is_broken(losses, learner.weights.are_finite(), self.step):
            self.train_loss.add(losses.tolist())
            if self.step - guard.snapshot_step >= SNAPSHOT_STEPS:
                guard.keep(self.step, learner.numbers())
            return
        if guard.failures == MOST_FAILURES:
            learner.restore(guard.older)
            raise guard.give_up(learner.model, learner.rates[0] * guard.rate_cut)
        learner.restore(guard.back(self.step))
        self.history.rollbacks.append(self.step)
        self.progress.note(
            f"step {self.step}: {guard.reason}; back to good weights, learning rate halved ({guard.failures} of "
            f"{MOST_FAILURES} times)"
        )

    def _report(self) -> None:
        self._look()
        with self.learner.averaged():
            self.report(self.train_loss.report(), self.validation.loss(self.learner))

    def report(self, train_loss: tuple[float, float], validation_loss: float | None) -> None:
        """Add a row to the history, keep the best weights, and see whether patience has run out.

        Args:
            train_loss: Mean loss of training rows, and its standard error.
            validation_loss: Mean loss of the validation rows, or None without any.
        """
        history, steps_per_epoch = self.history, self.batches.steps_per_epoch
        history.rows.append(
            {
                "step": self.step,
                "epoch": None if steps_per_epoch is None else self.step / steps_per_epoch,
                "seconds": round(self.clock.seconds, 3),
                "train_loss": train_loss[0],
                "train_error": train_loss[1],
                "validation_loss": validation_loss,
                "learning_rate": self.learning_rate,
            }
        )
        if self.folder is not None:
            self.folder.add_last_row(history)
        self.progress.report(history.rows[-1], self.plan.num_steps, self.step * self.batches.batch_size)
        self._raise_dropout()
        self.next_report = self.step + max(math.ceil(self.plan.num_steps / REPORTS), self.validation.least_interval)
        if validation_loss is None:
            return
        best = math.inf if history.best_validation is None else history.best_validation
        if validation_loss < best:
            history.best_step, history.best_validation = self.step, validation_loss
            self.best = self.learner.weights.copy()
            self.reports_since_best = 0
            return
        self.reports_since_best += 1
        if self.patience is not None and self.reports_since_best >= self.patience:
            history.stopped_because = "no improvement"

    def _raise_dropout(self) -> None:
        """Go a step up in dropout if the last report asks for it."""
        row = self.history.rows[-1]
        if self.dropout is None or not row["step"]:
            return
        gap = row["validation_loss"] - row["train_loss"]
        rate = self.dropout.report(gap, self.step / self.plan.num_steps)
        if rate is not None:
            self._note(f"step {self.step}: held-out rows fall behind the training rows; dropout raised to {rate:g}")
            self.learner.prepare(self.batches)

    def _note(self, text: str) -> None:
        self.history.notes.append(text)
        self.progress.note(text)

    def state(self) -> dict[str, Any]:
        """Return everything that decides how the run goes on, for `resume_run`."""
        self._sum_up()
        return {
            "learner": self.learner.numbers(),
            "noise": self.learner.noise(),
            "position": self.batches.position(),
            "validation_seconds": self.validation.seconds,
            "guard": vars(self.guard),
            "train_loss": vars(self.train_loss),
            "dropout": None if self.dropout is None else self.dropout.state(),
            "history": vars(self.history),
            "standing": {name: getattr(self, name) for name in STANDING},
        }

    def _save(self) -> None:
        if self.folder is not None and self.batches.resumable:
            self.folder.save(self.state())

    def _sum_up(self) -> None:
        """Write into the history how far the run is."""
        self.history.plan = list(self.plan.changes)
        self.history.steps_by = self.learner.way.name
        self.history.steps, self.history.seconds = self.step, self.clock.seconds

    def _interrupted(self, name: str) -> Interrupted:
        where = f"stopped by {name} at step {self.step} of {self.plan.num_steps}"
        if self.folder is None:
            return Interrupted(
                f"{where}; nothing was saved, since no out= was given. The model holds the best weights so far."
            )
        if not self.batches.resumable:
            return Interrupted(
                f"{where}; a run on a loader cannot be resumed. The model holds the best weights so far."
            )
        return Interrupted(f"{where}; saved in {self.folder.path}: go on with resume=True (--resume).")
