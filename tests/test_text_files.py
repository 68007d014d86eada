"""Tables as text, as programs and people write them: what separates cells, decimal commas, comments, row numbers."""

import io
import itertools
import re

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import pushforward as pf
from pushforward.errors import InputError
from pushforward.tables import as_table, read_table, write_table
from pushforward.tables.columns import as_text, names_in
from pushforward.tables.for_fitting import table_of_numbers

X = np.random.default_rng(0).normal(size=(30, 3)).round(4)


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(content, name="t.csv", **options):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(name, **options)

    return read


def text(x, delimiter=",", header="a,b,c", decimal="."):
    """The rows as text."""
    lines = [delimiter.join(f"{cell:.4f}".replace(".", decimal) for cell in row) for row in x]
    return "\n".join([*([delimiter.join(header.split(","))] if header else []), *lines]) + "\n"


def savetxt(**options):
    buffer = io.BytesIO()
    np.savetxt(buffer, X, fmt="%.4f", **options)
    return buffer.getvalue()


# ---- what separates the cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delimiter", "decimal"), [(",", "."), *itertools.product([";", "\t", "|", " ", "   "], [".", ","])]
)
@pytest.mark.parametrize("header", ["a,b,c", ""])
@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.dat"])
def test_any_delimiter_with_either_decimal_mark_gives_the_same_numbers(read, delimiter, decimal, header, name):
    table = read(text(X, delimiter, header, decimal), name)
    np.testing.assert_array_equal(table.values, X)
    assert table.columns == (("a", "b", "c") if header else ("x1", "x2", "x3"))
    assert [("decimal commas" in note) for note in table.notes] == [True] * (decimal == ",")


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, ("x1", "x2", "x3")),
        ({"header": "a b c"}, ("a", "b", "c")),
        ({"header": "made today\na b c"}, ("a", "b", "c")),
        ({"header": "a,b,c", "delimiter": ","}, ("a", "b", "c")),
        ({"header": "a;b;c", "delimiter": ";", "comments": "#"}, ("a", "b", "c")),
        ({"header": "written by a program"}, ("x1", "x2", "x3")),
        ({"header": "1 2 3"}, ("x1", "x2", "x3")),
    ],
)
def test_what_numpy_savetxt_writes_is_read(read, options, columns):
    table = read(savetxt(**options), "t.txt")
    np.testing.assert_array_equal(table.values, X)
    assert table.columns == columns


def test_aligned_columns_and_blanks_at_both_ends_are_read(read):
    table = read("   a      b\n   1.5  -2\n 100.25  3   \n", "t.dat")
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.values, [[1.5, -2.0], [100.25, 3.0]])


def test_places_are_lines_of_the_file_below_comments_too(read):
    with pytest.raises(InputError, match=r'column "b", row 2 \(line 5\): "x" is not a number'):
        read("# one\n# two\na b\n1 2\n3 x\n5 6\n", "t.txt")


def test_a_single_column_of_words_with_blanks_stays_one_column(read):
    with pytest.raises(InputError, match=r'column "my name" is text: row 1 \(line 2\)'):
        read("my name\nAnn Lee\nBo Li\n")


def test_bars_inside_text_separate_nothing(read):
    assert read("a|b,c\n1,2\n3,4\n").columns == ("a|b", "c")


@pytest.mark.parametrize("mark", [", ", ",  ", " , "])
def test_blanks_beside_commas_separate_nothing(read, mark):
    content = "\n".join([mark.join("abc"), *(mark.join(f"{cell:.3f}" for cell in row) for row in X)])
    table = read(content)
    assert (table.columns, table.notes) == (("a", "b", "c"), ())
    np.testing.assert_allclose(table.values, X, atol=0.001)


def test_a_first_line_may_name_the_delimiter(read):
    table = read("sep=;\na;b\n1;2\n3;4\n")
    assert (table.columns, table.values.tolist()) == (("a", "b"), [[1, 2], [3, 4]])
    with pytest.raises(InputError, match=r"row 2 \(line 4\)"):
        read("sep=;\na;b\n1;2\n3;?\n5;6\n")


