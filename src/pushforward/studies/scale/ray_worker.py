"""A Ray worker that is at work, found and killed."""

import os
import signal
from pathlib import Path


def kill_one(parent: int) -> int:
    """Kill one of the workers of the Ray that a process has started; return its number, 0 if none is at work."""
    for pid in _below(parent):
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
            if name.startswith(b"ray::_made"):
                os.kill(pid, signal.SIGKILL)
                return pid
        except OSError:  # it has ended
            continue
    return 0


def _below(parent: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found, new = [], [parent]
    while new:
        new = [pid for pid, above in parents.items() if above in new]
        found += new
    return found
