"""The real tables of the study: read from the user's folder, or downloaded from UCI's archive; checked either way."""

import gzip
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pushforward.data import mixed_table
from pushforward.data.mnist import FOLDER_VARIABLE
from pushforward.errors import InputError, RunError
from pushforward.studies.kit import Record

if TYPE_CHECKING:
    import polars as pl

ARCHIVE = "https://archive.ics.uci.edu/static/public"
MAGIC = ("fLength", "fWidth", "fSize", "fConc", "fConc1", "fAsym", "fM3Long", "fM3Trans", "fAlpha", "fDist", "class")
ADULT = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip
UNKNOWN = "?"  # a cell that the census does not have: missing here, a category in the papers


class Source(NamedTuple):
    """Where a table is, without a header, and what tells it from another one."""

    about: str
    columns: tuple[str, ...]
    sha256: str  # of the table in UCI's own form
    address: str = ""  # of a zip file; "" for a table that is not in the archive in this form
    member: str = ""


SOURCES = {
    "magic04": Source(
        "gamma telescope events: ten real columns, a class",
        MAGIC,
        "e9314b7ebd4b4b59a3b3d65f7316663963777b16a46786877651dbbaa640b36a",
        f"{ARCHIVE}/159/magic+gamma+telescope.zip",
        "magic04.data",
    ),
    "adult": Source(
        "a census: nine columns of categories, six of integers",
        ADULT,
        "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        f"{ARCHIVE}/2/adult.zip",
        "adult.data",
    ),
    "protein": Source(
        "physicochemical properties of proteins, centred: ten real columns with heavy tails, one of few values",
        tuple(f"x{index}" for index in range(1, 11)),
        "6ccb1a6bf7e7ba40febe2b8226779cb62e4ca2fa4d193bdec8538c6b5f991ec5",
    ),
}


def real_table(name: str) -> "pl.DataFrame":
    """Return one of the tables as a polars frame: text, integers and real numbers.

    Raises:
        InputError: If the user's file is another one, or the table is neither there nor in UCI's archive.
        RunError: If it could not be downloaded.
    """
    import polars as pl

    source, own = SOURCES[name], _own_file(name)
    if own is not None:
        text, where = _in_archives_form(name, gzip.decompress(own.read_bytes()).decode()), str(own)
    elif source.address:
        text, where = _downloaded(source), source.address
    else:
        raise InputError(f"the table {name} is not here (set {FOLDER_VARIABLE} to a folder with tables/{name}.csv.gz)")
    if hashlib.sha256(text.encode()).hexdigest() != source.sha256:
        raise InputError(f"{where}: has another checksum, so it is not the table {name} (get {source.address})")
    plain = io.StringIO("\n".join(",".join(map(str.strip, line.split(","))) for line in text.splitlines() if line))
    columns = list(source.columns)
    return pl.read_csv(plain, has_header=False, new_columns=columns, infer_schema_length=None, null_values=UNKNOWN)


def real_tables(record: Record) -> "dict[str, pl.DataFrame]":
    """Return the real tables that can be had; the short form has rows of the known law in their place."""
    if record.quick:
        return {"mixed": mixed_table(400, missing=0.0, seed=record.seed)[0]}
    found = {}
    for name in SOURCES:
        try:
            found[name] = real_table(name)
        except InputError as error:
            record.text(f"{name} is left out: {error}.")
    return found


def split(rows: "pl.DataFrame") -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Return nine tenths of the rows to fit to and a tenth held out, the same in every run."""
    order, held = np.random.default_rng(0).permutation(rows.height), rows.height // 10
    return rows[order[:-held]], rows[order[-held:]]


def _own_file(name: str) -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder, "tables", f"{name}.csv.gz") if folder else None
    return path if path is not None and path.exists() else None


def _in_archives_form(name: str, text: str) -> str:
    """Return the table of a file with a header, its cells parted in other ways, as UCI's archive has it."""
    if name == "magic04":
        return text.partition("\n")[2]
    if name == "adult":
        rows = [[cell.strip() for cell in line.split(";")] for line in text.splitlines()[1:]]
        place = ADULT.index("sex")
        for cells in rows:
            cells[place] = {"1": "Male", "2": "Female"}.get(cells[place], cells[place])
        return "\n".join(", ".join(cells) for cells in rows) + "\n\n"
    return text


def _downloaded(source: Source) -> str:
    """Return a member of a zip file in UCI's archive, kept in the user's cache."""
    try:
        import pooch
    except ImportError as error:
        raise InputError('downloading needs pooch: pip install "pushforward[studies]"') from error
    try:
        folder = pooch.os_cache("pushforward") / "tables"
        unpacked = pooch.Unzip(members=[source.member])
        (path,) = pooch.retrieve(source.address, None, path=folder, processor=unpacked)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise RunError(f"{source.address} could not be downloaded: {error}") from error
    return Path(path).read_text()