def test_delimiters_at_the_end_of_all_lines_make_no_column(read):
    assert read("a,b,\n1,2,\n3,4,\n").columns == ("a", "b")
    with pytest.raises(InputError, match="column 3 has no name"):
        read("a,b,\n1,2,\n3,4,5\n")


def test_a_short_line_among_blanks_is_named(read):
    with pytest.raises(InputError, match="line 3 has 2 cells, line 1 has 3"):
        read("a b c\n1 2 3\n1 2\n3 4 5\n", "t.txt")


# ---- how numbers are written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ('a,b\n"1,234.5",2\n"12,345",3\n', [[1234.5, 2], [12345, 3]]),
        ('a,b\n"1,234,567",2\n4,3\n', [[1234567, 2], [4, 3]]),
        ('a,b\n"1,5",2\n"2,25",3\n', [[1.5, 2], [2.25, 3]]),
        ("a;b\n1.234,5;2\n7,25;3\n", [[1234.5, 2], [7.25, 3]]),
        ("a;b\n1.234.567,5;1.234\n7,25;3\n", [[1234567.5, 1234], [7.25, 3]]),
        ("a;b\n1,234;2\n2,500;3\n", [[1.234, 2], [2.5, 3]]),
        ('a\tb\n"1,234"\t2\n"2,500"\t3\n', [[1234, 2], [2500, 3]]),
        ("a;b\n1 234,5;2\n7,5;3\n", [[1234.5, 2], [7.5, 3]]),
        ("a;b\n1\u00a0234,5;2\n7,5;3\n", [[1234.5, 2], [7.5, 3]]),
        ("a;b\n1'234.5;2\n7.5;3\n", [[1234.5, 2], [7.5, 3]]),
        ('a,b\n"0,125",2\n"1,250",3\n', [[0.125, 2], [1.25, 3]]),  # no group of thousands begins with 0
        ("a\tb\n-0,125\t2\n1,250\t3\n", [[-0.125, 2], [1.25, 3]]),
        ("a;b\n-1,5e3;2\n+,5;3\n", [[-1500, 2], [0.5, 3]]),
    ],
)
def test_decimal_commas_and_groups_of_thousands_are_read_and_said(read, content, values):
    table = read(content)
    np.testing.assert_array_equal(table.values, values)
    (note,) = table.notes
    assert "numbers are taken to have" in note


def test_plain_numbers_need_no_note(read):
    assert read("a;b\n1.5;2\n2.5;3\n").notes == ()
    assert read("a,b\n1.5,2\n2.5,3\n").notes == ()


def test_cells_that_contradict_one_another_are_refused(read):
    with pytest.raises(InputError, match='"a" is text: row 1 \\(line 2\\) of "a" holds "1,5"'):
        read('a,b\n"1,5",2\n"1,234.5",3\n')


def test_a_point_among_decimal_commas_is_refused_and_said(read):
    with pytest.raises(InputError, match=r'column "a", row 2 \(line 3\): "2.5" has a decimal point, where'):
        read("a;b\n1,5;2\n2.5;3\n")


def test_scores_are_appended_in_the_style_of_the_file(read, tmp_path):
    table = read("a;b\n1,5;2\n2,5;3\n")
    write_table("s.csv", ["log_prob"], np.array([[-1.25], [0.5]]), like=table)
    assert (tmp_path / "s.csv").read_text() == "a;b;log_prob\n1,5;2;-1,25\n2,5;3;0,5\n"


# ---- encodings -------------------------------------------------------------------------------------------------------


def test_text_of_a_spreadsheet_in_utf_16_is_read(read):
    table = read("größe\tb\r\n1\t2\r\n3\t4\r\n".encode("utf-16"), "t.txt")
    assert (table.columns, table.notes) == (("größe", "b"), ())


