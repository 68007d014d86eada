"""The loop itself: steps, looks at their losses, reports, checkpoints; and how to go on from one."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import RunError
from pushforward.storage.whole_files import replacing
from pushforward.training.batches import LoaderBatches
from pushforward.training.checkpoint import write_checkpoint
from pushforward.training.divergence import MOST_FAILURES, SNAPSHOT_STEPS, Watch, check_initial
from pushforward.training.evaluation import mean_of, row_losses
from pushforward.training.history import History, json_line
from pushforward.training.interrupt import Flag, Interrupted
from pushforward.training.rows import Rows
from pushforward.training.schedule import Plan, rate_factor
from pushforward.training.setting import Setting
from pushforward.training.weights import load_optimizer, optimizer_tensors

LOOK_STEPS = 20  # the losses of so many steps are looked at together: a look at each would wait for the device
REPORTS = 100
FREE_ROWS = 2048  # that a loss without data is evaluated on
VALIDATION_SHARE = 0.1  # of the time, at most
SAVE_SECONDS = 10.0
SAVE_SHARE = 0.05  # of the time, at most


class Loop:
    """A run at some step. Everything that decides its future is in `state()`; time decides nothing but the plan."""

    def __init__(self, setting: Setting, notes: list[str], started: float) -> None:
        self.setting = setting
        self.history = History(notes=notes)
        self.plan = Plan([(0, 1)])
        self.watch = Watch(0.0)
        self.step = 0
        self.recent: list[Tensor] = []
        self.best: dict[str, Tensor] = {}
        self.train_sum, self.train_count = 0.0, 0
        self.next_report, self.reports_since_best = 0, 0
        self.validation_seconds = 0.0
        self.started = started
        self.next_save = math.inf

    @property
    def seconds(self) -> float:
        """Wall-clock seconds used so far, those before a resume included, compiling left out."""
        return time.perf_counter() - self.started - self.history.compile_seconds

    # ---- the run -------------------------------------------------------------------------------------------------

    def run(self, flag: Flag) -> None:
        """Go on until the plan is fulfilled; a signal saves and raises Interrupted."""
        setting, plan = self.setting, self.plan
        redraw = getattr(setting.model, "redraw", None)
        if self.step == 0:
            self._report()
        if self.history.stopped_because == "running":
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
                watch.keep(self.step, self.numbers())
            return
        if watch.failures == MOST_FAILURES:
            assert watch.older is not None
            self.restore(watch.older)
            raise watch.give_up(self.setting.model, self.setting.learning_rate * watch.rate_cut)
        self.restore(watch.back(self.step))
        self.history.rollbacks.append(self.step)
        self.setting.progress.note(
            f"step {self.step}: {watch.reason}; back to good weights, learning rate halved ({watch.failures} of "
            f"{MOST_FAILURES} times)"
        )

    def row_losses(self, rows: Rows | None, *, max_seconds: float | None = None) -> Tensor:
        """Return the loss of each row; pieces are larger than batches, since no gradients are kept."""
        setting = self.setting
        size = FREE_ROWS if rows is None else 4 * setting.batches.batch_size
        device = setting.generator.device
        return row_losses(setting.model, setting.loss, rows, size=size, device=device, max_seconds=max_seconds)

    def _report(self) -> None:
        """Validate, add a row to the history, keep the best weights, and see whether patience has run out."""
        self._look()
        setting, history = self.setting, self.history
        validation = None
        if setting.validates:
            start = time.perf_counter()
            losses = self.row_losses(setting.validation)
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
        self.next_report = self.step + max(math.ceil(self.plan.num_steps / REPORTS), self.least_interval())
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

    def least_interval(self) -> int:
        """Return the least number of steps between reports, so that validation stays cheap."""
        setting = self.setting
        if not setting.validates:
            return 1
        num_rows = FREE_ROWS if setting.validation is None else len(setting.validation)
        return math.ceil(num_rows / (3 * setting.batches.batch_size) / VALIDATION_SHARE)

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

    def numbers(self) -> dict[str, Any]:
        """Return copies of the model's and the optimizer's numbers."""
        return {"weights": self.setting.weights.copy(), "optimizer": optimizer_tensors(self.setting.optimizer)}

    def restore(self, numbers: dict[str, Any]) -> None:
        """Write back what `numbers` returned."""
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
            "now": self.numbers(),
            "older": watch.older,
            "newer": watch.newer,
            "best": self.best,
            "noise": {
                "generator": self.setting.generator.get_state(),
                "epoch": epoch_state,
                "torch": torch_noise(self.setting.generator),
            },
            "recent": {"losses": torch.stack(self.recent)} if self.recent else {},
            "watch": {
                name: getattr(watch, name) for name in ("ceiling", "failures", "reason", "window", "snapshot_step")
            },
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
        self.restore(state["now"])
        self.watch.older, self.watch.newer, self.best = state["older"], state["newer"], state["best"]
        noise = state["noise"]
        self.setting.batches.seek(noise["epoch"], state["taken"])
        self.setting.generator.set_state(noise["generator"])
        set_torch_noise(self.setting.generator, noise["torch"])
        self.recent = list(state["recent"]["losses"].to(self.setting.generator.device)) if state["recent"] else []
        for owner, values in ((self.watch, state["watch"]), (self, state["loop"]), (self.history, state["history"])):
            for name, value in values.items():
                setattr(owner, name, value)
        self.history.plan = [(step, num_steps) for step, num_steps in self.history.plan]
        self.started = time.perf_counter() - self.history.seconds - self.history.compile_seconds
        if self.setting.folder is not None:
            with replacing(self.setting.folder / "history.jsonl") as file:
                file.write(self.history.to_jsonl().encode())

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


def torch_noise(generator: torch.Generator) -> Tensor:
    """Return the state of torch's global generator on the generator's device, from which dropout draws."""
    return torch.cuda.get_rng_state(generator.device) if generator.device.type == "cuda" else torch.get_rng_state()


def set_torch_noise(generator: torch.Generator, state: Tensor) -> None:
    """Write back what `torch_noise` returned."""
    if generator.device.type == "cuda":
        torch.cuda.set_rng_state(state, generator.device)
    else:
        torch.set_rng_state(state)
