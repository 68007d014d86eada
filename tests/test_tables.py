"""Tables: what is read, what is refused and in which words, what is warned about, and how files are written."""

import errno
import gzip
import io
import os
import re
import resource
import subprocess
import sys
import zipfile
from contextlib import contextmanager, suppress

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from pushforward.errors import InputError, RunError
from pushforward.tables import Schema, as_table, check_for_fitting, column_warnings, read_table, write_table
from pushforward.tables.file_reader import SUFFIXES, TEXTS, WRITTEN
from pushforward.tables.splitting import split_rows

ROWS = [[1.5, 2.0], [-3.25, 4.0], [0.1, 1e-20]]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write bytes under a name into the working folder, so that messages begin with the bare name."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def saved(save, *args, **kwargs):
    buffer = io.BytesIO()
    save(buffer, *args, **kwargs)
    return buffer.getvalue()


def encoded(suffix, frame):
    """The content of a file of a suffix, written by the format's own library."""
    return {
        **dict.fromkeys(TEXTS, lambda: frame.write_csv().encode()),
        **dict.fromkeys((f"{text}.gz" for text in TEXTS), lambda: gzip.compress(frame.write_csv().encode())),
        **dict.fromkeys((f"{text}.zip" for text in TEXTS), lambda: zipped({"t.csv": frame.write_csv()})),
        ".jsonl": lambda: frame.write_ndjson().encode(),
        ".xlsx": lambda: workbook({"Sheet1": frame}),
        ".parquet": lambda: saved(frame.write_parquet),
        ".arrow": lambda: saved(frame.write_ipc),
        ".feather": lambda: saved(frame.write_ipc, compression="lz4"),
        ".npy": lambda: saved(np.save, frame.to_numpy()),
        ".npz": lambda: saved(np.savez, **{c.name: c.to_numpy() for c in frame}),
    }[suffix]()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def workbook(sheets):
    """The least that is an .xlsx file: sheets of numbers under a header, text in the cells themselves."""
    main, types = "http://schemas.openxmlformats.org", "application/vnd.openxmlformats-officedocument.spreadsheetml"
    kinds = f"{main}/officeDocument/2006/relationships"
    names, links, parts, files = "", "", "", {}
    for number, (name, frame) in enumerate(sheets.items(), 1):
        rows = [frame.columns, *frame.rows()] if frame.width else []
        text, value = '<c t="inlineStr"><is><t>{}</t></is></c>', "<c><v>{}</v></c>"
        cells = ["".join((text if isinstance(v, str) else value).format(v) for v in row) for row in rows]
        sheet = "".join(f"<row>{row}</row>" for row in cells)
        path = f"xl/worksheets/sheet{number}.xml"
        files[path] = f'<worksheet xmlns="{main}/spreadsheetml/2006/main"><sheetData>{sheet}</sheetData></worksheet>'
        names += f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
        links += f'<Relationship Id="rId{number}" Type="{kinds}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        parts += f'<Override PartName="/{path}" ContentType="{types}.worksheet+xml"/>'
    files["xl/workbook.xml"] = (
        f'<workbook xmlns="{main}/spreadsheetml/2006/main" xmlns:r="{kinds}"><sheets>{names}</sheets></workbook>'
    )
    relations = f'<Relationships xmlns="{main}/package/2006/relationships">'
    files["xl/_rels/workbook.xml.rels"] = f"{relations}{links}</Relationships>"
    book = f'<Relationship Id="rId1" Type="{kinds}/officeDocument" Target="xl/workbook.xml"/>'
    files["_rels/.rels"] = f"{relations}{book}</Relationships>"
    files["[Content_Types].xml"] = (
        f'<Types xmlns="{main}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
        f'ContentType="{types}.sheet.main+xml"/>{parts}</Types>'
    )
    return zipped(files)