def test_text_in_windows_1252_is_read_and_said(read):
    table = read("größe;°C\n1;2\n3;4\n".encode("cp1252"))
    assert table.columns == ("größe", "°C")
    assert table.notes == ("line 1 is not UTF-8: the text is taken to be in Windows-1252",)


# ---- columns that count the rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "ID", "row", "__index_level_0__"])
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_the_rows_is_left_out_and_said(read, name, start):
    rows = np.column_stack([np.arange(start, start + len(X)), X])
    content = text(rows, header=f"{name},a,b,c").replace(".0000,", ",", len(X))
    read(content)
    table = table_of_numbers("t.csv")
    assert table.columns == ("a", "b", "c")
    np.testing.assert_array_equal(table.values, X)
    (note,) = table.notes
    assert re.match('column 1, ".*", counts the rows and is left out', note)
    kept = "Unnamed: 0" if name == "" else name
    assert table_of_numbers("t.csv", columns=[kept, "a"]).columns == (kept, "a")
    assert table_of_numbers("t.csv", context=kept).columns == (kept, "a", "b", "c")
    assert read_table("t.csv", columns=["a", "c"]).columns == ("a", "c")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_row_labels_that_nobody_named_are_left_out_in_any_order(read, name):
    labels = np.random.default_rng(0).permutation(3 * len(X))[: len(X)]
    read("\n".join([f"{name},a,b,c", *(f"{k}," + ",".join(map(str, row)) for k, row in zip(labels, X, strict=True))]))
    table = table_of_numbers("t.csv")
    assert table.columns == ("a", "b", "c")
    assert "holds row numbers, each once, and is left out" in table.notes[0]


