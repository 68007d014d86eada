"""What a column is read as, from its cells: words, numbers as people write them, dates, truth values, missing cells."""

import datetime
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pushforward.errors import InputError
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.column_kind import Kind
from pushforward.tables.column_kinds import read_columns, said_of, said_of_left_out
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.fitted_columns import FittedColumn, type_of
from pushforward.tables.for_fitting import for_fitting
from pushforward.tables.from_anything import read_cells
from pushforward.tables.kinds import kind_of
from pushforward.tables.rows_of_model import values_of
from pushforward.tables.text_kinds import written


def read(*cells, **options):
    kind, values = kind_of(pl.Series("c", cells, strict=False), **options)
    return kind, values


@pytest.mark.parametrize(
    ("cells", "kind", "form", "first"),
    [
        (["Jan 1 2000", "Feb 12 2001"], "date", "%b %-d %Y", datetime.date(2000, 1, 1)),
        (["2020-01-31", "2021-01-01"], "date", "%Y-%m-%d", datetime.date(2020, 1, 31)),
        (["20200131", "20210101", "20210102", "20210103"], "date", "%Y%m%d", datetime.date(2020, 1, 31)),
        (["13/02/2000", "03/04/2001"], "date", "%d/%m/%Y", datetime.date(2000, 2, 13)),
        (["1/13/2000", "2/3/2001"], "date", "%-m/%-d/%Y", datetime.date(2000, 1, 13)),
        (["1.2.2000", "28.12.1999"], "date", "%-d.%-m.%Y", datetime.date(2000, 2, 1)),
        (
            ["2000-01-01T10:00:00", "2000-01-01T11:30:00"],
            "moment",
            "%Y-%m-%dT%H:%M:%S",
            datetime.datetime(2000, 1, 1, 10),
        ),
        (["2000-01-01 10:00", "2000-01-02 11:30"], "moment", "%Y-%m-%d %H:%M", datetime.datetime(2000, 1, 1, 10)),
        (["9:05", "10:30"], "time", "%-H:%M", datetime.time(9, 5)),
        (["TRUE", "FALSE"], "boolean", "TRUE/FALSE", True),
        (["yes", "no"], "boolean", "yes/no", True),
        (["Y", "?"], "boolean", "Y/N", True),
        (["1", "0"], "boolean", "1/0", True),
        (["1.5", "2"], "real", "", 1.5),
        (["1.0", "2.0", "3.0"], "integer", "", 1),
        (["1.0", "2.0"], "category", "{}", "1"),
        (["01234", "99999"], "category", "", "01234"),
        (["N12", "N13"], "category", "", "N12"),
        (["oak", "elm"], "category", "", "oak"),
    ],
)
def test_words_are_read_as_what_they_are_and_written_again_as_they_were(cells, kind, form, first):
    found, values = read(*cells)
    assert (found.name, found.form) == (kind, form)
    assert values[0] == first
    again = written(values, found.name, found.form)
    if form and kind != "category":
        assert again.to_list() == [cell if cell != "?" else None for cell in cells]


@pytest.mark.parametrize("word", ["", "NA", "n/a", "?", "NULL", "NaN", "-", "None", " ", "#N/A", "missing"])
def test_words_for_no_value_are_missing_cells(word):
    kind, values = read("1.5", word, "2.5")
    assert kind.name == "real"
    assert values.to_list() == [1.5, None, 2.5]
    assert read("oak", word, "elm")[1].null_count() == 1


