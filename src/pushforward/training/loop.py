"""The loop itself: steps, looks at their losses, reports, checkpoints; and how to go on from one."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import RunError
from pushforward.training.batches import LoaderBatches, NoData, RowBatches
from pushforward.training.checkpoint import replace_file, write_checkpoint
from pushforward.training.divergence import MOST_FAILURES, SNAPSHOT_STEPS, Watch, check_initial
from pushforward.training.evaluation import mean_of, row_losses
from pushforward.training.history import History, json_line
from pushforward.training.interrupt import Flag, Interrupted
from pushforward.training.progress import Progress
from pushforward.training.rows import Rows
from pushforward.training.schedule import Plan, rate_factor
from pushforward.training.step import CompiledStep, EagerStep, Loss
from pushforward.training.weights import Weights, load_optimizer, optimizer_tensors

LOOK_STEPS = 20  # the losses of so many steps are looked at together: a look at each would wait for the device
REPORTS = 100
VALIDATION_SHARE = 0.1  # of the time, at most
SAVE_SECONDS = 10.0
SAVE_SHARE = 0.05  # of the time, at most
REHEARSAL_SHARE = 0.02


@dataclass(frozen=True)
class Setting:
    """What a run is made of, and what it is told.

    Attributes:
        model, loss, weights, optimizer, step: See `EagerStep`.
        batches: Where batches come from.
        validation: Rows to validate on; None with `validates` for a loss without data.
        validates: Whether there is validation.
        generator: Source of all noise but dropout.
        schedule: Name of the schedule.
        learning_rate: Its largest value, for the history.
        patience: Reports without improvement that end the run, or None.
        folder: For checkpoint and history, or None.
        digest: What has to be the same on resuming.
        progress: The display.
    """

    model: nn.Module
    loss: Loss
    weights: Weights
    optimizer: torch.optim.Optimizer
    step: EagerStep | CompiledStep
    batches: RowBatches | LoaderBatches | NoData
    validation: Rows | None
    validates: bool
    generator: torch.Generator
    schedule: str
    learning_rate: float
    patience: int | None
    folder: Path | None
    digest: dict[str, Any]
    progress: Progress


class Loop:
    """A run at some step. Everything that decides its future is in `state()`; time decides nothing but the plan."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.history = History()
        self.plan = Plan([(0, 1)])
        self.watch = Watch(0.0)
        self.step = 0
        self.recent: list[Tensor] = []
        self.best: dict[str, Tensor] = {}
        self.train_sum, self.train_count = 0.0, 0
        self.next_report, self.reports_since_best = 0, 0
        self.validation_seconds = 0.0
        self.started = time.perf_counter()
        self.next_save = math.inf

    @property
    def seconds(self) -> float:
        """Wall-clock seconds used so far, those before a resume included, compiling left out."""
        return time.perf_counter() - self.started - self.history.compile_seconds

    def note(self, text: str) -> None:
        """Say something to the user, and keep it in the history."""
        self.history.notes.append(text)
        self.setting.progress.note(text)

    # ---- before the first step -----------------------------------------------------------------------------------

    def begin(self, *, max_seconds: float | None) -> None:
        """Initialize the model from the training rows and check that every row has a finite loss."""
        setting, batches = self.setting, self.setting.batches
        head = None if isinstance(batches, NoData) else batches.head()
        rows = batches.rows if isinstance(batches, RowBatches) else head
        if head is not None and head.x is not None and hasattr(setting.model, "initialize"):
            batch = head.batch(slice(None), torch.Generator(setting.generator.device).manual_seed(0))
            with torch.no_grad():
                setting.model.initialize(batch.x, batch.context)  # type: ignore[operator]
        limit = None if max_seconds is None else 0.05 * max_seconds
        losses = self._row_losses(rows, max_seconds=limit)
        self.watch = Watch(check_initial(setting.model, losses, rows, "data"))
        self.train_sum, self.train_count = losses.sum().item(), len(losses)
        self.watch.keep(0, self._numbers())

    def _row_losses(self, rows: Rows | None, *, max_seconds: float | None = None) -> Tensor:
        """Return the loss of each row; pieces are larger than batches, since no gradients are kept."""
        setting = self.setting
        size = max(setting.batches.batch_size, 1024) if rows is None else 4 * setting.batches.batch_size
        device = setting.generator.device
        return row_losses(setting.model, setting.loss, rows, size=size, device=device, max_seconds=max_seconds)

    def rehearse(self, *, seconds: float, compiling: bool) -> float:
        """Take steps that do not count, for at most so long (two at least), and return the seconds that one takes."""
        setting = self.setting
        numbers, noise, torch_noise = self._numbers(), setting.generator.get_state(), _torch_noise(setting.generator)
        batch = setting.batches.peek()
        times = []
        start = time.perf_counter()
        while len(times) < 2 or (time.perf_counter() - start < seconds and len(times) < 200):
            before = time.perf_counter()
            setting.step(batch, 0.0).isfinite().item()  # waits for the device
            times.append(time.perf_counter() - before)
            if compiling and len(times) == 1:
                self.history.compile_seconds += times[0]
                start = time.perf_counter()
        self._restore(numbers)
        setting.generator.set_state(noise)
        _set_torch_noise(setting.generator, torch_noise)
        return float(torch.tensor(times[1:]).median())

    def steps_in(self, max_seconds: float, seconds_a_step: float) -> int:
        """Return how many steps, with their validations, fit into what is left of the time."""
        left = max_seconds - self.seconds - self.validation_seconds
        few = left / (seconds_a_step + self.validation_seconds / self._least_interval())
        many = (left - REPORTS * self.validation_seconds) / seconds_a_step
        return max(int(max(few, many)), 1)

    # ---- the run -------------------------------------------------------------------------------------------------

    def run(self, flag: Flag) -> None:
        """Go on until the plan is fulfilled; a signal saves and raises Interrupted."""
        setting, plan, model = self.setting, self.plan, self.setting.model
        redraw = getattr(model, "redraw", None)
        model.train()
        if self.step == 0:
            self._report()
            self._save()
        while self.history.stopped_because == "running":
            plan.revise(self.step, self.seconds, self.validation_seconds)
            if self.step >= plan.num_steps:
                self._finish()
                break
            if flag.name is not None:
                raise self._interrupted(flag.name)
            rate = rate_factor(setting.schedule, (self.step + 0.5) / plan.num_steps) * self.watch.rate_cut
            if redraw is not None:
                redraw(setting.generator)
            self.recent.append(setting.step(setting.batches.next(), rate))
            self.step += 1
            if self.step >= self.next_report:
                self._report()
            elif self.step % LOOK_STEPS == 0:
                self._look()
            if time.perf_counter() >= self.next_save:
                self._save()

    def _look(self) -> None:
        """Judge the losses since the last look; keep a snapshot, or go back to one."""
        if not self.recent:
            return
        losses = torch.stack(self.recent).double()
        self.recent = []
        self.setting.progress.update(self.step, self.plan.num_steps)
        watch = self.watch
        if not watch.is_broken(losses, self.setting.weights.are_finite(), self.step):
            self.train_sum += losses.sum().item()
            self.train_count += len(losses)
            if self.step - watch.snapshot_step >= SNAPSHOT_STEPS:
                watch.keep(self.step, self._numbers())
            return
        if watch.failures == MOST_FAILURES:
            assert watch.older is not None
            self._restore(watch.older)
            raise watch.give_up(self.setting.model, self.setting.learning_rate * watch.rate_cut)
        self._restore(watch.back(self.step))
        self.history.rollbacks.append(self.step)
        self.setting.progress.note(
            f"step {self.step}: {watch.reason}; back to good weights, learning rate halved ({watch.failures} of "
            f"{MOST_FAILURES} times)"
        )

    def _report(self) -> None:
        """Validate, add a row to the history, keep the best weights, and see whether patience has run out."""
        self._look()
        setting, history = self.setting, self.history
        validation = None
        if setting.validates:
            start = time.perf_counter()
            losses = self._row_losses(setting.validation)
            if self.step == 0 and setting.validation is not None:
                check_initial(setting.model, losses, setting.validation, "validation")
            validation = mean_of(losses, setting.validation)
            self.validation_seconds = time.perf_counter() - start
        progress = (self.step + 0.5) / self.plan.num_steps
        steps_per_epoch = setting.batches.steps_per_epoch
        history.rows.append(
            {
                "step": self.step,
                "epoch": None if steps_per_epoch is None else self.step / steps_per_epoch,
                "seconds": round(self.seconds, 3),
                "train_loss": self.train_sum / self.train_count if self.train_count else math.nan,
                "validation_loss": validation,
                "learning_rate": setting.learning_rate
                * rate_factor(setting.schedule, min(progress, 1.0))
                * self.watch.rate_cut,
            }
        )
        self._write_history()
        setting.progress.report(history.rows[-1], self.plan.num_steps)
        self.train_sum, self.train_count = 0.0, 0
        self.next_report = self.step + max(math.ceil(self.plan.num_steps / REPORTS), self._least_interval())
        if validation is None:
            return
        if math.isfinite(validation) and (history.best_validation is None or validation < history.best_validation):
            history.best_step, history.best_validation = self.step, validation
            self.best = setting.weights.copy()
            self.reports_since_best = 0
            return
        self.reports_since_best += 1
        if setting.patience is not None and self.reports_since_best >= setting.patience:
            history.stopped_because = "no improvement"
            self._save()

    def _least_interval(self) -> int:
        """Return the steps between reports below which validation, a third of a step's work a row, would cost too much."""
        rows = self.setting.validation
        return 1 if rows is None else math.ceil(len(rows) / (3 * self.setting.batches.batch_size) / VALIDATION_SHARE)

    def _finish(self) -> None:
        if self.history.rows[-1]["step"] != self.step:
            self._report()
        if self.history.stopped_because == "running":
            self.history.stopped_because = "finished" if self.plan.max_seconds is None else "time is up"
        self._save()

    def keep_best(self) -> None:
        """Leave the model with the best weights, and complete the history."""
        if self.best:
            self.setting.weights.load(self.best)
        else:
            self.history.best_step = self.step
        self.history.plan = list(self.plan.changes)
        self.history.steps = self.step
        self.history.seconds = self.seconds

    def _interrupted(self, name: str) -> Interrupted:
        self._save()
        where = f"stopped by {name} at step {self.step} of {self.plan.num_steps}"
        if self.setting.folder is None:
            return Interrupted(
                f"{where}; nothing was saved, since no out= was given. The model holds the best weights so far."
            )
        if not self.setting.batches.resumable:
            return Interrupted(
                f"{where}; a run on a loader cannot be resumed. The model holds the best weights so far."
            )
        return Interrupted(f"{where}; saved in {self.setting.folder}: go on with resume=True (--resume).")

    # ---- numbers, checkpoints ------------------------------------------------------------------------------------

    def _numbers(self) -> dict[str, Any]:
        return {"weights": self.setting.weights.copy(), "optimizer": optimizer_tensors(self.setting.optimizer)}

    def _restore(self, numbers: dict[str, Any]) -> None:
        self.setting.weights.load(numbers["weights"])
        load_optimizer(self.setting.optimizer, numbers["optimizer"])

    def state(self) -> dict[str, Any]:
        """Return everything that decides how the run goes on."""
        assert not isinstance(self.setting.batches, LoaderBatches)
        epoch_state, taken = self.setting.batches.position()
        watch, history = self.watch, self.history
        self.history.plan = list(self.plan.changes)
        return {
            "digest": self.setting.digest,
            "now": self._numbers(),
            "older": watch.older,
            "newer": watch.newer,
            "best": self.best,
            "noise": {
                "generator": self.setting.generator.get_state(),
                "epoch": epoch_state,
                "torch": _torch_noise(self.setting.generator),
            },
            "recent": {"losses": torch.stack(self.recent)} if self.recent else {},
            "watch": {name: getattr(watch, name) for name in ("ceiling", "failures", "reason", "snapshot_step")},
            "loop": {
                name: getattr(self, name)
                for name in (
                    "step",
                    "train_sum",
                    "train_count",
                    "next_report",
                    "reports_since_best",
                    "validation_seconds",
                )
            },
            "history": {**vars(history), "steps": self.step, "seconds": self.seconds},
            "taken": taken,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        assert not isinstance(self.setting.batches, LoaderBatches)
        self._restore(state["now"])
        self.watch.older, self.watch.newer, self.best = state["older"], state["newer"], state["best"]
        noise = state["noise"]
        self.setting.batches.seek(noise["epoch"], state["taken"])
        self.setting.generator.set_state(noise["generator"])
        _set_torch_noise(self.setting.generator, noise["torch"])
        self.recent = list(state["recent"]["losses"].to(self.setting.generator.device)) if state["recent"] else []
        for owner, values in ((self.watch, state["watch"]), (self, state["loop"]), (self.history, state["history"])):
            for name, value in values.items():
                setattr(owner, name, value)
        self.history.plan = [(step, num_steps) for step, num_steps in self.history.plan]
        self.started = time.perf_counter() - self.history.seconds - self.history.compile_seconds
        if self.setting.folder is not None:
            replace_file(self.setting.folder / "history.jsonl", self.history.to_jsonl().encode())

    def _save(self) -> None:
        folder = self.setting.folder
        if folder is None or not self.setting.batches.resumable:
            return
        start = time.perf_counter()
        write_checkpoint(folder, self.state())
        self.next_save = start + max(SAVE_SECONDS, (time.perf_counter() - start) / SAVE_SHARE)

    def _write_history(self) -> None:
        folder = self.setting.folder
        if folder is None:
            return
        path = folder / "history.jsonl"
        try:
            with path.open("w" if self.step == 0 else "a") as file:
                file.write(json_line(self.history.rows[-1]) + "\n")
        except OSError as error:
            raise RunError(f"{path}: could not be written ({error.strerror}).") from error


def _torch_noise(generator: torch.Generator) -> Tensor:
    return torch.cuda.get_rng_state(generator.device) if generator.device.type == "cuda" else torch.get_rng_state()


def _set_torch_noise(generator: torch.Generator, state: Tensor) -> None:
    if generator.device.type == "cuda":
        torch.cuda.set_rng_state(state, generator.device)
    else:
        torch.set_rng_state(state)