@pytest.mark.parametrize("labels", [np.arange(30) // 2, np.arange(30) + 0.5, np.arange(30) - 3])
def test_an_unnamed_column_of_anything_but_row_numbers_stays(labels):
    assert len(table_of_numbers(pl.DataFrame({"Unnamed: 0": labels, "a": X[:, 0]})).columns) == 2


def test_the_index_that_pandas_writes_behind_the_columns_of_a_parquet_file_is_left_out():
    frame = pl.DataFrame({"a": X[:, 0], "__index_level_0__": np.arange(30)[::-1]})
    assert table_of_numbers(frame).columns == ("a",)
    assert table_of_numbers(frame, context="__index_level_0__").columns == ("a", "__index_level_0__")
    assert table_of_numbers(frame.rename({"__index_level_0__": "index"})).columns == ("a", "index")


@pytest.mark.parametrize(
    "first",
    [
        ("id", np.arange(len(X))[::-1]),  # counts down
        ("id", np.arange(len(X)) + 2),
        ("id", np.arange(len(X)) * 2),
        ("age", np.arange(len(X))),
    ],
)
def test_a_first_column_that_counts_otherwise_or_has_a_name_of_its_own_stays(first):
    name, values = first
    frame = pl.DataFrame({name: values, "a": X[:, 0]})
    assert table_of_numbers(frame).columns == (name, "a")


def test_a_frame_with_a_column_of_row_numbers_is_fitted_without_it():
    frame = pl.DataFrame({"id": range(1, 61), "a": np.random.default_rng(1).normal(size=60)})
    with pytest.warns(UserWarning, match='column 1, "id", counts the rows and is left out'):
        model = pf.TableModel.fit(frame, recipe="nice", num_steps=2, progress=False)
    assert model.schema.columns == ("a",)
    assert model.log_prob(frame).shape == (60,)


def test_arrays_have_no_column_of_row_numbers():
    assert table_of_numbers(np.column_stack([np.arange(30), X])).columns == ("x1", "x2", "x3", "x4")


def test_row_numbers_beside_a_header_of_numbers_are_told_from_data(read):
    lines = [f"{row}," + ",".join(map(str, cells)) for row, cells in enumerate(X.tolist())]
    table = read("\n".join([",0,1,2", *lines]) + "\n")
    assert table.columns == ("Unnamed: 0", "0", "1", "2")
    assert len(table.values) == len(X)


def test_what_a_first_line_that_counts_was_taken_for_is_said(read):
    assert read("1,2\n4,5\n").notes == ("the first line, 1, 2, is taken for a row, not for names",)
    assert read("0,1\n4.5,5\n").notes == ("the first line, 0, 1, is taken for the names of the columns",)
    assert read("1,3\n4,5\n").notes == read("1\n4\n").notes == read("a,b\n4,5\n").notes == ()


@pytest.mark.parametrize("mark", [",", " ", "\t"])
def test_row_names_of_r_are_read(read, mark):
    lines = [f'"{row}"{mark}' + mark.join(map(str, cells)) for row, cells in enumerate(X.tolist(), 1)]
    read("\n".join([mark.join(['"a"', '"b b"', '"c"']), *lines]) + "\n")
    assert table_of_numbers("t.csv").columns == ("a", "b b", "c")
    np.testing.assert_array_equal(table_of_numbers("t.csv").values, X)


# ---- names and problems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a,b"], ["a,b", "c"], ['say "hi"', "x y"], ["a, b", "c,d"]])
def test_names_written_as_cells_are_taken_apart_again(names):
    assert names_in(as_text(names), ()) == names


def test_columns_are_taken_and_dropped_by_name_and_with_commas_in_quotes():
    frame = pl.DataFrame({"a,b": X[:, 0], "c": X[:, 1], "name": ["x"] * len(X)})
    assert as_table(frame, drop="name").columns == ("a,b", "c")
    assert as_table(frame, columns='"a,b",c').columns == ("a,b", "c")
    assert as_table(frame, drop='"a,b",name').columns == ("c",)
    with pytest.raises(InputError, match='no column "nam"; did you mean "name"'):
        as_table(frame, drop="nam")
    with pytest.raises(InputError, match="every column is dropped"):
        as_table(frame, drop='"a,b",c,name')
    with pytest.raises(InputError, match='"c" cannot be taken and dropped at once'):
        as_table(frame, columns="c", drop="c")


def test_all_problems_of_a_table_come_in_one_error(read):
    rows = ["name,a,b,one,twin,c", *(f"x{k},{k % 7}.5,{k * k},3,{k % 7}.5,{k / 9}" for k in range(20))]
    rows[5] = rows[5].replace(",16,", ",,")
    rows[9] = rows[9].replace(",64,", ",?,")
    read("\n".join(rows) + "\n", columns=["a", "c"])
    with pytest.raises(InputError) as error:
        table_of_numbers("t.csv")
    lines = str(error.value).splitlines()
    assert lines[0] == "t.csv: 4 problems"
    assert lines[1].startswith('  column "name" is text: row 1 (line 2) of "name" holds "x0"')
    assert lines[2].startswith('  column "b", row 5 (line 6): missing value; 1 more cell is not usable either')
    assert lines[3].startswith('  column "one" is constant (every row is 3)')
    assert lines[4].startswith('  columns "a" and "twin" are identical')
    assert error.value.columns == ("name", "b", "one", "twin")
    assert table_of_numbers("t.csv", drop=error.value.columns).columns == ("a", "c")


def test_the_cells_of_many_columns_are_summed_up(read):
    content = "\n".join([",".join(f"c{k}" for k in range(10)), ",".join("1" * 10), ",".join([""] * 10)]) + "\n"
    with pytest.raises(InputError) as error:
        read(content)
    assert len(str(error.value).splitlines()) == 8
    assert '4 cells of "c6", "c7", "c8", "c9" are not usable either' in str(error.value)


def test_categories_that_are_numbers_are_codes_and_refused():
    codes = pa.array([10, 20] * 15).dictionary_encode()
    with pytest.raises(InputError, match='column "k" is text: row 1 of "k" holds "10"'):
        as_table(pa.table({"a": X[:, 0], "k": codes}))
