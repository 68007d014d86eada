"""Cells as they were read: any source, any kind of cell, and nothing refused but what is no table."""

import datetime
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from pushforward.errors import InputError
from pushforward.tables import as_table, read_table, write_table
from pushforward.tables.cells import Cells
from pushforward.tables.data_frames import of_kind
from pushforward.tables.from_anything import read_cells

TEXT = "name,born,height\nAnn,1990-01-02,1.7\nBo,,n/a\nAnn,1985-03-04,1.85\n"
ROWS = [("Ann", "1990-01-02", "1.7"), ("Bo", None, "n/a"), ("Ann", "1985-03-04", "1.85")]


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def zipped(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("t.csv", text)
    return buffer.getvalue()


# ---- every source ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", TEXT),
        ("t.csv", "\ufeff" + TEXT),
        ("t.csv", TEXT.replace(",", ";")),
        ("t.csv", TEXT.replace(",", "|")),
        ("t.tsv", TEXT.replace(",", "\t")),
        ("t.csv", "# of people\n#\n" + TEXT),
        ("t.csv", "# of people\n\n" + TEXT),
        ("t.csv", TEXT.replace("\n", ",\n")),
        ("t.csv", "\n".join('"' + line.replace(",", '","') + '"' for line in TEXT.splitlines())),
        ("t.csv.zip", zipped(TEXT)),
    ],
    ids=["comma", "BOM", "semicolon", "bar", "tab", "comments", "blank line", "trailing", "quotes", "zip"],
)  # fmt: skip
def test_text_of_any_dialect_gives_the_same_cells(write, name, content):
    cells = read_cells(write(name, content))
    assert cells.columns == ("name", "born", "height")
    assert set(cells.frame.dtypes) == {pl.String}
    assert cells.frame.rows() == ROWS
    assert (cells.source, cells.named, cells.kind) == (name, True, "polars")


def test_typed_columns_stay_as_they_are(write):
    frame = pl.DataFrame(
        {"day": [datetime.date(2020, 1, 2), None], "k": ["u", "v"], "l": [[1], [2, 3]], "n": [1, 2], "b": [True, None]}
    ).with_columns(pl.col("k").cast(pl.Categorical))
    frame.write_parquet(write("t.parquet", b""))
    for data in ("t.parquet", frame, frame.lazy()):
        cells = read_cells(data)
        assert cells.frame.dtypes == [pl.Date, pl.Categorical, pl.List(pl.Int64), pl.Int64, pl.Boolean]
        assert cells.frame["n"].to_list() == [1, 2]
        assert (cells.delimiter, cells.style) == (None, None)
    assert read_cells(frame.to_arrow()).kind == "pyarrow"


def test_categories_that_are_numbers_stay_codes(write):
    table = pa.table({"a": [0.5, 1.5], "k": pa.array([10, 20]).dictionary_encode()})
    assert read_cells(table).frame.dtypes == [pl.Float64, pl.Categorical]
    pa.parquet.write_table(table, write("t.parquet", b""))
    assert read_cells("t.parquet").frame["k"].cast(pl.String).to_list() == ["10", "20"]


def test_levels_with_an_order_keep_it(write):
    levels = pa.DictionaryArray.from_arrays(pa.array([2, None, 0]), pa.array(["low", "mid", "high"]), ordered=True)
    pa.parquet.write_table(pa.table({"k": levels}), write("t.parquet", b""))
    for data in ("t.parquet", pl.DataFrame({"k": read_cells("t.parquet").frame["k"]})):
        cells = read_cells(data).frame["k"]
        assert cells.dtype == pl.Enum(["low", "mid", "high"])
        assert cells.to_list() == ["high", None, "low"]


def test_levels_with_an_order_and_periods_of_pandas_are_kept():
    pandas = pytest.importorskip("pandas")
    codes = pandas.Categorical(["high", None, "low"], categories=["low", "mid", "high"], ordered=True)
    months = pandas.period_range("2020-01", periods=3, freq="M")
    cells = read_cells(pandas.DataFrame({"k": codes, "month": months})).frame
    assert cells["month"].to_list() == ["2020-01", "2020-02", "2020-03"]
    assert cells["k"].dtype == pl.Enum(["low", "mid", "high"])
    assert cells["k"].to_list() == ["high", None, "low"]
    assert of_kind("pandas", cells)["k"].dtype == codes.dtype


