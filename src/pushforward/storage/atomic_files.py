"""Files that are replaced as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pushforward.errors import InputError, RunError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place when all is written, and vanishes on any error.

    After a crash at any moment the old file or the new one is there, whole.

    Raises:
        InputError: If the folder does not exist or cannot be written to, or `path` is a folder.
        RunError: If writing fails.
    """
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder, not a file (name a file in it)")
    target = Path(os.path.realpath(path))  # a link keeps pointing where it did
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        handle = temporary.open("wb")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror} (check the folder {target.parent})") from error
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
        if os.name == "posix":
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name, too, has to be on the disk
            finally:
                os.close(folder)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RunError(f"{path}: writing failed: {error.strerror or error} (nothing was written)") from error
        raise