def says(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


@contextmanager
def as_nobody():
    """Without root's right to read and write everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def file_size_limit(num_bytes):
    """No file may grow beyond this size: the kernel refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What is read


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_gives_the_same_numbers(written, suffix):
    table = read_table(written(f"t{suffix}", encoded(suffix, pl.DataFrame(ROWS, schema=["a", "b"], orient="row"))))
    assert table.columns == (("x1", "x2") if suffix == ".npy" else ("a", "b"))
    assert table.named == (suffix != ".npy")
    assert table.values.dtype == np.float64
    assert table.values.flags.c_contiguous
    np.testing.assert_array_equal(table.values, ROWS)
    assert table.source == f"t{suffix}"


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npz"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int64, np.float32, np.bool_])
def test_other_number_types_become_float64(written, suffix, dtype):
    column = np.array([0, 1, 1]).astype(dtype)
    table = read_table(written(f"t{suffix}", encoded(suffix, pl.DataFrame({"a": column}))))
    assert table.values.dtype == np.float64
    np.testing.assert_array_equal(table.values[:, 0], [0.0, 1.0, 1.0])


def test_the_first_sheet_with_rows_is_read_and_the_others_are_named(written):
    frame = pl.DataFrame({"a": [1.5, 2.5], "b": [3.0, 4.0]})
    table = read_table(written("t.xlsx", workbook({"Empty": pl.DataFrame(), "Data": frame, "More": frame})))
    assert table.values.tolist() == [[1.5, 3.0], [2.5, 4.0]]
    assert table.notes == ('the sheet "Data" is read, "Empty", "More" are not',)
    with says("e.xlsx: has no sheet with rows below a header (add rows of numbers)"):
        read_table(written("e.xlsx", workbook({"Empty": pl.DataFrame()})))


def test_a_folder_of_parquet_and_a_pattern_are_one_table(written, tmp_path):
    (tmp_path / "folder").mkdir()
    for name, columns, rows in (("b", ["y", "x"], [[3, 4]]), ("a", ["x", "y"], [[1, 2]])):
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        written(f"folder/{name}.parquet", saved(frame.write_parquet))
        written(f"{name}.csv", frame.write_csv())
    written("folder/_SUCCESS", b"")
    for source in ("folder", "?.csv"):
        table = read_table(source)
        assert (table.columns, table.source) == (("x", "y"), source)
        assert table.values.tolist() == [[1.0, 2.0], [4.0, 3.0]]
    written("c.csv", "x,z\n1,2\n")
    with says('c.csv: there is no column "y", which a.csv has (columns: "x", "z")'):
        read_table("?.csv")
    with says("*.tsv: fits no file (check the pattern and the folder)"):
        read_table("*.tsv")


def test_a_zip_file_holds_one_table(written):
    with says("t.csv.zip: holds 2 files (pack one table in it)"):
        read_table(written("t.csv.zip", zipped({"a.csv": "1,2\n", "b.csv": "1,2\n"})))
    assert read_table(written("m.csv.zip", zipped({"__MACOSX/a": "", "a.csv": "1,2\n"}))).values.tolist() == [
        [1.0, 2.0]
    ]


def test_an_arrow_stream_is_read(written):
    frame = pl.DataFrame({"a": [1.0, 2.0]})
    assert read_table(written("t.arrow", saved(frame.write_ipc_stream))).values.tolist() == [[1.0], [2.0]]


def test_integers_beyond_float_precision_are_rounded_and_decimals_of_256_bits_read(written):
    table = pa.table({"i": [2**63 - 1, 1], "d": pa.array([None, None], pa.decimal256(40, 3)).fill_null(2)})
    with pa.ipc.new_file(written("t.arrow", b""), table.schema) as writer:
        writer.write_table(table)
    np.testing.assert_array_equal(read_table("t.arrow").values, [[2.0**63, 2.0], [1.0, 2.0]])


def test_npz_may_hold_one_array_of_rows_and_columns(written):
    table = read_table(written("t.npz", saved(np.savez, np.array(ROWS))))
    assert table.columns == ("x1", "x2")
    np.testing.assert_array_equal(table.values, ROWS)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("a,b\n1,2\n3,4\n", ("a", "b")),
        ("a;b\n1;2\n3;4", ("a", "b")),
        ("a\tb\r\n1\t2\r\n3\t4\r\n\r\n", ("a", "b")),
        ("a,b\r1,2\r3,4", ("a", "b")),
        ("\ufeffa,b\n1,2\n3,4\n", ("a", "b")),
        ("1,2\n3,4\n", ("x1", "x2")),
        ("\ufeff1,2\n3,4\n", ("x1", "x2")),
        (' a , "b, ü"\n 1 , 2\n3,4\n'.replace(" , ", ","), ("a", "b, ü")),
        ('"a;1",b\n"1","2"\n3,4\n', ("a;1", "b")),
        ("a,2020\n1,2\n3,4\n", ("a", "2020")),
        ("a,b\n 1, 2\n3 ,4.0\n", ("a", "b")),
        ("a,b\n+1,2e0\n3.,.4e1\n", ("a", "b")),
    ],
)
def test_csv_dialects(written, content, columns):
    table = read_table(written("t.csv", content))
    assert table.columns == columns
    assert table.named == (columns[0] != "x1")
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


def test_true_and_false_are_one_and_zero(written):
    assert read_table(written("t.csv", "a\nTrue\nfalse\nTRUE\n")).values[:, 0].tolist() == [1.0, 0.0, 1.0]


def test_csv_numbers_are_read_exactly(written):
    x = np.random.default_rng(0).normal(size=(1000, 3)) * np.array([1e-20, 1.0, 1e20])
    text = "a,b,c\n" + "".join(",".join(map(repr, row)) + "\n" for row in x.tolist())
    np.testing.assert_array_equal(read_table(written("t.csv", text)).values, x)


def test_suffix_may_be_upper_case(written):
    assert read_table(written("T.CSV", "a\n1\n2\n")).columns == ("a",)


def test_chosen_columns_come_in_the_order_asked_for_and_others_may_be_text(written):
    name = written("t.csv", "id,a,b\nu,1,2\nv,3,4\n")
    table = read_table(name, columns="b,a")
    assert table.columns == ("b", "a")
    assert table.values.tolist() == [[2, 1], [4, 3]]
    assert read_table(name, columns=["a"]).values.tolist() == [[1], [3]]