@pytest.mark.parametrize(
    ("data", "kind", "types"),
    [
        (np.array([[1, 2], [3, 4]], np.int32), "array", [pl.Int64, pl.Int64]),
        (np.array([[1, np.nan]], np.float32), "array", [pl.Float64, pl.Float64]),
        (torch.tensor([True, False]), "tensor", [pl.Boolean]),
        ([[1, 2.5], [3, 4]], "array", [pl.Float64, pl.Float64]),
    ],
    ids=["integers", "floats", "booleans", "lists"],
)
def test_arrays_keep_their_type(data, kind, types):
    cells = read_cells(data)
    assert (cells.kind, cells.frame.dtypes, cells.named) == (kind, types, False)
    assert cells.columns == ("x1", "x2")[: len(types)]


def test_json_lines_and_npz_keep_text_and_gaps(write):
    write("t.jsonl", "\n".join(json.dumps(row) for row in ({"a": 1, "b": "u"}, {"a": None, "b": "v"}, {"b": "w"})))
    assert read_cells("t.jsonl").frame.to_dict(as_series=False) == {"a": [1, None, None], "b": ["u", "v", "w"]}
    np.savez("t.npz", a=np.array([1.5, 2.5]), b=np.array(["u", "v"]))
    assert read_cells("t.npz").frame.rows() == [(1.5, "u"), (2.5, "v")]


def test_cells_and_tables_are_taken_again():
    cells = read_cells(np.ones((2, 2)))
    assert read_cells(cells) is cells
    again = read_cells(as_table(pl.DataFrame({"a": [1.0, 2.0]})))
    assert isinstance(again, Cells)
    assert again.frame.to_dict(as_series=False) == {"a": [1.0, 2.0]}


def test_a_column_of_mixed_objects_is_text():
    pandas = pytest.importorskip("pandas")
    cells = read_cells(pandas.DataFrame({"a": [1, "u", 2.5], "b": [1, 2, 3]}))
    assert cells.frame["a"].to_list() == ["1", "u", "2.5"]


# ---- several files ---------------------------------------------------------------------------------------------------


def test_several_files_are_one_table_that_knows_where_a_row_was(write):
    write("a.csv", "x,y\n1,u\n2,v\n")
    write("b.csv", "y,x\nw,3\nu,?\n")
    cells = read_cells("?.csv")
    assert cells.frame.rows() == [("1", "u"), ("2", "v"), ("3", "w"), ("?", "u")]
    assert [cells.place(row) for row in (2, 3, 4)] == [
        "row 2 (a.csv, row 2 (line 3))",
        "row 3 (b.csv, row 1 (line 2))",
        "row 4 (b.csv, row 2 (line 3))",
    ]
    with pytest.raises(InputError, match=r'^\?\.csv: column "x", row 4 \(b\.csv, row 2 \(line 3\)\): "\?" is not a'):
        as_table("?.csv", columns="x")


def test_files_that_differ_in_columns_share_those_that_are_needed(write):
    write("a.csv", "x,y\n1,u\n")
    write("b.csv", "z,x\n5,2\n")
    assert read_cells("?.csv", needed=["x"]).frame.rows() == [("1",), ("2",)]
    assert as_table("?.csv", columns="x").values.tolist() == [[1.0], [2.0]]
    with pytest.raises(InputError, match='^b.csv: there is no column "y", which a.csv has'):
        read_cells("?.csv")
    with pytest.raises(InputError, match='^b.csv: there is no column "y" '):
        read_cells("?.csv", needed="y")


def test_parts_of_parquet_may_be_empty_or_of_other_numbers_but_not_text_in_one(write):
    Path("d").mkdir()
    for name, values in (("a", [1, 2]), ("b", [0.5]), ("c", [])):
        pl.DataFrame({"x": values}, schema={"x": pl.Float64 if name == "b" else pl.Int64}).write_parquet(
            write(f"d/{name}.parquet", b"")
        )
    assert read_cells("d").frame["x"].to_list() == [1.0, 2.0, 0.5]
    pl.DataFrame({"x": ["u"]}).write_parquet(write("d/e.parquet", b""))
    with pytest.raises(InputError, match='^d/e.parquet: column "x" is of type String, in d/a.parquet of Int64 '):
        read_cells("d")


def test_the_style_of_numbers_is_that_of_all_files(write):
    write("a.csv", "x;y\n1,5;2\n")
    write("b.csv", "x;y\n2.500;3\n")
    table = read_table("?.csv")
    assert table.values.tolist() == [[1.5, 2.0], [2500.0, 3.0]]
    assert table.decimal_comma


def test_a_folder_that_may_not_be_opened_is_refused(write, monkeypatch):
    Path("d").mkdir()

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    for read in (read_table, read_cells):
        with pytest.raises(InputError, match="^d: may not be read"):
            read("d")


# ---- dialects of text ------------------------------------------------------------------------------------------------


