"""A folder that results can be written to, made where it is missing."""

import os
from pathlib import Path

from pushforward.errors import InputError


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
