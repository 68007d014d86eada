"""Columns as codes and places: what is an atom, a cell or a density, and that cells come back as they were."""

import datetime

import numpy as np
import polars as pl
import pytest

from pushforward.rows import Marginal
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.encoders import NumberEncoder, encoder_of
from pushforward.tables.row_encoder import RowEncoder
from pushforward.tables.stored_encoders import encoder_from

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=5000),
        RNG.lognormal(size=300),
        RNG.uniform(size=40),
        np.array([1.0, 2.0]),
        np.r_[np.zeros(90), 1:9],
    ],
    ids=["normal", "log-normal", "uniform", "two", "mostly zero"],
)
def test_a_scale_is_increasing_smooth_and_inverted_and_its_slope_is_its_derivative(values):
    scale = Marginal.of(values)
    x = np.linspace(values.min() - 1, values.max() + 1, 4001)
    z, log_slope = scale.to_z(x)
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(scale.to_x(z), x, atol=1e-9)
    step = 1e-6
    slope = (scale.to_z(x + step)[0] - scale.to_z(x - step)[0]) / (2 * step)
    inner = np.abs(x[:, None] - scale.x).min(1) > 1e-5
    np.testing.assert_allclose(np.log(slope[inner]), log_slope[inner], atol=1e-3)


def test_a_scale_makes_a_column_about_normal():
    z = Marginal.of(RNG.lognormal(sigma=2, size=20_000)).to_z(RNG.lognormal(sigma=2, size=20_000))[0]
    assert abs(z.mean()) < 0.05
    assert abs(z.std() - 1) < 0.05


CELLS = {
    "real": pl.Series(RNG.normal(size=300)),
    "recorded": pl.Series(RNG.normal(size=300).round(1)),
    "integer": pl.Series(RNG.poisson(50, size=3000)),
    "hundreds": pl.Series(RNG.integers(1, 900, size=300) * 100),
    "date": pl.Series([datetime.date(2000, 1, 1) + datetime.timedelta(days=int(d)) for d in RNG.integers(0, 900, 300)]),
    "month": pl.Series([datetime.date(1960 + k // 12, k % 12 + 1, 1) for k in RNG.integers(0, 300, 300)]),
    "quarter": pl.Series([datetime.date(1960 + k // 4, k % 4 * 3 + 1, 1) for k in RNG.integers(0, 300, 300)]),
    "time": pl.Series([datetime.time(int(h), int(m)) for h, m in RNG.integers(0, 24, (300, 2))]),
    "moment": pl.Series(
        [datetime.datetime(2000, 1, 1) + datetime.timedelta(minutes=int(m)) for m in range(0, 3000, 10)]
    ),
    "duration": pl.Series([datetime.timedelta(seconds=int(s)) for s in RNG.integers(0, 900, 300)]),
    "category": pl.Series(["oak", "elm", None] * 100),
    "boolean": pl.Series([True, None, False] * 100),
}
KINDS = {"recorded": "real", "hundreds": "integer", "month": "date", "quarter": "date"}


@pytest.mark.parametrize("name", list(CELLS))
def test_cells_come_back_from_their_codes_and_encoders_from_a_file(name):
    kind, cells = KINDS.get(name, name), CELLS[name].set(pl.Series(np.arange(len(CELLS[name])) % 10 == 3), None)
    encoder = encoder_of(kind, cells)
    encoded, unknown = encoder.encode(cells)
    assert not unknown.any()
    for one in (encoder, encoder_from(encoder.to_dict())):
        again = one.decode(encoded.code, encoded.z)
        assert again.null_count() == cells.null_count()
        if kind == "real":
            np.testing.assert_allclose(again.to_numpy(), cells.to_numpy(), atol=1e-9)
        else:
            assert again.to_list() == cells.to_list()


def test_steps_are_found():
    assert encoder_of("real", CELLS["real"]).grid is None
    assert encoder_of("real", CELLS["recorded"]).grid.step == pytest.approx(0.1)
    assert encoder_of("integer", CELLS["hundreds"]).grid.step == 100
    assert encoder_of("moment", CELLS["moment"]).grid.step == 600
    assert encoder_of("date", CELLS["date"]).grid.step == 1
    assert encoder_of("date", CELLS["month"]).grid.step == 1
    assert encoder_of("date", CELLS["quarter"]).grid.step == 3


def test_dates_counted_in_months_are_told_in_days():
    encoder = NumberEncoder.of("date", CELLS["quarter"])
    ends = encoder.told(np.array([encoder.low, encoder.high]))
    days = CELLS["quarter"].to_physical()
    assert ends.tolist() == [days.min(), days.max()]
    assert encoder.encode(pl.Series([datetime.date(1970, 1, 16)]))[0].code.tolist() == [encoder.num_codes - 1]


def test_frequent_single_values_are_atoms():
    paid = np.where(RNG.random(2000) < 0.4, 0.0, RNG.lognormal(size=2000))
    encoder = NumberEncoder.of("real", pl.Series(paid))
    assert encoder.atoms.tolist() == [0.0]
    assert encoder.grid is None
    capped = NumberEncoder.of("real", pl.Series(np.minimum(paid, 2.0)))
    assert capped.atoms.tolist() == [0.0, 2.0]
    counts = NumberEncoder.of("integer", pl.Series(RNG.poisson(3, 5000)))
    assert counts.atoms.tolist() == list(range(len(counts.atoms)))


def test_a_category_that_was_never_seen_is_unknown_and_no_missing_cell():
    encoder = CategoryEncoder.of("category", CELLS["category"])
    encoded, unknown = encoder.encode(pl.Series(["elm", "fir", None]))
    assert encoded.code.tolist() == [0, -1, -1]
    assert unknown.tolist() == [False, True, False]
    np.testing.assert_allclose(encoded.log_slope, np.log([1 - encoder.other, encoder.other, 1]))


def test_what_is_drawn_looks_to_the_network_as_what_is_read():
    """An atom's place must be the same whether its code was drawn or its cell encoded."""
    frame = pl.DataFrame({"n": RNG.poisson(3, 3000), "x": np.where(RNG.random(3000) < 0.3, 0.0, RNG.normal(size=3000))})
    encoder = RowEncoder({name: encoder_of(kind, frame[name]) for name, kind in (("n", "integer"), ("x", "real"))})
    rows = encoder.encode(frame).cells.reshape(-1, 3, 2)
    for column, places in enumerate(encoder.places):
        for code, z in enumerate(places.atoms):
            seen = rows[rows[:, 0, column] == code][:, 1, column]
            assert len(seen)
            np.testing.assert_allclose(seen, z, rtol=1e-6, atol=1e-6)
        numbers = rows[rows[:, 0, column] == len(places.atoms)][:, 1, column]
        assert bool((numbers >= places.low - 1e-5).all() & (numbers <= places.high + 1e-5).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0, 0.0]}, "increase"),
        ({"step": float("nan")}, "finite"),
        ({"atoms": [2.0, 1.0]}, "increase"),
        ({"levels": [2.0, 1.0]}, "increase"),
        ({"levels": [2.0]}, "more than one"),
        ({"decimals": 2.0}, "whole number"),
        ({"decimals": 400}, "whole number"),
        ({"kind": "parsec"}, "parsec"),
        ({"circle": {"period": 24, "cut": 3, "start": 0}}, "circle"),
        ({"kind": "periodic"}, "circle"),
        ({"kind": "periodic", "circle": {"period": 5e-324, "cut": 3, "start": 0}}, "period"),
    ],  # fmt: skip
)
def test_an_encoder_of_a_strange_file_is_refused(change, message):
    stored = encoder_of("real", CELLS["real"]).to_dict()
    stored |= {"x": stored["x"][:2], "z": stored["z"][:2]}
    encoder_from(stored)
    with pytest.raises(ValueError, match=message):
        encoder_from(stored | change)


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "category", "values": [True, "a"]}, {"kind": "category", "values": [False, True]},
        {"kind": "category", "values": []}, {"kind": "boolean", "values": [0, 1]}, {"kind": "word", "values": ["a"]},
    ],
)  # fmt: skip
def test_categories_of_a_strange_file_are_refused(stored):
    with pytest.raises(ValueError, match="words|truth"):
        encoder_from(stored)


