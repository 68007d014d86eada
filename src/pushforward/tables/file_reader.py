"""From a file of any format to its cells, and to a table of numbers."""

import gzip
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from pushforward.errors import InputError, require_path
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, check_names, listing
from pushforward.tables.csv_reader import parse_csv
from pushforward.tables.data_frames import cells_of_array, cells_of_frame
from pushforward.tables.numeric_table import numbers_of
from pushforward.tables.several_files import below_one_another, files_of

TEXTS = (".csv", ".tsv", ".txt", ".dat", ".data")
WRITTEN = (*TEXTS, *(f"{suffix}.gz" for suffix in TEXTS), ".jsonl", ".parquet", ".arrow", ".feather", ".npy", ".npz")
SUFFIXES = (*WRITTEN, *(f"{suffix}.zip" for suffix in TEXTS), ".xlsx")


def read_table(
    path: str | os.PathLike[str], *, columns: str | Sequence[str] | None = None, drop: str | Sequence[str] = ()
) -> Table:
    """Read a file into a table of float64 columns.

    CSV and other text (.csv, .tsv, .txt, .dat, .data, plain, .gz or .zip; comma, semicolon, tab, bar or blanks; decimal
    point or comma; a first row of numbers only means that there is no header), JSON Lines, Parquet, Arrow and Feather
    (file or stream), NPY (rows, columns), NPZ (one such array, or one array a column), the first sheet with rows of an
    .xlsx file (with the extra `excel`). Integers, bools and float32 become float64. Pickled objects are never loaded.

    A folder stands for the Parquet files in it, and a name with * or ? for the files that it fits, in the order of
    their names: one table, if all have the same columns.

    Args:
        path: The file; its suffix tells the format.
        columns: The columns that must be there and hold numbers, in this order; the others may hold anything and are
            kept in `Table.as_is`. All by default. A file without names may give as many columns in their order instead.
        drop: Columns to leave out, whatever they hold.

    Raises:
        InputError: If the file cannot be read, or its cells are not a rectangle of finite numbers: names the file, the
            column, the row counted from 1, the cell and the remedy.
    """
    return numbers_of(cells_of_file(path, needed=columns), columns=columns, drop=drop)