def test_a_file_without_names_is_taken_in_its_order(written):
    table = read_table(written("t.csv", "1,2\n3,4\n"), columns=["a", "b"])
    assert table.columns == ("a", "b")
    assert table.values.tolist() == [[1, 2], [3, 4]]
    np.save("t.npy", np.array(ROWS))
    assert read_table("t.npy", columns=["a", "b"]).columns == ("a", "b")
    np.testing.assert_array_equal(read_table("t.npy", columns="x2").values, np.array(ROWS)[:, 1:])
    with says(
        't.npy: has 2 columns without names, wanted are 3: "a", "b", "c" (give the columns names, or exactly these'
        " columns in this order)"
    ):
        read_table("t.npy", columns="a,b,c")


def test_a_single_row_can_be_read_for_scoring(written):
    assert read_table(written("t.csv", "a,b\n1,1\n")).values.tolist() == [[1, 1]]


# What is refused while reading

REFUSED_CSV = {
    "nan": (
        "a,b\n1,2\n3,nan\n",
        'column "b", row 2 (line 3): "nan" is not a finite number (fill it in or leave the row out)',
    ),
    "inf": (
        "a,b\n1,-inf\n",
        'column "b", row 1 (line 2): "-inf" is not a finite number (fill it in or leave the row out)',
    ),
    "overflow": (
        "a\n1e400\n",
        'column "a", row 1 (line 2): "1e400" is not a finite number (fill it in or leave the row out)',
    ),
    "text cell": (
        "a,income\n" + "1,2\n" * 16 + "1,n/a\n1,3\n",
        'column "income", row 17 (line 18): "n/a" is not a number (fill it in or leave the row out)',
    ),
    "several cells": (
        "a,b\n1,2\n3,x\ny,z\n1,1\n1,1\n1,1\n",
        '2 problems\n  column "a", row 3 (line 4): "y" is not a number (fill it in or leave the row out)\n'
        '  column "b", row 2 (line 3): "x" is not a number; 1 more cell is not usable either (fill it in or leave the'
        " row out)",
    ),
    "no header": (
        "1,2\n3,?\n5,6\n",
        'column "x2", row 2 (line 2): "?" is not a number (fill it in or leave the row out)',
    ),
    "no header, mark of a missing value first": (
        "1,NA\n3,4\n5,6\n",
        'column "x2", row 1 (line 1): "NA" is not a number (fill it in or leave the row out)',
    ),
    "line breaks in cells": (
        'a,"b\nc"\n1,"\n2"\n3,"x\ny"\n1,1\n',
        'column "b c", row 2 (line 5): "x y" is not a number (fill it in or leave the row out)',
    ),
    "decimal commas and points": (
        "a;b\n1;2,5\n2;3.5\n",
        'column "b", row 2 (line 3): "3.5" has a decimal point, where other cells have decimal commas'
        " (fill it in or leave the row out)",
    ),
    "missing value": ("a,b\n1,2\n,4\n", 'column "a", row 2 (line 3): missing value (fill it in or leave the row out)'),
    "missing last value": ("a,b\n1,\n", 'column "b", row 1 (line 2): missing value (fill it in or leave the row out)'),
    "missing value after a byte order mark and a quoted name": (
        '\ufeff"a,b",c\n1,\n',
        'column "c", row 1 (line 2): missing value (fill it in or leave the row out)',
    ),
    "blank value": (
        "a,b\n1,2\n 	,4\n",
        'column "a", row 2 (line 3): missing value (fill it in or leave the row out)',
    ),
    "blank line in one column": (
        "a\n1\n\n3\n",
        'column "a", row 2 (line 3): missing value (fill it in or leave the row out)',
    ),
    "text column": (
        "a,city\n1,\n2,Rome\n",
        'column "city" is text: row 2 (line 3) of "city" holds "Rome" (only numbers can be modelled: leave it out, or'
        " encode it as numbers)",
    ),
    "text columns": (
        "a,city,sex\n1,Oslo,m\n2,Rome,f\n",
        'columns "city", "sex" are text: row 1 (line 2) of "city" holds "Oslo" (only numbers can be modelled: leave'
        " them out, or encode them as numbers)",
    ),
    "empty file": ("", "the file is empty (it needs rows of numbers)"),
    "blank file": ("\n\r\n \n", "the file is empty (it needs rows of numbers)"),
    "header only": ("a,b\n", "has a header but no rows (add rows of numbers)"),
    "short row": ("a,b\n1,2\n3\n", "line 3 has 1 cell, line 1 has 2 (give every line the same number of cells)"),
    "long row": ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, line 1 has 2 (give every line the same number of cells)"),
    "blank line": ("a,b\n1,2\n\n3,4\n", "line 3 is empty, line 1 has 2 (give every line the same number of cells)"),
    "blank first line": ("\na,b\n1,2\n", "line 1 is empty (begin with the column names or the first row)"),
    "open quote": ('a,b\n1,"2\n3,4\n', "line 2: unexpected end of data (look for a stray or unclosed quote)"),
    "duplicate names": ("a,b,a\n1,2,3\n", 'line 1: columns 1 and 3 are both named "a" (give each its own name)'),
    "nameless column": (",a\n0,2\n", "line 1: column 1 has no name (name it, or leave the column out)"),
    "UTF-16 without mark": (
        "a\n1\n".encode("utf-16-le"),
        "is a binary file, not text (save it as CSV in UTF-8)",
    ),
    "no encoding": (b"a,b\n1,2\n3,\x81\n", "line 3: byte 0x81 is not UTF-8 text (save the file in UTF-8)"),
}