@pytest.mark.parametrize("first", [0, 6 * 10**15])
def test_cells_of_numbers_too_large_for_halves_have_their_width(first):
    cells = pl.Series(first + np.random.default_rng(0).integers(0, 100, 2000) ** 2)
    encoder = encoder_of("integer", cells)
    encoded, _ = encoder.encode(cells)
    number = encoded.code == len(encoder.atoms)
    assert (encoded.half > 0).all()
    small = encoder_of("integer", cells - first)
    np.testing.assert_allclose(encoded.half[number], small.encode(cells - first)[0].half[number], rtol=0.3)


def test_a_value_that_stands_out_is_an_atom_and_others_that_repeat_are_none():
    rng = np.random.default_rng(0)
    values = rng.normal(size=10_000).round(4)  # some three rows a value
    values[rng.permutation(10_000)[:60]] = 4.321
    assert encoder_of("real", pl.Series(values)).atoms.tolist() == [4.321]
    values[values == 4.321] = rng.normal(size=60).round(4)
    assert not len(encoder_of("real", pl.Series(values)).atoms)


def test_values_that_lie_far_apart_for_their_step_are_levels_each_with_the_cell_around_it():
    """As numbers of five figures are: -47.975, 7.0249 and 216.02 are all multiples of 0.0001 only."""
    levels = np.round(np.exp(RNG.uniform(0, 6, 300)), 4)
    values = RNG.choice(np.unique(levels), 20_000)
    encoder = encoder_of("real", pl.Series(values))
    assert encoder.grid.levels.tolist() == np.unique(values).tolist()
    encoded, _ = encoder.encode(pl.Series(np.unique(values)))
    low, high = encoded.z - encoded.half, encoded.z + encoded.half
    np.testing.assert_allclose(low[1:], high[:-1], atol=1e-6)  # cells touch, and overlap nowhere
    assert encoder.places.low == pytest.approx(low[0])
    assert encoder.places.high == pytest.approx(high[-1])
    anywhere = encoder.values_at(RNG.uniform(-3, 3, 500))
    assert np.isin(anywhere, np.unique(values)).all()
    again = encoder_from(encoder.to_dict())
    np.testing.assert_array_equal(again.grid.levels, encoder.grid.levels)


def test_counts_that_are_rare_at_their_end_have_even_steps():
    counts = np.floor(RNG.pareto(1.2, 30_000) * 20)
    encoder = encoder_of("integer", pl.Series(counts.astype(int)))
    assert encoder.grid.step == 1
    assert not len(encoder.grid.levels)
    once = np.append(RNG.choice([1, 100, 10_000], 500), 123)  # another value may come, too
    assert not len(encoder_of("integer", pl.Series(once)).grid.levels)
