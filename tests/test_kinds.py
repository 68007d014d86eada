"""What a column is read as, from its cells: words, numbers as people write them, dates, truth values, missing cells."""

import datetime

import numpy as np
import polars as pl
import pytest

from pushforward.errors import InputError
from pushforward.tables.column_kinds import read_columns, said_of, said_of_left_out
from pushforward.tables.from_anything import read_cells
from pushforward.tables.kinds import kind_of
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
        (["$1,234.50", "$3.25"], "real", "${}", 1234.5),
        (["45%", "3%"], "integer", "{}%", 45),
        (["12 kg", "3 kg"], "integer", "{}kg", 12),
        (["TRUE", "FALSE"], "boolean", "TRUE/FALSE", True),
        (["yes", "no"], "boolean", "yes/no", True),
        (["Y", "?"], "boolean", "Y/N", True),
        (["1", "0"], "boolean", "1/0", True),
        (["1.5", "2"], "real", "", 1.5),
        (["1.0", "2.0"], "integer", "", 1),
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
    if form and kind != "real":
        assert again.to_list() == [cell.replace(" kg", "kg") if cell != "?" else None for cell in cells]


@pytest.mark.parametrize("word", ["", "NA", "n/a", "?", "NULL", "NaN", "-", "None", " ", "#N/A", "missing"])
def test_words_for_no_value_are_missing_cells(word):
    kind, values = read("1.5", word, "2.5")
    assert kind.name == "real"
    assert values.to_list() == [1.5, None, 2.5]
    assert read("oak", word, "elm")[1].null_count() == 1


def test_other_words_and_numbers_for_no_value_are_given():
    assert read("-999", "3", "4", missing=["-999"])[1].to_list() == [None, 3, 4]
    assert read(-999, 3, 4, missing=["-999"])[1].to_list() == [None, 3, 4]
    assert read(-999.0, 3.5, float("nan"), missing=["-999"])[1].to_list() == [None, 3.5, None]


def test_a_few_words_among_numbers_count_as_missing_and_that_is_said():
    kind, values = read(*[str(k) for k in range(40)], "unknown", "unknown")
    assert kind.name == "integer"
    assert values.null_count() == 2
    assert '2 cells such as "unknown" are no numbers and count as missing' in kind.why
    assert read(*["3", "x"] * 20)[0].name == "category"


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
        ([1.0, 2.0, None], "integer"),
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
    ],
)
def test_a_kind_can_be_asked_for(cells, asked, first):
    kind, values = kind_of(pl.Series("c", cells), asked=asked)
    assert kind.name == asked
    assert values[0] == first


@pytest.mark.parametrize(
    ("cells", "asked", "message"),
    [
        (["1", "two"], "real", 'column "c", row 2: "two" is not a number'),
        (["1", "2.5"], "integer", 'row 2: "2.5" is not a whole number'),
        (["oak", "elm"], "date", 'cannot be read as date: it holds "oak"'),
        ([1, 2, 3], "boolean", "more than two values"),
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