@pytest.mark.parametrize("case", REFUSED_CSV)
def test_csv_is_refused_with_place_and_remedy(written, case):
    content, message = REFUSED_CSV[case]
    with says(f"t.csv: {message}"):
        read_table(written("t.csv", content))


def test_a_stray_quote_is_refused(written):
    with pytest.raises(InputError, match=r"^t\.csv: is not a well-formed CSV file: .* \(look for stray quotes\)$"):
        read_table(written("t.csv", 'a"b,c\n1,2\n'))


FRAME = pl.DataFrame(
    {"a": [1.0, 2.0, 3.0], "hole": [1, None, 2], "nan": [1.0, 2.0, float("nan")], "word": ["x", "y", "z"]}
)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("a,hole", 'column "hole", row 2: missing value (fill it in or leave the row out)'),
        ("a,nan", 'column "nan", row 3: NaN is not a finite number (fill it in or leave the row out)'),
        (
            "a,word",
            'column "word" is text: row 1 of "word" holds "x" (only numbers can be modelled: leave it out, or encode it'
            " as numbers)",
        ),
        ("a,Holes", 'there is no column "Holes"; did you mean "hole"? (columns: "a", "hole", "nan", "word")'),
        ("qqq", 'there is no column "qqq" (columns: "a", "hole", "nan", "word")'),
        ("a,a", 'column "a" is asked for twice (name it once)'),
    ],
)
def test_a_frame_in_a_file_is_refused_with_place_and_remedy(written, suffix, columns, message):
    with says(f"t{suffix}: {message}"):
        read_table(written(f"t{suffix}", encoded(suffix, FRAME)), columns=columns)


def test_dates_are_not_called_text(written):
    dates = pl.DataFrame({"day": ["2024-02-29"]}).select(pl.col("day").str.to_date())
    with pytest.raises(
        InputError, match=r'^t\.parquet: column "day" is not numeric: row 1 of "day" holds "2024-02-29" \('
    ):
        read_table(written("t.parquet", encoded(".parquet", dates)))


def test_an_arrow_type_without_a_counterpart_is_refused_by_name(written):
    table = pa.table({"a": [1.0], "span": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pa.ipc.new_file(written("t.arrow", b""), table.schema) as writer:
        writer.write_table(table)
    with says('t.arrow: column "span" is of type month_day_nano_interval (write it as numbers)'):
        read_table("t.arrow")


def test_duplicate_names_in_an_arrow_file_are_refused(written):
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    with pa.ipc.new_file(written("t.arrow", b""), table.schema) as writer:
        writer.write_table(table)
    with says('t.arrow: columns 1 and 2 are both named "a" (give each its own name)'):
        read_table("t.arrow")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, np.nan]]), 'column "x2", row 1: NaN is not a finite number (fill it in or leave the row out)'),
        (np.array([1.0, -np.inf]), 'column "x1", row 2: -inf is not a finite number (fill it in or leave the row out)'),
        (np.zeros((3, 2, 2)), "an array of shape (3, 2, 2) is no table (use (rows, columns) or (rows,))"),
        (np.array(5.0), "an array of shape () is no table (use (rows, columns) or (rows,))"),
        (np.zeros((0, 3)), "there are no rows"),
        (np.zeros((3, 0)), "there are no columns"),
        (np.array(["a"]), " holds text: give numbers."),
        (np.array([1j]), " holds complex numbers: give real and imaginary part as two features."),
        (np.array([1, "x"], dtype=object), "holds Python objects, not numbers (use a float or integer dtype)"),
    ],
)
def test_an_array_is_refused_with_reason_and_remedy(written, array, message):
    with says(f"t.npy{'' if message.startswith(' ') else ': '}{message}"):
        read_table(written("t.npy", saved(np.save, array)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, 'arrays of shapes "a" (2,), "b" (3,) are no table'),
        ({"a": np.zeros((2, 1)), "b": np.zeros((2, 1))}, 'arrays of shapes "a" (2, 1), "b" (2, 1) are no table'),
        ({"a": np.array([None])}, 'array "a.npy": holds Python objects, not numbers'),
        ({"a": np.array(["u", "v"])}, 'column "a" is text: row 1 of "a" holds "u"'),
        ({}, "there are no columns"),
    ],
)
def test_arrays_that_make_no_table_are_refused(written, arrays, message):
    with pytest.raises(InputError, match=rf"^t\.npz: {re.escape(message)}"):
        read_table(written("t.npz", saved(np.savez, **arrays)))


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in TEXTS])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9, -1])
def test_a_file_cut_short_is_refused(written, suffix, keep):
    whole = encoded(suffix, pl.DataFrame({"a": np.random.default_rng(0).normal(size=500)}))
    whole = whole.rstrip() if suffix == ".jsonl" else whole  # the last line feed may be missing
    content = whole[: keep if keep < 0 else int(keep * len(whole))]
    with pytest.raises(
        InputError, match=rf"^t{re.escape(suffix)}: (is damaged, cut short or of another type: |the file is empty)"
    ):
        read_table(written(f"t{suffix}", content))


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".arrow", ".npy", ".npz"])
def test_a_file_of_another_type_is_refused(written, suffix):
    with pytest.raises(InputError, match=r"is damaged, cut short or of another type: .+ \(write it again\)$"):
        read_table(written(f"t{suffix}", "a,b\n" + "1,2\n" * 100))


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in TEXTS])
def test_a_flipped_bit_never_shows_a_traceback(written, suffix):
    whole = encoded(suffix, pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4, 5, 6]}))
    rng = np.random.default_rng(0)
    for _ in range(100):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        with suppress(InputError):
            read_table(written(f"t{suffix}", bytes(content)))


