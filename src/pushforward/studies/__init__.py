"""Studies: reproducible experiments that answer the questions of a source text from numbers, each with a report."""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.studies.registry import STUDIES, Study

if TYPE_CHECKING:
    from pushforward.studies.kit import Record

__all__ = ["STUDIES", "Study", "run"]


def run(name: str, *, quick: bool = False, seed: int = 0, out: Path | None = None, progress: bool = True) -> "Record":
    """Run a study and write its numbers, pictures and report.

    Numbers and pictures are written as they are found; a study that is stopped leaves what it measured.

    Args:
        name: A name in `STUDIES`.
        quick: Run the short form, which shows that everything works and measures nothing.
        seed: First seed.
        out: Folder for the results; by default ./pushforward-study/NAME.
        progress: Whether to print a line as each part is done, on standard error.

    Returns:
        What was found.

    Raises:
        InputError: If there is no such study, or the folder cannot be written to.
    """
    if name not in STUDIES:
        raise InputError(f"there is no study {name!r} (there are {', '.join(STUDIES)})")
    study = importlib.import_module(f"{__name__}.{STUDIES[name].module}")
    kit, out = importlib.import_module(f"{__name__}.kit"), out or Path("pushforward-study", name)
    record: Record = kit.Record(name, study.TITLE, study.SOURCE, out, seed=seed, quick=quick)
    if progress:
        record.say = partial(print, file=sys.stderr, flush=True)
    study.run(record)
    record.finish()
    return record