def test_other_words_and_numbers_for_no_value_are_given():
    assert read("-999", "3", "4", "5", missing=["-999"])[1].to_list() == [None, 3, 4, 5]
    assert read(-999, 3, 4, 5, missing=["-999"])[1].to_list() == [None, 3, 4, 5]
    assert read(float("inf"), 3.5, 4.5, missing=["inf"])[1].to_list() == [None, 3.5, 4.5]
    assert read(-999.0, 3.5, float("nan"), missing=["-999"])[1].to_list() == [None, 3.5, None]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([f"PA{k}" for k in range(30)], "identifier"),
        ([f"a long remark about row {k} and what was seen there" for k in range(30)], "text"),
        (["7"] * 5, "constant"),
        ([None, None, "?"], "empty"),
        ([[1], [2]], "nested"),
        (list(range(1, 31)), "identifier"),
        ([f"N{k % 100}" for k in range(400)], "category"),
        ([1, 2, 2, 3], "integer"),
        ([1.0, 2.0, 3.0, None], "integer"),
        ([1.0, 0.0, None], "boolean"),
        ([1, 2, 2], "category"),
        ([1.0, 2.0, None], "category"),
        ([2**60 + k for k in range(30)], "identifier"),
        ([2**60 + k for k in range(3)] * 9, "category"),
        ([f"{2**60 + k}" for k in range(30)], "identifier"),
        ([datetime.datetime(2000, 1, 1), None, datetime.datetime(2001, 1, 1)], "date"),
        ([datetime.datetime(2000, 1, 1, 5), None, datetime.datetime(2001, 1, 1)], "moment"),
        ([0.5, 2.0], "real"),
        ([True, None, False], "boolean"),
        ([datetime.date(2000, 1, 1), None, datetime.date(2001, 1, 1)], "date"),
        ([datetime.timedelta(seconds=1), datetime.timedelta(seconds=3)], "duration"),
    ],
)
def test_kinds_of_columns(cells, kind):
    assert kind_of(pl.Series("c", cells))[0].name == kind


@pytest.mark.parametrize(
    ("cells", "asked", "first"),
    [
        (["2020", "2021"], "category", "2020"),
        ([94110, 94111], "category", "94110"),
        ([20200101, 20200102], "date", datetime.date(2020, 1, 1)),
        (["1", "0"], "integer", 1),
        ([1, 2], "real", 1.0),
        ([1, 0], "boolean", True),
        ([1.0, None], "category", "1"),
        (["01:00:00", "02:00:00"], "duration", datetime.timedelta(hours=1)),
        (["2000-01-01", "2000-01-02"], "moment", datetime.datetime(2000, 1, 1)),
        (["2000-01-01 00:00:00", "2000-01-02 00:00:00"], "moment", datetime.datetime(2000, 1, 1)),
    ],
)
def test_a_kind_can_be_asked_for(cells, asked, first):
    kind, values = kind_of(pl.Series("c", cells), asked=asked)
    assert kind.name == asked
    assert values[0] == first


def test_midnights_that_are_asked_for_as_moments_are_written_with_a_clock():
    kind, _ = kind_of(pl.Series("c", ["2000-01-01 00:00:00", "2000-01-02 00:00:00"]), asked="moment")
    assert kind.form == "%Y-%m-%d %H:%M:%S"


@pytest.mark.parametrize(
    ("cells", "asked", "message"),
    [
        (["1", "two"], "real", 'column "c", row 2: "two" is not a number'),
        (["1", "2.5"], "integer", 'row 2: "2.5" is not a whole number'),
        (["oak", "elm"], "date", 'row 1: "oak" is not a date, or the cells are in several forms'),
        (["1:00:00", "x"], "duration", 'row 1: "1:00:00" is not a duration'),
        ([*[f"{k}:00:01" for k in range(99)], "x"], "duration", 'row 100: "x" is not a duration in the form of the'),
        ([1, 2, 3], "boolean", "other values than 0 and 1"),
        ([datetime.datetime(2000, 1, 1, 5)], "date", "holds times of day"),
        (["oak"], "colour", 'column "c" cannot be "colour" \\(kinds: real, integer'),
        (["1", "inf", "2"], None, 'row 2: "inf" is not a finite number'),
        ([1.0, float("inf")], None, "row 2: inf is not a finite number"),
    ],
)
def test_what_cannot_be_read_so_is_named(cells, asked, message):
    with pytest.raises(InputError, match=message):
        kind_of(pl.Series("c", cells), asked=asked)