def test_text_that_is_not_utf8_in_an_arrow_file_is_refused_even_in_a_column_that_is_not_needed(written):
    whole = encoded(".arrow", pl.DataFrame({"a": [1.0], "word": ["a long word of text"]}))
    with pytest.raises(
        InputError, match=r"^t\.arrow: is damaged, cut short or of another type: .* \(write it again\)$"
    ):
        read_table(written("t.arrow", whole.replace(b"long", b"lo\xffg")), columns="a")


def test_an_array_that_claims_terabytes_is_refused(written):
    content = saved(np.save, np.zeros((100, 2))).replace(b"(100, 2), }      ", b"(1152921504606,),}")
    with pytest.raises(InputError, match=r"^t\.npy: is damaged, cut short or of another type: .* \(write it again\)$"):
        read_table(written("t.npy", content))


def test_a_pickle_is_not_run(written):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, ("ran",))

    with says("t.npy: holds Python objects, not numbers (use a float or integer dtype)"):
        read_table(written("t.npy", saved(np.save, np.array([Bomb()], dtype=object))))
    assert not os.path.exists("ran")


def test_missing_file_folder_and_unknown_suffix_are_refused(written):
    with says("no.csv: there is no such file (check the name and the folder)"):
        read_table("no.csv")
    os.mkdir("folder.csv")
    with says("folder.csv: is a folder without .parquet files (name a file in it)"):
        read_table("folder.csv")
    suffixes = (
        ".csv, .tsv, .txt, .dat, .data, each also as .gz or .zip, .jsonl, .parquet, .arrow, .feather, .npy, .npz, .xlsx"
    )
    with says(f't.xls: files of type ".xls" are not tables (use {suffixes})'):
        read_table(written("t.xls", b""))
    with says(f"t: files without a suffix are not tables (use {suffixes})"):
        read_table(written("t", b""))


def test_an_unreadable_file_is_refused(written):
    name = written("t.csv", "a\n1\n")
    os.chmod(name, 0)
    with as_nobody(), says("t.csv: may not be read (check the file's permissions)"):
        read_table(name)


# Data frames and arrays


@pytest.mark.parametrize(
    "data",
    [
        pl.DataFrame(ROWS, schema=["x1", "x2"], orient="row"),
        pl.LazyFrame(ROWS, schema=["x1", "x2"], orient="row"),
        pa.table({"x1": [r[0] for r in ROWS], "x2": [r[1] for r in ROWS]}),
        np.array(ROWS),
        torch.tensor(ROWS, dtype=torch.float64, requires_grad=True),
        ROWS,
    ],
    ids=["polars", "lazy", "pyarrow", "array", "tensor", "lists"],
)
def test_frames_and_arrays_become_tables(data):
    table = as_table(data)
    assert table.columns == ("x1", "x2")
    np.testing.assert_array_equal(table.values, ROWS)
    assert as_table(data, columns="x2").columns == ("x2",)
    assert as_table(table) is table
    assert as_table(table, columns="x2").values.shape == (3, 1)


def test_frames_and_arrays_are_refused_under_their_names():
    with says('data frame: column "a", row 2: missing value (fill it in or leave the row out)'):
        as_table(pl.DataFrame({"a": [1, None]}))
    with says('array: column "x1", row 1: inf is not a finite number (fill it in or leave the row out)'):
        as_table(np.array([[np.inf]]))
    with says("data frame: two columns share a name (give each its own name)"):
        as_table(pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["a", "a"]))
    with says("array: rows have different lengths: give every row the same number of cells."):
        as_table([[1, 2], [3]])
    with says('training rows: column "x1", row 1: NaN is not a finite number (fill it in or leave the row out)'):
        as_table(torch.tensor([float("nan")]), source="training rows")


# Columns by name


def test_a_table_is_split_into_modelled_columns_and_context():
    table = as_table(pl.DataFrame({"a": [1, 2], "label": [3, 4], "b": [5, 6], "x3": [7, 8]}))
    x, context = table.split("x3, label")
    assert (x.columns, context.columns) == (("a", "b"), ("x3", "label"))
    assert (x.values.tolist(), context.values.tolist()) == ([[1, 5], [2, 6]], [[7, 3], [8, 4]])
    x, context = table.split(())
    assert x.columns == table.columns
    assert context is None
    assert as_table(pl.DataFrame({"a,b": [1], "c": [2]})).split("a,b")[1].columns == ("a,b",)


def test_an_unknown_column_is_answered_with_the_nearest_and_with_those_there_are():
    table = as_table(pl.DataFrame({"Income": [1], "age": [2]}))
    with says('data frame: there is no column "income_"; did you mean "Income"? (columns: "Income", "age")'):
        table.split("income_")
    with says("data frame: every column is context, none is left to fit (name fewer context columns)"):
        table.split("age,Income")
    with pytest.raises(InputError, match=r'\(columns: "x1", .*, "x10" and 490 more\)$'):
        as_table(np.zeros((1, 500))).select("q")


