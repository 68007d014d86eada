"""A file that was dropped on the page, read by the reader of tables in a process that can be ended."""

import multiprocessing
import signal
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pushforward.errors import InputError
from pushforward.tables import as_table

MOST_BYTES = 4 * 2**20
MOST_ROWS = 100_000
MOST_SECONDS = 20.0
MOST_ROUNDED = 0.01  # error of rounding to float32, in standard deviations
LARGEST = 1e9  # of the numbers: float32 has room for their squares
LONGEST_NAME = 24  # letters of a column's name that are shown
SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
_reading: set[BaseProcess] = set()


class Upload(NamedTuple):
    """A file of two columns: their values as float32, one row after another, and their names."""

    rows: bytes
    names: tuple[str, str]


def read(content: bytes, name: str) -> Upload:
    """Return what is in a file.

    Args:
        content: Of the file.
        name: Of the file, whose suffix says how to read it.

    Raises:
        InputError: If it is too large, no table, or not of two columns of numbers.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"a file of two columns must end in {', '.join(SUFFIXES)}.")
    if len(content) > MOST_BYTES:
        raise InputError(f"the file has more than {MOST_BYTES // 2**20} MiB.")
    with tempfile.TemporaryDirectory() as folder:  # ours, so that it goes even if the process is ended
        path = Path(folder, f"file{suffix}")
        path.write_bytes(content)
        found = _read_apart(path)
    if isinstance(found, str):
        raise InputError(found)
    return found


def end_all() -> None:
    """End all reading."""
    for process in list(_reading):
        process.kill()


def _read_apart(path: Path) -> Upload | str:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_read, args=(theirs, path), daemon=True)
    process.start()
    _reading.add(process)
    theirs.close()
    try:
        if not ours.poll(MOST_SECONDS):
            raise InputError(f"reading the file took more than {MOST_SECONDS:g} s.")
        return ours.recv()
    except EOFError as error:
        raise InputError("the file could not be read.") from error
    finally:
        _reading.discard(process)
        process.kill()
        process.join()
        ours.close()


def _read(connection: Connection, path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    try:
        connection.send(_two_columns(path))
    except InputError as error:
        connection.send(str(error).replace(f"{path}: ", "").replace(f"{path}", "the file"))


def _two_columns(path: Path) -> Upload:
    table = as_table(str(path))
    values = np.asarray(table.values)
    if values.shape[1] != 2:
        names = ", ".join(table.columns[:6])
        raise InputError(f"the file must have two columns of numbers; it has {values.shape[1]}: {names}.")
    if len(values) > MOST_ROWS:
        raise InputError(f"the file has {len(values):,} rows, more than {MOST_ROWS:,}.")
    if not (abs(values) <= LARGEST).all():
        raise InputError(f"the file has numbers beyond {LARGEST:,.0f}: subtract their mean, or divide by their scale.")
    rounding = abs(values.astype("<f4") - values).max(0)
    for column, error, spread in zip(table.columns, rounding, values.std(0), strict=True):
        if error > MOST_ROUNDED * spread > 0:
            raise InputError(f'column "{column}" varies too little beside its size for 32 bits: subtract its mean.')
    first, second = (str(column)[:LONGEST_NAME] for column in table.columns)
    return Upload(values.astype("<f4").tobytes(), (first, second))
