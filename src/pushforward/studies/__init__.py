"""Studies: reproducible experiments that answer the questions of a source text from numbers, each with a report."""

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import InputError, require_path, require_seed
from pushforward.studies.registry import STUDIES, Study

if TYPE_CHECKING:
    from pushforward.studies.kit import Record

__all__ = ["STUDIES", "Study", "run"]


def run(
    name: str, *, quick: bool = False, seed: int = 0, out: str | os.PathLike[str] | None = None, progress: bool = True
) -> "Record":
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
    if not isinstance(name, str) or name not in STUDIES:
        raise InputError(f"there is no study {name!r} (there are {', '.join(STUDIES)})")
    from pushforward.numerics.threads import one_thread_everywhere

    seed, out = require_seed(seed), Path("pushforward-study", name) if out is None else require_path("out", out)
    study = importlib.import_module(f"{__name__}.{STUDIES[name].module}")
    kit = importlib.import_module(f"{__name__}.kit")
    record: Record = kit.Record(name, study.TITLE, study.SOURCE, out, seed=seed, quick=quick)
    if progress:
        record.say = partial(print, file=sys.stderr, flush=True)
    with one_thread_everywhere():
        study.run(record)
        record.finish()
    return record