def test_a_schema_survives_json_and_refuses_anything_else():
    schema = Schema(("a", "b", "c"), ("b",))
    assert Schema.from_dict(schema.to_dict()) == schema
    for stored in (
        None,
        {"columns": ["a"]},
        {"columns": "ab", "context": []},
        {"columns": ["a", 1], "context": []},
        {"columns": ["a", "a"], "context": []},
        {"columns": [], "context": []},
        {"columns": ["a"], "context": ["a"]},
        {"columns": ["a"], "context": ["b"]},
    ):
        with pytest.raises(InputError, match="^a column schema holds"):
            Schema.from_dict(stored)


# What is refused before fitting


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"a": [1]}, "1 row cannot show a density (give 3 or more)"),
        ({"a": [1, 2]}, "2 rows cannot show a density (give 3 or more)"),
        (
            {"a": [1, 2, 3], "c": [0.5] * 3},
            'column "c" is constant (every row is 0.5): a constant has no density (leave it out)',
        ),
        (
            {"a": [0, 0, 0], "b": [1, 2, 3], "c": [1e30] * 3},
            'columns "a", "c" are constant: a constant has no density (leave them out)',
        ),
        (
            {"a": [1, 0.0, 3], "b": [1, 2, 3], "c": [1, -0.0, 3]},
            'columns "a" and "c" are identical in every row: their joint density is infinite (leave one of them out)',
        ),
    ],
)
def test_what_has_no_density_is_refused_before_fitting(frame, message):
    table = as_table(pl.DataFrame(frame, strict=False))
    with says(f"data frame: {message}"):
        check_for_fitting(table)


# What must work


def numbers(num_rows, num_columns, seed=0):
    return np.random.default_rng(seed).normal(size=(num_rows, num_columns))


@pytest.mark.parametrize("num_columns", [1, 500])
def test_one_column_and_five_hundred_are_read_and_pass(written, num_columns):
    x = numbers(200, num_columns)
    names = [f"c{i}" for i in range(num_columns)]
    written("t.csv", pl.DataFrame(x, schema=names).write_csv())
    table = read_table("t.csv")
    assert table.columns == tuple(names)
    np.testing.assert_array_equal(table.values, x)
    check_for_fitting(table)
    assert column_warnings(table) == []


def test_outliers_and_extreme_scales_pass_without_a_warning():
    x = numbers(2000, 4) * [1e-20, 1e20, 1.0, 1.0]
    x[7, 2] = 1e30
    x[7, 3] = -1e30
    table = as_table(x)
    check_for_fitting(table)
    assert column_warnings(table) == []
    np.testing.assert_array_equal(table.values, x)


def test_a_hundred_thousand_duplicate_rows_in_a_million_pass():
    x = numbers(1_000_000, 2)
    x[-100_000:] = x[:100_000]
    table = as_table(x)
    check_for_fitting(table)
    assert column_warnings(table) == []


def test_one_row_repeated_very_often_is_warned_about():
    x = numbers(1_000_000, 2)
    x[::10] = [0.25, 3.0]
    warnings = column_warnings(as_table(x))
    assert len(warnings) == 1
    assert re.fullmatch(
        r'one value is very frequent in "x1" \(0.25 in 10% of the rows\), "x2" \(3 in 10% of the rows\): the density'
        r" there reflects rounding, not a smooth law",
        warnings[0],
    )


def test_columns_with_few_distinct_values_are_warned_about_unless_they_are_context():
    x = numbers(5000, 3)
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 2] = x[:, 2] > 0
    table = as_table(pl.DataFrame(x, schema=["a", "b", "label"]))
    check_for_fitting(table)
    rounded = len(np.unique(x[:, 1]))
    ending = ": the density there reflects rounding, not a smooth law (leave them out, or use them as context)"
    assert column_warnings(table) == [f'few distinct values in "b" ({rounded}), "label" (2){ending}']
    assert column_warnings(table, context=["label"]) == [f'few distinct values in "b" ({rounded}){ending}']


@pytest.mark.parametrize(("rows", "distinct", "few"), [(210, 20, True), (210, 21, False), (420, 21, True)])
def test_twenty_values_are_few_and_so_is_one_in_twenty_rows(rows, distinct, few):
    warnings = column_warnings(as_table(np.arange(float(rows))[:, None] % distinct))
    assert bool(warnings) == few
    assert not few or warnings[0].startswith(f'few distinct values in "x1" ({distinct})')


@pytest.mark.parametrize(("repeats", "warned"), [(50, True), (49, False)])
def test_a_value_in_five_of_a_hundred_rows_is_very_frequent(repeats, warned):
    x = numbers(1000, 1)
    x[:repeats] = 0.25
    warnings = column_warnings(as_table(x))
    assert bool(warnings) == warned
    assert not warned or 'very frequent in "x1" (0.25 in 5% of the rows)' in warnings[0]


def test_numbers_of_full_precision_are_not_called_few():
    assert column_warnings(as_table(numbers(3, 1))) == []
    assert column_warnings(as_table(numbers(30, 1))) == []