def cells_of_file(path: str | os.PathLike[str], *, needed: str | Sequence[str] | None = None) -> Cells:
    """Read a file, the files of a folder or those that a pattern fits, whatever their cells hold.

    Args:
        path: As for `read_table`.
        needed: Columns that each of several files must have; all that the first one has by default.

    Raises:
        InputError: If there is no such file, it is damaged, or it is no table.
    """
    path = require_path("path", path)
    try:
        if files := files_of(path):
            return below_one_another([cells_of_file(file) for file in files], needed=needed, source=str(path))
        suffix = suffix_of(path)
        with path.open("rb") as handle:
            return _READERS[suffix](handle, source=str(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file (check the name and the folder)") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (check the file's permissions)") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def suffix_of(path: Path, known: Sequence[str] = SUFFIXES) -> str:
    """Return the file's suffix in lower case; raise InputError if none of the known ones."""
    name = path.name.lower()
    suffix = next((suffix for suffix in known if name.endswith(suffix)), None)
    if suffix is None:
        found = f'files of type "{path.suffix}"' if path.suffix else "files without a suffix"
        others = ", ".join(suffix for suffix in known if not suffix.startswith(TEXTS))
        packed = ".gz or .zip" if known == SUFFIXES else ".gz"
        raise InputError(f"{path}: {found} are not tables (use {', '.join(TEXTS)}, each also as {packed}, {others})")
    return suffix


def damaged(source: str, error: Exception) -> InputError:
    """Return the error for a file that is not what its suffix says, or is cut short."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(f"{source}: is damaged, cut short or of another type: {reason} (write it again)")


def _read_csv(handle: IO[bytes], *, source: str) -> Cells:
    return parse_csv(handle.read(), source=source)


def _read_csv_gz(handle: IO[bytes], *, source: str) -> Cells:
    try:
        data = gzip.GzipFile(fileobj=handle).read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(source, error) from error
    return parse_csv(data, source=source)


def _read_csv_zip(handle: IO[bytes], *, source: str) -> Cells:
    try:
        with zipfile.ZipFile(handle) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/") and name[-1] != "/"]
            data = archive.read(names[0]) if len(names) == 1 else b""
    except Exception as error:  # a damaged archive shows in all kinds of errors
        raise damaged(source, error) from error
    if len(names) != 1:
        raise InputError(f"{source}: holds {len(names)} files (pack one table in it)")
    return parse_csv(data, source=source)


def _read_jsonl(handle: IO[bytes], *, source: str) -> Cells:
    import polars as pl

    try:
        frame = pl.read_ndjson(handle, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise damaged(source, error) from error
    return cells_of_frame(frame, source=source)


def _read_xlsx(handle: IO[bytes], *, source: str) -> Cells:
    import polars as pl

    try:
        sheets = pl.read_excel(handle, sheet_id=0, raise_if_empty=False)
    except ModuleNotFoundError as error:
        raise InputError(f"{source}: reading .xlsx needs fastexcel: pip install 'pushforward[excel]'") from error
    except Exception as error:  # the reader has its own errors for damaged archives
        raise damaged(source, error) from error
    name = next((name for name, sheet in sheets.items() if sheet.height), "")
    if not name:
        raise InputError(f"{source}: has no sheet with rows below a header (add rows of numbers)")
    others = [other for other in sheets if other != name]
    note = (
        (f'the sheet "{name}" is read, {listing(others)} {"is" if len(others) == 1 else "are"} not',) if others else ()
    )
    return replace(cells_of_frame(sheets[name], source=source), notes=note)


def _read_parquet(handle: IO[bytes], *, source: str) -> Cells:
    import pyarrow.parquet

    return _from_arrow(lambda: pyarrow.parquet.ParquetFile(handle).read(), source=source)


def _read_arrow(handle: IO[bytes], *, source: str) -> Cells:
    import pyarrow.ipc

    is_file = handle.read(6) == b"ARROW1"
    handle.seek(0)
    open_ = pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream
    return _from_arrow(lambda: open_(handle).read_all(), source=source)


def _from_arrow(read: Callable[[], Any], *, source: str) -> Cells:
    import pyarrow

    try:
        return cells_of_arrow(read(), source=source)
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise damaged(source, error) from error


def cells_of_arrow(table: Any, *, source: str) -> Cells:
    """Return an Arrow table as it is; ArrowException or ValueError if it is damaged.

    Raises:
        InputError: If two columns share a name, or one is of a type that holds no cells.
    """
    import polars as pl
    import pyarrow

    table.validate(full=True)  # lengths and offsets of a damaged file, before anybody follows them
    check_names(table.column_names, source=source)
    columns = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            if pyarrow.types.is_decimal256(field.type):  # the one type at which polars aborts with a Rust panic
                column = column.cast(pyarrow.float64())
            columns[field.name] = pl.Series(field.name, column)
            if pyarrow.types.is_dictionary(field.type) and field.type.ordered and column.num_chunks:
                levels = column.unify_dictionaries().chunk(0).dictionary.cast(pyarrow.string()).to_pylist()
                columns[field.name] = columns[field.name].cast(pl.String).cast(pl.Enum(levels))
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f'{source}: column "{field.name}" is of type {field.type} (write it as numbers)'
            ) from error
    return cells_of_frame(pl.DataFrame(columns), source=source)


def _read_npy(handle: IO[bytes], *, source: str) -> Cells:
    return cells_of_array(_load_array(handle, source=source), source=source)


def _load_array(handle: IO[bytes], *, source: str) -> np.ndarray:
    try:
        return np.lib.format.read_array(handle, allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python literals: damage shows in all kinds of errors
        if "allow_pickle" in str(error):
            raise InputError(f"{source}: holds Python objects, not numbers (use a float or integer dtype)") from error
        raise damaged(source, error) from error


def _read_npz(handle: IO[bytes], *, source: str) -> Cells:
    import polars as pl

    try:
        with zipfile.ZipFile(handle) as archive:
            arrays = {}
            for name in archive.namelist():
                with archive.open(name) as member:
                    arrays[name.removesuffix(".npy")] = _load_array(member, source=f'{source}: array "{name}"')
    except InputError:
        raise
    except Exception as error:  # a damaged archive shows in all kinds of errors too
        raise damaged(source, error) from error
    if len(arrays) == 1 and next(iter(arrays.values())).ndim != 1:
        return cells_of_array(next(iter(arrays.values())), source=source)
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        found = ", ".join(f'"{name}" {shape}' for name, shape in list(shapes.items())[:10])
        raise InputError(
            f"{source}: arrays of shapes {found} are no table (store one array of (rows, columns), or one array of the"
            " same length for each column)"
        )
    return cells_of_frame(pl.DataFrame(arrays), source=source)


_READERS: dict[str, Callable[..., Cells]] = {
    **dict.fromkeys(TEXTS, _read_csv),
    **dict.fromkeys((f"{suffix}.gz" for suffix in TEXTS), _read_csv_gz),
    **dict.fromkeys((f"{suffix}.zip" for suffix in TEXTS), _read_csv_zip),
    ".jsonl": _read_jsonl,
    ".xlsx": _read_xlsx,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".npy": _read_npy,
    ".npz": _read_npz,
}
