"""From a table to a measured flow: what is held out, what the baselines say, and which odd tables must work."""

import math

import numpy as np
import polars as pl
import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError
from pushforward.tables import as_table
from pushforward.tables.baselines import Gaussian, fit_baselines
from pushforward.tables.quality import round_trip
from pushforward.tables.splitting import split_rows
from pushforward.tables.table_fit import TableFit

RNG = np.random.default_rng(0)


def fit_quickly(data, max_seconds=0.25, notify=lambda warning: None, **options):
    return pf.TableModel.fit(data, max_seconds=max_seconds, progress=False, notify=notify, **options).fitted


def split(values, seed=0):
    return split_rows(as_table(values), None, seed=seed)


def test_the_parts_of_a_split_are_80_10_10_percent_of_numpys_permutation():
    values = np.arange(2000.0).reshape(1000, 2)
    parts = split(values)
    order = np.random.default_rng(0).permutation(1000)
    for part, rows in ((parts.train, order[:800]), (parts.validation, order[800:900]), (parts.test, order[900:])):
        np.testing.assert_array_equal(part.x.numpy(), values[rows])


def test_another_seed_holds_other_rows_out():
    values = np.arange(200.0).reshape(100, 2)
    assert not torch.equal(split(values).test.x, split(values, seed=1).test.x)


def test_large_tables_give_up_no_more_rows_than_the_figures_need():
    parts = split(np.arange(1_000_000.0)[:, None])
    assert (len(parts.validation), len(parts.test)) == (10_000, 20_000)


def test_below_ten_rows_nothing_is_held_out_and_that_is_said():
    said = []
    fitted = fit_quickly(RNG.normal(size=(3, 2)), notify=said.append)
    assert not fitted.split.held_out
    assert "only 3 rows: none could be held out" in fitted.warnings[-1]
    assert said == fitted.warnings


def test_a_column_that_varies_in_held_out_rows_alone_is_refused():
    values = np.stack([np.arange(100.0), np.zeros(100)], 1)
    values[np.random.default_rng(0).permutation(100)[-1], 1] = 1.0
    with pytest.raises(InputError, match=r'array: column "x2" is constant in the 80 rows drawn for training'):
        fit_quickly(values, recipe="nice")


def test_an_unknown_recipe_is_refused_with_the_recipes_there_are():
    with pytest.raises(InputError, match=r'there is no recipe "glw" \(recipes: auto, flow, nice, realnvp'):
        fit_quickly(RNG.normal(size=(50, 2)), recipe="glw")


@pytest.mark.parametrize("recipe", ["auto", "nice", "realnvp", "maf", "iaf", "nsf"])
def test_every_recipe_fits_a_table_with_context(recipe):
    frame = pl.DataFrame(RNG.normal(size=(100, 3)), schema=["a", "b", "c"])
    fitted = fit_quickly(frame, context="c", recipe=recipe)
    assert fitted.schema.columns == ("a", "b", "c")
    assert fitted.schema.context == ("c",)
    assert fitted.flow.context_features == 1
    assert math.isfinite(fitted.evaluation.nll.mean)


def test_same_seed_same_initial_flow_and_global_rng_left_alone():
    from pushforward.tables.flow_for_table import build

    train = split(RNG.normal(size=(100, 3))).train
    state = torch.get_rng_state()
    first, second = (build("realnvp", train, max_seconds=1.0, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_context_is_scaled_inside_the_flow():
    label = np.repeat([1e9, 1e9 + 1], 500)  # in float32 these two are one number
    x = RNG.normal(size=1000) * 0.1 + (label - 1e9) * 3
    fitted = fit_quickly(pl.DataFrame({"x": x, "label": label}), 2, context="label", recipe="realnvp")
    low, high = fitted.flow.sample(200, torch.tensor([[1e9], [1e9 + 1]], dtype=torch.float64)).mean((1, 2))
    assert abs(low) < 0.5
    assert abs(high - 3) < 0.5


def test_the_z_scored_nll_does_not_depend_on_the_units():
    values = RNG.normal(size=(500, 2))
    plain, scaled = (fit_quickly(values * np.array(units)) for units in ((1.0, 1.0), (1e-20, 1e20)))
    names = [name for name in plain.baselines if name in scaled.baselines]
    assert len(names) >= 3
    for name in names:
        a, b = plain.baselines[name].mean - plain.log_scale, scaled.baselines[name].mean - scaled.log_scale
        assert a == pytest.approx(b, abs=1e-6)
    assert scaled.evaluation.nll.mean - scaled.log_scale < 4


def test_where_the_truth_is_known_the_excess_is_measured():
    toy = pf.data.two_gaussians(2000)
    fitted = fit_quickly(toy.x.double(), truth=toy.density)
    assert fitted.evaluation.entropy == pytest.approx(-1.2674, abs=1e-3)
    assert fitted.evaluation.excess.num_rows == 100_000
    assert fitted.evaluation.excess.mean > -3 * fitted.evaluation.excess.standard_error


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=(200, 1)),
        RNG.normal(size=(120, 500)),
        np.concatenate([RNG.normal(size=(200, 2)), [[1e30, 0.0]]]),
        RNG.normal(size=(200, 2)) * [1e-20, 1e20],
        np.repeat(RNG.normal(size=(50, 2)), 10, axis=0),
        np.outer(RNG.normal(size=200), [1, 1]) + 1e-7 * RNG.normal(size=(200, 2)),
        RNG.integers(3, size=(200, 2)).astype(float),
        RNG.normal(size=(10, 2)),
    ],
    ids=["one column", "500 columns", "outlier", "scales", "duplicates", "collinear", "few values", "ten rows"],
)
def test_odd_tables_work(values):
    fitted = fit_quickly(values)
    assert math.isfinite(fitted.evaluation.nll.mean)
    assert all(math.isfinite(score.mean) for score in fitted.baselines.values())
    if isinstance(fitted, TableFit):
        assert fitted.evaluation.round_trip.high < 1e-2


