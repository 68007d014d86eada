"""Folders that results can be written to, made where they are missing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pushforward.errors import InputError, RunError


def writable_folder(path: str | os.PathLike[str], *, remedy: str) -> Path:
    """Make the folder, and those above it, where needed; return it once a file could be written in it.

    Raises:
        InputError: If it cannot be made or written to; the message ends in the remedy, such as "name another folder".
    """
    folder = Path(path)
    probe = folder / f".{os.getpid()}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror} ({remedy})") from error
    return folder


@contextmanager
def folder_for_results(path: Path, *, remedy: str) -> Iterator[None]:
    """Make a writable folder; if an InputError or RunError leaves it empty, take away again what was made.

    Raises:
        InputError: As `writable_folder`.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    writable_folder(path, remedy=remedy)
    try:
        yield
    except (InputError, RunError):
        for folder in missing:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        raise