TROUBLES = """;name;when;share;pay;flag;gap;dummy;zip;remark;one
1;Ann;1.2.2000;4,5%;1.200,50;yes;;0;01234;she said that she would come again;x
2;Bob;3.4.2001;5,5%;300,25;no;NA;1;01234;he did not say anything about this;x
3;Cid;28.12.2001;6,0%;1.000,00;yes;3;0;99999;nobody knows what happened there at;x
4;Dan;7.7.2002;4,0%;20,00;no;?;1;00001;a long remark that nobody will read;x
"""


def test_a_table_with_the_troubles_that_people_have(tmp_path):
    path = tmp_path / "t.csv"
    rows = TROUBLES.splitlines()
    body = [line.replace(line.split(";")[1], f"{line.split(';')[1]}{k}") for k in range(6) for line in rows[1:]]
    numbered = [f"{k};{line.split(';', 1)[1]}" for k, line in enumerate(body, 1)]
    path.write_bytes("\n".join([rows[0], *numbered]).replace("Ann", "Ännchen").encode("cp1252"))
    cells = read_cells(path)
    assert any("cp1252" in note or "Latin" in note or "Windows" in note for note in cells.notes)
    used, left_out = read_columns(cells)
    assert {one.name: one.kind.name for one in used} == {
        "when": "date", "share": "real", "pay": "real", "flag": "boolean", "gap": "integer", "dummy": "boolean",
        "zip": "category", "remark": "category",
    }  # fmt: skip
    assert {one.name for one in left_out} == {"Unnamed: 0", "name", "one"}
    values = {one.name: one.values for one in used}
    assert values["pay"][0] == 1200.5
    assert values["share"][0] == 4.5
    assert values["gap"].null_count() == 18
    assert len(said_of(used)) == 8
    assert any("counts the rows" in line for line in said_of_left_out(left_out))


def test_columns_are_chosen_dropped_and_given_kinds():
    frame = pl.DataFrame({"id": range(30), "zip": [94110, 94111] * 15, "x": np.arange(30) / 7, "k": [1] * 30})
    cells = read_cells(frame)
    assert [one.name for one in read_columns(cells)[0]] == ["zip", "x"]
    used, _ = read_columns(cells, kinds={"zip": "category"}, drop="x")
    assert [(one.name, one.kind.name) for one in used] == [("zip", "category")]
    used, _ = read_columns(cells, columns="id,x")
    assert [(one.name, one.kind.name) for one in used] == [("id", "integer"), ("x", "real")]
    with pytest.raises(InputError, match='there is no column "zap"; did you mean "zip"'):
        read_columns(cells, kinds={"zap": "category"})
    with pytest.raises(InputError, match='column "k" cannot be modelled: constant'):
        read_columns(cells, columns="k,x")
    with pytest.raises(InputError, match="no column is left to fit"):
        read_columns(read_cells(pl.DataFrame({"k": [1, 1, 1]})))


def test_a_copy_of_a_column_is_left_out():
    frame = pl.DataFrame({"a": [1.5, 2.5, None], "b": [1.5, 2.5, None], "c": [1.5, 2.5, 3.5]})
    used, left_out = read_columns(read_cells(frame))
    assert [one.name for one in used] == ["a", "c"]
    assert str(left_out[0]) == '"b" is left out: every cell is that of "a"'


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("pclass", [1, 2, 3] * 9, "integer"),
        ("p_class", [1, 2, 3] * 9, "category"),
        ("zip", [94110 + k % 9 for k in range(90)], "category"),
        ("zip", [94110 + k for k in range(90)], "integer"),
        ("store_id", [1, 2, 3] * 9, "category"),
        ("typed", [1, 2, 3] * 9, "integer"),
        ("rating", [1, 2, 3] * 9, "integer"),
        ("id", [1, 2, 3], "identifier"),
        ("n", list(range(29)), "integer"),
        ("n", list(range(30)), "identifier"),
        ("id", [k * k for k in range(29)], "identifier"),
    ],
)
def test_whole_numbers_are_codes_counts_or_identifiers(name, cells, kind):
    found, values = kind_of(pl.Series(name, cells))
    assert found.name == kind
    if kind == "category":
        assert values.cast(pl.String).to_list() == [str(cell) for cell in cells]
        assert "two codes" in found.why or "under a name of codes" in found.why