@pytest.mark.parametrize("slope", [3.0, -1e-20, 1e20])
@pytest.mark.parametrize("outlier", [False, True])
def test_near_collinear_columns_are_warned_about(slope, outlier):
    x = numbers(3000, 3)
    x[:, 2] = slope * (x[:, 0] + 5 + 1e-4 * x[:, 1])
    if outlier:
        x[5, 0], x[6, 2] = 1e30, -1e30
    table = as_table(pl.DataFrame(x, schema=["a", "b", "c"]))
    check_for_fitting(table)
    assert column_warnings(table) == [
        'nearly a straight line between "a" and "c" (|r| > 1 - 1e-06): the density across the line reflects rounding'
        " (leave one of each pair out)"
    ]
    assert column_warnings(table, context=["a"])
    assert column_warnings(table, context=["a", "c"]) == []


def test_the_collinearity_warning_begins_where_it_says():
    """r = 1 / sqrt(1 + noise^2), so 1 - r is about noise^2 / 2."""
    x = numbers(20_000, 2)
    for noise, warned in ((1.3e-3, True), (1.5e-3, False)):
        table = as_table(np.column_stack([x[:, 0], x[:, 0] + noise * x[:, 1]]))
        assert bool(column_warnings(table)) == warned


def test_an_outlier_shared_by_two_columns_makes_no_line():
    x = numbers(1000, 2)
    x[3] = 1e30
    assert column_warnings(as_table(x)) == []


def test_collinearity_is_seen_in_columns_mostly_of_one_value():
    x = np.where(numbers(1000, 1) > 2, numbers(1000, 1, seed=1), 0.0)
    warnings = column_warnings(as_table(np.column_stack([x, 2 * x, numbers(1000, 1, seed=2)])))
    assert any(warning.startswith('nearly a straight line between "x1" and "x2"') for warning in warnings)


@pytest.mark.parametrize("outlier", [False, True])
def test_a_total_among_its_parts_is_warned_about(outlier):
    x = numbers(1000, 5) * [1.0, 1e-20, 1.0, 1e20, 1.0]
    x[:, 3] = 1e20 * (x[:, 0] + 2 * x[:, 2] + 1e-4 * x[:, 4])
    x[5, 0] = 1e30 if outlier else 0.0
    table = as_table(pl.DataFrame(x, schema=["a", "b", "c", "total", "d"]))
    assert column_warnings(table) == [
        'nearly a weighted sum of one another are "a", "c", "total": the density across the sum reflects rounding'
        " (leave one of them out)"
    ]
    assert column_warnings(table, context=["a", "c", "total"]) == []


def test_a_column_constant_in_the_rows_looked_at_hides_no_other_warning():
    x = np.column_stack([numbers(1000, 2), np.ones(1000)])
    few, line = column_warnings(as_table(np.column_stack([x, 3 * x[:, 0]])))
    assert few.startswith('few distinct values in "x3" (1)')
    assert line.startswith('nearly a straight line between "x1" and "x4"')
    (few, total) = column_warnings(as_table(np.column_stack([x, x[:, 0] + x[:, 1]])))
    assert total.startswith('nearly a weighted sum of one another are "x1", "x2", "x4":')


def test_many_warnings_are_summed_up():
    x = numbers(1000, 1) + 1e-6 * numbers(1000, 30)
    (warning,) = column_warnings(as_table(x))
    assert " and 430 more (|r|" in warning


# Writing


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_is_written_is_read_again(written, suffix):
    x = numbers(50, 3) * [1e-20, 1.0, 1e30]
    write_table(f"t{suffix}", ["a", "file", "ü, x"], x)
    table = read_table(f"t{suffix}")
    assert table.columns == (("x1", "x2", "x3") if suffix == ".npy" else ("a", "file", "ü, x"))
    np.testing.assert_array_equal(table.values, x)
    assert os.listdir() == [f"t{suffix}"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".arrow"])
def test_a_column_is_appended_to_the_file_as_it_was(written, suffix):
    frame = pl.DataFrame({"id": ["007", "x y"], "b": [2, 3], "a": [0.5, 1.5]})
    table = read_table(written(f"t{suffix}", encoded(suffix, frame)), columns="a,b")
    write_table(f"out{suffix}", ["log_prob"], np.array([-1.25, -2.5]), like=table)
    expected = frame.with_columns(log_prob=pl.Series([-1.25, -2.5]))
    read = {".csv": pl.read_csv, ".csv.gz": pl.read_csv, ".parquet": pl.read_parquet, ".arrow": pl.read_ipc}[suffix]
    written_again = read(f"out{suffix}")
    assert written_again.columns == ["id", "b", "a", "log_prob"]
    assert written_again.equals(expected)


def test_csv_cells_and_delimiter_are_kept_as_they_were(written):
    table = read_table(written("t.csv", "id;a\n007;1.50\n008;2\n"))
    write_table("out.csv", ["log_prob"], np.array([0.1, -1e-20]), like=table)
    with open("out.csv") as file:
        assert file.read() == "id;a;log_prob\n007;1.50;0.1\n008;2;-1e-20\n"