def test_a_column_of_words_has_no_say_in_how_numbers_are_written(write):
    cells = read_cells(write("t.csv", 'id,size\n"1,5 mm",1.5\n"2,25",2.5\nx,3.5\ny,1.0\nz,2\n'))
    assert cells.style is None
    cells = read_cells(write("t.csv", "id;size\nu;1,5\nv;2,5\n"))
    assert cells.style.decimal_comma


def test_row_names_that_are_words_are_read(write):
    write("t.csv", '"","mpg","cyl"\n"Mazda RX4",21,6\n"Datsun 710",22.8,4\n')
    assert read_cells("t.csv").columns == ("Unnamed: 0", "mpg", "cyl")
    with pytest.raises(InputError, match="column 1 has no name"):
        read_cells(write("t.csv", ",a\nu,1\nu,2\n"))


def test_rows_that_end_in_a_delimiter_below_a_header_that_does_not(write):
    assert read_cells(write("t.csv", "a,b\n1,2,\n3,4,\n5,6,\n")).frame.rows() == [("1", "2"), ("3", "4"), ("5", "6")]


def test_a_header_that_ends_in_a_delimiter_above_rows_that_do_not(write):
    assert read_cells(write("t.csv", "a,b,\n1,2\n3,4\n5,6\n")).frame.rows() == [("1", "2"), ("3", "4"), ("5", "6")]


def test_columns_without_name_and_cells_are_none(write):
    cells = read_cells(write("t.csv", "a,,b,,\n1,,2,,\n3,,4,,\n"))
    assert (cells.columns, cells.frame.rows()) == (("a", "b"), [("1", "2"), ("3", "4")])


def test_comments_between_and_below_the_rows_are_passed_over(write):
    write("t.csv", "# top\na,b\n# metres and grams, of 2020, all\n1,2\n#3\n3,x\n# end\n")
    cells = read_cells("t.csv")
    assert cells.frame.rows() == [("1", "2"), ("3", "x")]
    assert cells.place(2) == "row 2 (line 6)"
    write("t.csv", "a,b\n#1,2\n#2,3\n")
    assert read_cells("t.csv").frame.rows() == [("#1", "2"), ("#2", "3")]
    write("t.csv", 'a,b\n1,"x\n# no comment\ny"\n2,3\n')
    assert read_cells("t.csv").frame.row(0) == ("1", "x\n# no comment\ny")


def test_blanks_between_words_and_numbers(write):
    write("t.txt", '"len" "supp"\n"1" 4.2 "VC"\n"2" 11.5 "OJ x"\n"3" 7.3 "VC"\n')
    assert read_cells("t.txt").frame.rows() == [("1", "4.2", "VC"), ("2", "11.5", "OJ x"), ("3", "7.3", "VC")]
    write("t.dat", '18.0   8   307.0  70\t"chevrolet chevelle"\n15.0   8   350.0  71\t"buick 320"\n')
    assert read_cells("t.dat").frame.width == 5


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n6.2,2.9,Iris-virginica\n", False),
        ("39, State-gov, 77516\n50, Private, 83311\n38, State-gov, 215646\n", False),
        ("p,x,s\ne,x,s\np,b,y\ne,x,s\n", False),
        ("sex,class\nm,1\nf,2\n", True),
        ("name,town\nAnn,Oslo\nBo,Rome\n", True),
        ("town,2020\nOslo,5\nRome,6\n", True),
        ("town,2019,2020\nOslo,1.5,2.5\nRome,3.5,4.5\n", True),
    ],
)
def test_a_first_row_whose_words_stand_below_again_is_no_header(write, content, named):
    cells = read_cells(write("t.csv", content))
    assert cells.named is named
    assert cells.frame.height == content.count("\n") - named
    assert bool([note for note in cells.notes if "not for names" in note]) is not named


def test_latin_1_is_read_and_said(write):
    cells = read_cells(write("t.csv", "ort,größe\nKöln,1\nBonn,2\n".encode("latin-1")))
    assert cells.frame["ort"].to_list() == ["Köln", "Bonn"]
    assert cells.notes == ("line 1 is not UTF-8: the text is taken to be in Windows-1252",)


# ---- what is no table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 cell, line 1 has 2"),
        ("a,b,a\n1,2,x\n", 'columns 1 and 3 are both named "a"'),
        ("a,b\n", "has a header but no rows"),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_table_is_refused(write, content, message):
    with pytest.raises(InputError, match=message):
        read_cells(write("t.csv", content))


def test_scores_go_behind_the_numbers_of_an_array(write):
    write_table("s.npy", ["log_prob"], np.array([[0.5], [1.5]]), like=as_table(np.array([[1, 2], [3, 4]])))
    assert np.load("s.npy").tolist() == [[1, 2, 0.5], [3, 4, 1.5]]
