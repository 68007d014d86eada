"""Text as people and programs write it: read as dates, times, durations and numbers, and written again as it stood."""

from datetime import date, datetime, time, timedelta

import polars as pl
import pytest

from pushforward.tables.kinds import kind_of
from pushforward.tables.number_text import NumberStyle
from pushforward.tables.text_kinds import read_again, written

FORMS = [
    (["2024-01-05 00:00:00", "2024-02-13 00:00:00"], "date", "%Y-%m-%d 00:00:00", date(2024, 1, 5)),
    (["1/5/2024 12:00:00 AM", "2/13/2024 12:00:00 AM"], "date", "%-m/%-d/%Y 12:00:00 AM", date(2024, 1, 5)),
    (["2024-01-05T00:00:00Z", "2024-02-13T00:00:00Z"], "date", "%Y-%m-%dT00:00:00Z", date(2024, 1, 5)),
    (["2024-01-05", "2024-02-13"], "date", "%Y-%m-%d", date(2024, 1, 5)),
    (["01JAN2000", "13FEB2000"], "date", "%d%b%Y", date(2000, 1, 1)),
    (["January 1, 2000", "February 13, 2000"], "date", "%B %-d, %Y", date(2000, 1, 1)),
    (["1974Q1", "1975Q4"], "date", "%YQ%q", date(1974, 1, 1)),
    (["1974-Q2", "1975-Q3"], "date", "%Y-Q%q", date(1974, 4, 1)),
    (["Q1 1974", "Q4 1975"], "date", "Q%q %Y", date(1974, 1, 1)),
    (["1974-03", "1975-12"], "date", "%Y-%m", date(1974, 3, 1)),
    (["03/1974", "12/1975"], "date", "%m/%Y", date(1974, 3, 1)),
    (["Mar 2000", "Dec 2001"], "date", "%b %Y", date(2000, 3, 1)),
    (["March 2000", "December 2001"], "date", "%B %Y", date(2000, 3, 1)),
    (["2000 Mar", "2001 Dec"], "date", "%Y %b", date(2000, 3, 1)),
    (["2024-01-05T10:00:00Z", "2024-02-13T00:30:00Z"], "moment", "%Y-%m-%dT%H:%M:%SZ", datetime(2024, 1, 5, 10)),
    (["2024-01-05 10:00+02:00", "2024-02-13 00:30+02:00"], "moment", "%Y-%m-%d %H:%M+02:00", datetime(2024, 1, 5, 10)),
    (["1/5/2024 1:05 PM", "2/13/2024 12:30 AM"], "moment", "%-m/%-d/%Y %-I:%M %p", datetime(2024, 1, 5, 13, 5)),
    (["20240105 10:00:00", "20240213 00:30:01"], "moment", "%Y%m%d %H:%M:%S", datetime(2024, 1, 5, 10)),
    (["14:05", "09:30"], "time", "%H:%M", time(14, 5)),
    (["2:05 PM", "11:30 AM"], "time", "%-I:%M %p", time(14, 5)),
    (["14:05:00", "09:30:59"], "time", "%H:%M:%S", time(14, 5)),
    (["1:23:45", "0:59:59"], "duration", "h:mm:ss", timedelta(hours=1, minutes=23, seconds=45)),
    (["25:23:45", "01:59:59.5"], "duration", "hh:mm:ss", timedelta(hours=25, minutes=23, seconds=45)),
    (["3 days 04:00:00", "-1 days +23:00:00"], "duration", "d days hh:mm:ss", timedelta(days=3, hours=4)),
    (["1 day, 4:00:00", "23:00:00", "2 days, 0:00:01"], "duration", "d days, h:mm:ss", timedelta(days=1, hours=4)),
    (["P1DT2H", "PT1M0.5S", "-PT1H", "P0D"], "duration", "PdDThHmMsS", timedelta(days=1, hours=2)),
    (["5.00", "(7.50)", "(5.00)"], "real", "{:.2f};({:.2f})", 5.0),
    (["$5", "($1,234)", "$3"], "integer", "${:,};(${:,})", 5),
    (["$ 1,234", "$ 5", "$ 7"], "integer", "$ {:,}", 1234),
    (["$1,234.50", "-$3.25"], "real", "${:,.2f}", 1234.5),
    (["1.234,50 €", "3,25 €"], "real", "{:.,2f} €", 1234.5),
    (["1,234", "22", "1,000,000"], "integer", "{:,}", 1234),
    (["1 234", "22", "1 000 000"], "integer", "{: }", 1234),
    (["5%", "12%", "7%"], "integer", "{}%", 5),
    (["5 %", "12 %", "7 %"], "integer", "{} %", 5),
    (["4,5%", "12%", "7%"], "real", "{:,f}%", 4.5),
    (["12 kg", "3 kg", "7 kg"], "integer", "{} kg", 12),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "name", "form", "first"), FORMS, ids=[case[0][0] for case in FORMS])