def test_one_outlier_decides_neither_the_robust_baseline_nor_the_flow():
    clean = RNG.normal(size=(500, 2))
    dirty = clean.copy()
    dirty[np.random.default_rng(0).permutation(500)[0], 0] = 1e30  # among the training rows
    a, b = fit_quickly(clean), fit_quickly(dirty)
    name = "Gaussian, asinh scaling"
    assert b.baselines["Gaussian"].mean > 60
    assert b.baselines[name].mean - a.baselines[name].mean < 3
    assert b.evaluation.nll.mean - a.evaluation.nll.mean < 3


def test_the_gaussian_baseline_reaches_the_entropy_of_a_gaussian():
    x = torch.from_numpy(RNG.normal(size=(20_000, 3)) @ RNG.normal(size=(3, 3)))
    covariance = torch.cov(x.T)
    entropy = 1.5 * math.log(2 * math.pi * math.e) + 0.5 * torch.logdet(covariance).item()
    assert -Gaussian(x).log_prob(x).mean().item() == pytest.approx(entropy, abs=1e-3)


def test_the_conditional_gaussian_is_linear_in_the_context():
    c = torch.from_numpy(RNG.normal(size=(20_000, 2)))
    x = (3 * c[:, :1] - c[:, 1:] + 5) + 0.1 * torch.from_numpy(RNG.normal(size=(20_000, 1)))
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.01)
    for baseline in fit_baselines(x[:15_000], c[:15_000], x[15_000:]):
        if "asinh" not in baseline.name:
            nll = -baseline.log_prob(x[15_000:], c[15_000:]).mean().item()
            assert nll == pytest.approx(entropy, abs=0.05)


def test_every_baseline_integrates_to_one():
    x = torch.from_numpy(np.concatenate([RNG.normal(size=800), RNG.standard_t(2, size=400) + 5]))[:, None]
    x = x[torch.randperm(1200, generator=torch.Generator().manual_seed(0))]
    wide = torch.sinh(torch.linspace(-10, 10, 20_001, dtype=torch.float64))[:, None]
    baselines = fit_baselines(x[:1000], None, x[1000:])
    assert len(baselines) == 4
    for baseline in baselines:
        total = torch.trapezoid(baseline.log_prob(wide).exp(), wide[:, 0]).item()
        assert total == pytest.approx(1, abs=1e-3), baseline.name


def test_a_mixture_finds_the_peaks_that_a_gaussian_cannot():
    toy = pf.data.hexagon(6000)
    x = toy.x.double()
    scores = {b.name: -b.log_prob(x[5000:]).mean().item() for b in fit_baselines(x[:4000], None, x[4000:5000])}
    mixture = min(value for name, value in scores.items() if name.startswith("mixture"))
    assert mixture < toy.density.entropy() + 0.15
    assert scores["Gaussian"] > mixture + 1


def test_a_mixture_grows_only_while_held_out_rows_like_it_better():
    x = torch.from_numpy(RNG.normal(size=(200, 5)))
    names = [baseline.name for baseline in fit_baselines(x[:100], None, x[100:])]
    assert "mixture of 1 Gaussian, asinh scaling" in names


def test_the_kernel_density_is_narrower_than_scotts_rule_where_rows_lie_in_narrow_peaks():
    x = torch.from_numpy(0.02 * RNG.normal(size=(900, 1)) + RNG.integers(2, size=(900, 1)))
    picked, scotts = (fit_baselines(x[:500], None, held)[-1] for held in (x[500:700], None))
    assert picked.log_prob(x[700:]).mean() > scotts.log_prob(x[700:]).mean() + 0.5


def test_few_rows_get_a_covariance_that_is_shrunk():
    gaussian = Gaussian(torch.from_numpy(RNG.normal(size=(14, 10))))
    fresh = torch.from_numpy(RNG.normal(size=(1000, 10)))
    entropy = 5 * math.log(2 * math.pi * math.e)
    assert -gaussian.log_prob(fresh).mean().item() < entropy + 4  # that of the 14 rows themselves: above 40 more


def test_the_figures_are_in_units_of_each_columns_own_width_too():
    fitted = fit_quickly(1000 * RNG.normal(size=(2000, 1)))
    z_scored = {row[0]: float(row[-1]) for row in fitted.figures()}
    for name in ("this flow", "Gaussian"):
        assert z_scored[name] == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.25)


def test_the_round_trip_tells_the_median_the_thousandth_and_the_worst():
    class Off:
        preprocessing = ()
        encode = staticmethod(lambda x, context=None: x)
        decode = staticmethod(lambda z, context=None: z + torch.arange(1000.0)[:, None])

    trip = round_trip(Off(), torch.zeros(1000, 1, dtype=torch.float64))
    assert (trip.median, trip.high, trip.worst) == (499, 998, 999)


def test_the_round_trip_is_measured_in_units_of_the_scaled_columns():
    x = torch.from_numpy(RNG.normal(size=(100, 2)) * [1e-20, 1e20])
    flow = pf.recipes.realnvp(2, preprocessing=[pf.transforms.Standardize(2)])
    flow.initialize(x)
    trip = round_trip(flow, x)
    assert trip.dtype == "float32"
    assert 0 < trip.median <= trip.high <= trip.worst < 1e-5
