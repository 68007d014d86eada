"""The folder of a run: its checkpoint, written now and then, and its history, a line for each report."""

import math
import os
import time
from typing import Any

from pushforward.errors import RunError
from pushforward.storage.atomic_files import replacing
from pushforward.storage.folders import writable_folder
from pushforward.training.checkpoint import read_checkpoint, write_checkpoint
from pushforward.training.history import History, json_line
from pushforward.training.ranks import Ranks

SAVE_SECONDS = 10.0
SAVE_SHARE = 0.05  # of the time, at most


class RunFolder:
    """Where a run leaves what it needs to go on; of several processes the first alone reads and writes.

    Args:
        path: The folder; made where there is none.
        identity: What has to be the same when the run goes on: options, model, data.
        ranks: The processes that share the run.

    Raises:
        InputError: If the folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any], ranks: Ranks) -> None:
        self.path = ranks.from_first(lambda: writable_folder(path, remedy="choose another folder with out="))
        self.identity, self._ranks = identity, ranks
        self._next_save = math.inf

    def read(self) -> dict[str, Any] | None:
        """Return the state that was saved last, or None."""
        return self._ranks.from_first(lambda: read_checkpoint(self.path, self.identity))

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, and say when the next one is due: its cost decides."""
        if not self._ranks.is_first:
            return
        start = time.perf_counter()
        write_checkpoint(self.path, self.identity, state)
        self._next_save = start + max(SAVE_SECONDS, (time.perf_counter() - start) / SAVE_SHARE)

    def save_is_due(self) -> bool:
        """Return whether it is time for the next checkpoint after the first."""
        return time.perf_counter() >= self._next_save

    def add_last_row(self, history: History) -> None:
        """Append the last report; the first begins the file anew.

        Raises:
            RunError: If writing fails.
        """
        if not self._ranks.is_first:
            return
        path = self.path / "history.jsonl"
        try:
            with path.open("w" if len(history) == 1 else "a") as file:
                file.write(json_line(history.rows[-1]) + "\n")
        except OSError as error:
            raise RunError(f"{path}: could not be written ({error.strerror}).") from error

    def replace_history(self, history: History) -> None:
        """Write all reports: after the checkpoint a killed run may have made more of them."""
        if not self._ranks.is_first:
            return
        for leftover in self.path.glob(".history.jsonl.*.tmp"):
            leftover.unlink(missing_ok=True)
        with replacing(self.path / "history.jsonl") as file:
            file.write(history.to_jsonl().encode())