def test_csv_becomes_numbers_in_a_typed_format_and_other_columns_stay_text(written):
    table = read_table(written("t.csv", "id,a\n007,1.50\n008,2\n"), columns="a")
    write_table("out.parquet", ["log_prob"], np.array([0.5, 1.5]), like=table)
    assert pl.read_parquet("out.parquet").to_dict(as_series=False) == {
        "id": ["007", "008"],
        "a": [1.5, 2.0],
        "log_prob": [0.5, 1.5],
    }
    with says('out.npy: an NPY file holds numbers only, column "id" holds others (write .csv or .parquet)'):
        write_table("out.npy", ["log_prob"], np.array([0.5, 1.5]), like=table)
    write_table("out.npz", ["log_prob"], np.array([0.5, 1.5]), like=table)
    assert np.load("out.npz")["id"].tolist() == ["007", "008"]


def test_a_column_is_appended_to_an_array(written):
    table = read_table(written("t.npy", saved(np.save, np.array(ROWS))), columns="x2")
    write_table("out.npy", ["log_prob"], np.zeros(3), like=table)
    np.testing.assert_array_equal(np.load("out.npy"), np.column_stack([ROWS, np.zeros(3)]))
    x, _ = table.split(())
    write_table("part.csv", ["log_prob"], np.zeros(3), like=x)
    assert read_table("part.csv").columns == ("x2", "log_prob")


def test_a_column_that_is_there_already_is_not_appended(written):
    table = read_table(written("t.csv", "a,log_prob\n1,2\n"))
    with says('out.csv: columns 2 and 3 are both named "log_prob" (give each its own name)'):
        write_table("out.csv", ["log_prob"], np.zeros(1), like=table)
    assert os.listdir() == ["t.csv"]


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(written, suffix):
    name = written(f"t{suffix}", "old")
    with (
        file_size_limit(20_000),
        pytest.raises(RunError, match=rf"^{re.escape(name)}: writing failed: .*\(nothing was written\)$"),
    ):
        write_table(name, ["a", "b"], numbers(20_000, 2))
    assert os.listdir() == [name]
    with open(name) as file:
        assert file.read() == "old"


def test_no_space_left_is_named(written, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"^t\.csv: writing failed: No space left on device \(nothing was written\)$"):
        write_table("t.csv", ["a"], np.ones((3, 1)))
    assert os.listdir() == []


def test_an_interrupted_write_leaves_nothing(written, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_table("t.csv", ["a"], np.ones((3, 1)))
    assert os.listdir() == []


def test_places_that_cannot_be_written_are_refused(written, tmp_path):
    x = np.ones((3, 1))
    with pytest.raises(
        InputError, match=r"^no/t\.csv: cannot be written: No such file or directory \(check the folder .*no\)$"
    ):
        write_table("no/t.csv", ["a"], x)
    os.mkdir("folder.csv")
    with says("folder.csv: is a folder, not a file (name a file in it)"):
        write_table("folder.csv", ["a"], x)
    os.chmod(tmp_path, 0o555)
    with (
        as_nobody(),
        pytest.raises(InputError, match=r"^t\.csv: cannot be written: Permission denied \(check the folder .*\)$"),
    ):
        write_table("t.csv", ["a"], x)
    with pytest.raises(InputError, match=r'^t\.xlsx: files of type "\.xlsx" are not tables'):
        write_table("t.xlsx", ["a"], x)


def test_a_link_is_written_through(written):
    written("t.csv", "old")
    os.symlink("t.csv", "link.csv")
    write_table("link.csv", ["a"], np.ones((3, 1)))
    assert os.path.islink("link.csv")
    assert read_table("t.csv").values.tolist() == [[1.0]] * 3


def test_importing_tables_loads_neither_torch_nor_polars():
    code = "import sys, pushforward.tables; print(sorted({'torch', 'polars', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- headers of numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("num_columns", [1, 2, 3, 4, 12])
def test_a_header_that_counts_the_columns_is_no_row_of_data(written, start, num_columns):
    values = np.random.default_rng(0).normal(size=(30, num_columns))
    names = [str(k) for k in range(start, start + num_columns)]
    table = read_table(written("t.csv", pl.DataFrame(values, schema=names).write_csv().encode()))
    assert table.columns == tuple(names)
    np.testing.assert_allclose(table.values, values)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b"0,1\n1,0\n1,1\n", 3),  # whole numbers alone: a row of data
        (b"1,2,3\n4,5,6\n", 2),
        (b"0,1,2,3\n5,5,5,5\n6,7,8,9\n", 2),  # four in order are no chance
        (b"0,2,4,6\n0.5,1,1,1\n", 2),
        (b"0.0,1.0\n0.5,1.5\n", 2),
        (b"1\n2\n3\n", 3),
        (b"2,3,4\n0.1,0.2,0.3\n", 2),
    ],
)
def test_other_first_rows_of_numbers_are_data(written, text, rows):
    assert len(read_table(written("t.csv", text)).values) == rows


@pytest.mark.parametrize(
    ("rows", "validation"), [(100, 10), (9_990, 999), (19_020, 1_000), (40_000, 2_000), (400_000, 10_000)]
)
def test_validation_has_no_more_rows_than_tell_weights_apart(rows, validation):
    table = as_table(np.random.default_rng(0).normal(size=(rows, 2)))
    assert len(split_rows(table, None, seed=0).validation) == validation