def test_text_is_read_and_written_again_as_it_stood(cells, name, form, first):
    kind, values = kind_of(pl.Series("c", cells))
    assert (kind.name, kind.form) == (name, form)
    assert values[0] == first
    again = written(values, kind.name, kind.form)
    same = [cell.upper() for cell in again] == [cell.upper() for cell in cells]
    assert same or form == "{:,f}%"
    assert read_again(again, kind.name, kind.form, None).equals(
        values.cast(pl.Float64) if name == "integer" else values
    )


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1 234,50", "2,5"], [1234.5, 2.5]),
        (["1'234.50", "2.5"], [1234.5, 2.5]),
        (["\u22125.5", "2.5"], [-5.5, 2.5]),
        (["+5", "-0", "1e5"], [5, 0, 100_000]),
        (["-5.00%", "2.5%"], [-5, 2.5]),
        (["5%", "12 %", "7%"], [5, 12, 7]),
    ],
)
def test_numbers_as_people_write_them(cells, values):
    assert kind_of(pl.Series("c", cells))[1].to_list() == values


def test_numbers_are_read_in_the_style_of_the_file():
    assert kind_of(pl.Series(["1.234", "2.500", "7"]), style=NumberStyle(True))[1].to_list() == [1234, 2500, 7]
    assert kind_of(pl.Series(["1.234", "2.500", "7"]))[1].to_list() == [1.234, 2.5, 7]


@pytest.mark.parametrize(
    "cells", [["(1)", "(2)", "(3)"], ["N12", "N13"], ["3-1", "12-3"], ["1.2.3", "1.2.4"], ["12A", "3B"], ["(5", "6)"]]
)
def test_names_with_digits_are_words(cells):
    kind, values = kind_of(pl.Series("c", cells))
    assert kind.name == "category"
    assert values.to_list() == cells


def test_moments_of_several_zones_are_one_moment_each():
    cells = ["2024-01-05T10:00:00+02:00", "2024-01-05T10:00:00Z", "2024-01-05T10:00:00-05:30"]
    kind, values = kind_of(pl.Series("c", cells))
    assert (kind.name, kind.form) == ("moment", "%Y-%m-%dT%H:%M:%S%:z")
    assert [(moment.hour, moment.minute) for moment in values] == [(8, 0), (10, 0), (15, 30)]
    assert "zones +02:00, -05:30, Z are brought to UTC" in kind.why
    assert written(values, kind.name, kind.form)[0] == "2024-01-05T08:00:00+00:00"


def test_another_zone_in_a_new_table_is_brought_to_that_of_the_model():
    assert read_again(pl.Series(["2024-01-05 10:00Z"]), "moment", "%Y-%m-%d %H:%M+02:00", None)[0].hour == 12


def test_a_choice_between_month_and_day_is_said():
    assert "%d/%m/%Y fits as well" in kind_of(pl.Series(["01/02/2000", "03/04/2000"]))[0].why
    assert "fits" not in kind_of(pl.Series(["01/02/2000", "03/14/2000"]))[0].why


DAYS = [f"{day}" for day in pl.date_range(date(2000, 1, 1), date(2001, 1, 1), eager=True)]
MANY = {
    "number": [f"{k}.5" for k in range(300)],
    "date": DAYS,
    "duration": [f"{k}:00:01" for k in range(300)],
}  # fmt: skip


@pytest.mark.parametrize("noun", MANY)
def test_a_few_words_are_missing_cells_and_said(noun):
    kind, values = kind_of(pl.Series("c", [*MANY[noun], "tbd", "tbd", "unknown"]))
    assert kind.words == ("tbd", "unknown")
    assert values.null_count() == 3
    assert kind.why.endswith(f'3 cells such as "tbd" are no {noun}s and count as missing')
    assert kind_of(pl.Series("c", [*MANY[noun], "soon"]))[0].why.endswith(
        f'1 cell, "soon", is no {noun} and counts as missing'
    )


@pytest.mark.parametrize("noun", MANY)
def test_more_words_make_words_of_a_column(noun):
    assert kind_of(pl.Series("c", [*MANY[noun], *["tbd"] * 20]))[0].name == "identifier"
    assert kind_of(pl.Series("c", [*MANY[noun], "a", "b", "c", "d", "e", "f"]))[0].name == "identifier"
    few = [*MANY[noun][:5] * 60, "tbd"]
    assert kind_of(pl.Series("c", few))[0].name == "category"


def test_bounds_among_numbers_are_said():
    kind, _ = kind_of(pl.Series("c", [*MANY["number"], "<0.1", "> 300"]))
    assert '2 cells such as "<0.1" are bounds, no numbers and count as missing' in kind.why


def test_numbers_lost_to_words_are_said():
    kind, _ = kind_of(pl.Series("c", [*MANY["number"], *["tbd"] * 20]))
    assert "300 of 320 cells are numbers: name the others in --missing" in kind.why
