"""The table of known law: its probabilities sum to one, and its rows are drawn from them."""

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.data.mixed_table import COLUMNS, KINDS
from pushforward.errors import InputError

ROW = {"kind": "car", "trips": 4, "paid": 3.0, "speed": 0.7, "load": 0.2}
GRIDS = {
    "kind": np.array(KINDS), "trips": np.arange(81), "paid": np.exp(np.linspace(-6, 8, 4001)),
    "speed": np.linspace(-8, 8, 2001), "load": np.linspace(-8, 8, 2001),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    return pf.data.mixed_table(200_000, missing=0.0, seed=3)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("others", ["none", "first", "all"])
def test_every_conditional_sums_to_one(whole, column, others):
    law = whole[1]
    rest = [name for name in COLUMNS if name != column]
    given = {"none": [], "first": rest[:1], "all": rest}[others]
    grid = GRIDS[column]
    rows = pl.DataFrame({column: grid, **{name: [ROW[name]] * len(grid) for name in given}})
    p = np.exp(law.log_prob(rows, given=given))
    if column in ("kind", "trips"):
        total = p.sum()
    elif column == "paid":
        free = pl.DataFrame({column: [0.0], **{name: [ROW[name]] for name in given}})
        total = np.trapezoid(p, grid) + np.exp(law.log_prob(free, given=given))[0]
    else:
        total = np.trapezoid(p, grid)
    assert total == pytest.approx(1, abs=1e-5)


def test_the_chain_rule_holds_and_missing_cells_are_left_out(whole):
    rows, law = whole[0][:50], whole[1]
    chain = sum(law.log_prob(rows.select(COLUMNS[: k + 1]), given=COLUMNS[:k]) for k in range(5))
    np.testing.assert_allclose(chain, law.log_prob(rows), atol=1e-9)
    gaps = rows.with_columns(pl.lit(None).cast(rows[name].dtype).alias(name) for name in ("kind", "speed"))
    np.testing.assert_allclose(law.log_prob(gaps), law.log_prob(rows.drop("kind", "speed")), atol=1e-12)


def test_rows_are_drawn_from_the_law(whole):
    rows, law = whole
    shares = rows["kind"].value_counts(normalize=True).sort("kind")["proportion"].to_numpy()
    expected = np.exp(law.log_prob(pl.DataFrame({"kind": sorted(KINDS)})))
    np.testing.assert_allclose(shares, expected, atol=0.005)
    free = np.exp(law.log_prob(pl.DataFrame({"paid": [0.0]})))[0]
    assert (rows["paid"] == 0).mean() == pytest.approx(free, abs=0.005)
    edges = np.linspace(-3, 3, 13)
    counts = np.histogram(rows["load"], edges)[0] / len(rows)
    fine = np.linspace(-3, 3, 1201)
    density = np.exp(law.log_prob(pl.DataFrame({"load": fine})))
    mass = [np.trapezoid(density[k : k + 101], fine[k : k + 101]) for k in range(0, 1200, 100)]
    np.testing.assert_allclose(counts, mass, atol=0.004)


def test_a_share_of_the_cells_is_missing_and_what_cannot_be_has_no_probability():
    rows, law = pf.data.mixed_table(5000, missing=0.2)
    assert all(count / 5000 == pytest.approx(0.2, abs=0.03) for count in rows.null_count().row(0))
    assert rows["trips"].dtype.is_integer()
    assert np.isfinite(law.log_prob(rows)).all()
    never = pl.DataFrame({"kind": ["boat", "car", "car"], "trips": [1.0, 1.5, -1.0], "paid": [1.0, 1.0, -2.0]})
    for column in never.columns[1:]:
        assert law.log_prob(never[2:].select(column)).tolist() == [-np.inf]
    assert law.log_prob(never[1:2].select("trips")).tolist() == [-np.inf]
    with pytest.raises(InputError, match='no kind "boat"'):
        law.log_prob(never)


def test_what_the_law_does_not_know_is_refused():
    rows, law = pf.data.mixed_table(5)
    for arguments in ((rows.rename({"load": "weight"}),), (rows, ["weight"])):
        with pytest.raises(InputError, match='no column "weight"'):
            law.log_prob(*arguments)
    for options in ({"missing": 1.0}, {"missing": -0.1}, {"seed": -1}):
        with pytest.raises(InputError):
            pf.data.mixed_table(5, **options)