def test_an_array_of_one_column_is_data_however_it_counts():
    assert read_columns(read_cells(np.arange(100)))[0][0].kind.name == "integer"
    with pytest.raises(InputError, match="each once"):
        read_columns(read_cells(pl.DataFrame({"n": range(100)})))


def test_an_order_of_levels_is_kept():
    levels = pl.Enum(["low", "mid", "high"])
    cells = pl.Series("c", ["high", "low", "NA", None] * 9, dtype=pl.Enum(["low", "mid", "high", "NA"]))
    kind, values = kind_of(cells)
    assert (kind.name, kind.why) == ("category", "2 levels, in their order")
    assert values.null_count() == 18
    encoder = CategoryEncoder.of(kind.name, values)
    assert encoder.values == ("low", "high")
    column = FittedColumn("c", kind, type_of(pl.Series(["low"], dtype=levels)), 0.0, encoder)
    again = FittedColumn.from_dict("c", column.to_dict())
    assert again.typed(pl.Series(["high", None])).dtype == levels
    assert again.kind == kind


def test_categories_stay_categories_whatever_their_words():
    for words in (["10", "20", "30"], ["yes", "no"], ["2000-01-01", "2001-01-01"]):
        assert kind_of(pl.Series("c", words * 9, dtype=pl.Categorical))[0].name == "category"


def test_midnights_come_back_as_they_were():
    zoned = pl.Series([datetime.datetime(2000, 7, 1), datetime.datetime(2000, 1, 1)]).dt.replace_time_zone(
        "Europe/Rome"
    )
    for cells in (zoned, zoned.dt.replace_time_zone(None).dt.cast_time_unit("ms")):
        kind, values = kind_of(cells)
        assert (kind.name, values.dtype) == ("date", pl.Date)
        column = FittedColumn("c", kind, type_of(cells), 0.0, NumberEncoder.of("date", values))
        assert column.typed(values).equals(cells)
        assert column.typed(values).dtype == cells.dtype


CODED = FittedColumn("sex", Kind("category", "", "{}"), "Int64", 0.0, CategoryEncoder("category", ("1", "2")))


@pytest.mark.parametrize("cells", [[1, 2, None], [1.0, 2.0, None], ["1", "2.0", None], ["01", "2", "?"]])
def test_codes_are_read_again_however_they_are_written(cells):
    values = values_of(read_cells(pl.DataFrame({"sex": cells})), {"sex": CODED}, ["sex"])["sex"]
    assert values.to_list() == ["1", "2", None]
    for column in (CODED, replace(CODED, dtype="")):
        assert column.typed(values).to_list() == [1, 2, None]


def test_text_of_a_frame_comes_back_as_it_stood():
    kind, values = kind_of(pl.Series("c", ["$1,200", "$5", "$7"]))
    column = FittedColumn("c", kind, "String", 0.0, NumberEncoder.of(kind.name, values))
    assert column.typed(values).to_list() == ["$1,200", "$5", "$7"]
    assert written(column.typed(values), kind.name, kind.form).to_list() == ["$1,200", "$5", "$7"]


def test_words_that_were_missing_cells_are_so_again():
    kind = Kind("real", "", "", ("tbd",))
    column = FittedColumn("x", kind, "", 0.0, NumberEncoder.of("real", pl.Series([0.5, 1.5, 2.5])))
    again = FittedColumn.from_dict("x", column.to_dict())
    assert values_of(read_cells(pl.DataFrame({"x": ["0.5", "TBD"]})), {"x": again}, ["x"])["x"].to_list() == [0.5, None]


def test_strict_takes_no_word_for_missing():
    frame = pl.DataFrame({"x": [*[f"{k}.5" for k in range(100)], "tbd"]})
    assert for_fitting(frame).columns[0].values.null_count() == 1
    with pytest.raises(InputError, match='--strict takes no word for missing .*\n  "x" holds "tbd"'):
        for_fitting(frame, strict=True)
    for_fitting(frame, strict=True, missing="tbd")
