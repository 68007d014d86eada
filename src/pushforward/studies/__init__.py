"""Studies: reproducible experiments that answer the questions of a source text from numbers, each with a report."""

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import InputError, require_number, require_path, require_seed
from pushforward.studies.registry import STUDIES, Study

if TYPE_CHECKING:
    from pushforward.studies.kit import Record

__all__ = ["STUDIES", "Study", "run"]

LEAST_SHARE = 0.02  # of their full length that trainings must have for their numbers to say anything


def run(
    name: str,
    *,
    quick: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> "Record":
    """Run a study and write its numbers, pictures and report.

    Numbers and pictures are written as they are found; a study that is stopped leaves what it measured.

    Args:
        name: A name in `STUDIES`.
        quick: Run the short form, which shows that everything works and measures nothing.
        minutes: Run a shorter form of about so many minutes: one seed, trainings of a share of their full length.
        seed: First seed.
        out: Folder for the results; by default ./pushforward-study/NAME.
        progress: Whether to print a line as each part is done, on standard error.

    Returns:
        What was found.

    Raises:
        InputError: If there is no such study, it has no such form, or the folder cannot be written to.
    """
    if not isinstance(name, str) or name not in STUDIES:
        raise InputError(f"there is no study {name!r} (there are {', '.join(STUDIES)})")
    share = _share_of(name, minutes, quick=quick)
    from pushforward.numerics.threads import one_thread_everywhere

    seed, out = require_seed(seed), Path("pushforward-study", name) if out is None else require_path("out", out)
    study = importlib.import_module(f"{__name__}.{STUDIES[name].module}")
    kit = importlib.import_module(f"{__name__}.kit")
    shorter = {} if share is None else {"minutes": minutes, "share": share}
    record: Record = kit.Record(name, study.TITLE, study.SOURCE, out, seed=seed, quick=quick, **shorter)
    if progress:
        record.say = partial(print, file=sys.stderr, flush=True)
    with one_thread_everywhere():
        study.run(record)
        record.finish()
    return record


def _share_of(name: str, minutes: float | None, *, quick: bool) -> float | None:
    """Return the share of their full length that trainings have in a run of one seed; None for the full form."""
    study = STUDIES[name]
    if minutes is None:
        return None
    minutes = require_number("minutes", minutes, above=0)
    if quick:
        raise InputError("--quick and --minutes exclude each other (choose one)")
    if study.one_seed is None:
        raise InputError(f"the study {name} has no form of a few minutes (--quick shows that it runs)")
    trainings, rest = study.one_seed
    least = rest + LEAST_SHARE * trainings
    if minutes < least:
        raise InputError(
            f"the study {name} takes {least:.1f} minutes or more; got {minutes:g} (--quick shows that it runs)"
        )
    return None if minutes >= study.minutes else min(1.0, (minutes - rest) / trainings)
