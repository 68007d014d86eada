"""Columns given others by the law of whole rows: what a network proposes is weighed, whatever the proposal is worth."""

import math

import numpy as np
import pytest
import torch

from pushforward.rows import RowJoint, RowQuestions
from pushforward.rows.cells import Places, split
from pushforward.rows.conditionals import QUICK, THOROUGH, Conditionals
from pushforward.rows.place_law import PlaceLaw

CODES, NUMBERS = [1, 3, 1], [True, False, True]
PLACES = [Places(-6, 6), Places(), Places(-6, 6)]
MEANS = torch.tensor([-1.0, 0.0, 2.0])
SLOPE, NOISE = 0.8, 0.1


class Known:
    """x normal; a category of three of even shares; y normal about SLOPE x + the category's mean."""

    def whole_log_prob(self, rows):
        code, z, _ = split(rows.double())
        x, y = z[:, 0], z[:, 2]
        found = _normal(x, 0.0, 1.0) - math.log(3) + _normal(y, SLOPE * x + MEANS[code[:, 1]], NOISE)
        return torch.where((code < 0).any(1), math.nan, found)

    def log_prob_with(self, rows, column, code, z, half):
        return _expanded(self, rows, column, code, z, half)


class OneRowHasNoLaw(Known):
    def whole_log_prob(self, rows):
        found = super().whole_log_prob(rows)
        return torch.where(rows[:, 3] > 1.0, math.nan, found)


def _normal(x, mean, std):
    return -((x - mean) ** 2) / (2 * std**2) - math.log(std * math.sqrt(2 * math.pi))


def _expanded(whole, rows, column, code, z, half):
    num = code.shape[1]
    cells = rows.unflatten(1, (3, -1)).repeat_interleave(num, 0)
    for k, part in enumerate((code, z, half)):
        cells[:, k, column] = part.reshape(-1).to(rows.dtype)
    return whole.whole_log_prob(cells.flatten(1)).view(-1, num)


def proposal(seed=0):
    """Return a network that has learned nothing."""
    torch.manual_seed(seed)
    model = RowQuestions(CODES, NUMBERS, width=16).eval()
    with torch.no_grad():
        model.network.last.weight.normal_(std=0.2)
    return model


def known_rows(n=300, seed=0):
    random = torch.Generator().manual_seed(seed)
    x, code = torch.randn(n, generator=random), torch.randint(3, (n,), generator=random)
    y = SLOPE * x + MEANS[code] + NOISE * torch.randn(n, generator=random)
    codes = torch.stack((torch.zeros(n), code.float(), torch.zeros(n)), 1)
    return torch.cat((codes, torch.stack((x, torch.zeros(n), y), 1), torch.zeros(n, 3)), 1)


@pytest.fixture
def conditionals():
    return Conditionals(proposal(), PLACES, Known())


def test_the_law_of_a_number_is_that_of_whole_rows(conditionals):
    rows = known_rows()
    numbers = conditionals.law_of(2, rows).numbers
    code, z, _ = split(rows.double())
    middle = SLOPE * z[:, 0] + MEANS[code[:, 1]]
    quantiles = numbers.quantile(torch.tensor([[0.05, 0.5, 0.95]], dtype=torch.float64).expand(len(rows), 3))
    expected = middle[:, None] + NOISE * torch.tensor([-1.645, 0.0, 1.645])
    assert (quantiles - expected).abs().mean() < 0.1 * NOISE  # the proposal's own are off by more than 1


def test_the_law_of_a_category_is_that_of_whole_rows(conditionals):
    rows = known_rows()
    _, z, _ = split(rows.double())
    log_each = _normal(z[:, 2:], SLOPE * z[:, :1] + MEANS, NOISE)
    torch.testing.assert_close(conditionals.law_of(1, rows).log_share.exp(), log_each.softmax(1))


def test_cells_are_as_probable_as_whole_rows_say(conditionals):
    rows = known_rows()
    code, z, _ = split(rows.double())
    found = conditionals.columns_log_prob(rows, [0, 1, 2], THOROUGH)
    of_y = _normal(z[:, 2], SLOPE * z[:, 0] + MEANS[code[:, 1]], NOISE)
    assert (found[:, 2] - of_y).abs().mean() < 0.05
    precision = 1 + SLOPE**2 / NOISE**2
    mean = SLOPE / NOISE**2 * (z[:, 2] - MEANS[code[:, 1]]) / precision
    assert (found[:, 0] - _normal(z[:, 0], mean, precision**-0.5)).abs().mean() < 0.05
    of_code = _normal(z[:, 2:], SLOPE * z[:, :1] + MEANS, NOISE).log_softmax(1).gather(1, code[:, 1:2])[:, 0]
    torch.testing.assert_close(found[:, 1], of_code)


def test_few_candidates_tell_likely_cells_from_unlikely_ones(conditionals):
    rows, wrong = known_rows(), known_rows()
    wrong[:, 5] = wrong[:, 5].roll(1)
    usual, unusual = (conditionals.columns_log_prob(part, [2], QUICK)[:, 0] for part in (rows, wrong))
    assert (usual[:, None] > unusual).double().mean() > 0.9
    assert (
        proposal().columns_log_prob(rows)[:, None, 2] > proposal().columns_log_prob(wrong)[:, 2]
    ).double().mean() < 0.7


def test_what_is_drawn_follows_the_law_of_whole_rows(conditionals):
    rows = known_rows(1).repeat(4_000, 1)
    rows[:, 0] = -1  # x is missing
    drawn = conditionals.fill(rows, generator=torch.Generator().manual_seed(0))[1][:, 0]
    alone = Conditionals(proposal(), PLACES).fill(rows, generator=torch.Generator().manual_seed(0))[1][:, 0]
    code, z, _ = split(rows[:1].double())
    expected = float((z[0, 2] - MEANS[code[0, 1]]) / SLOPE)
    near = [float(((part - expected).abs() < 0.3).double().mean()) for part in (drawn, alone)]
    assert near[0] > 3 * near[1]
    assert (drawn.abs() <= 6).all()


def test_cells_that_are_there_are_left_as_they_are(conditionals):
    rows = known_rows(50)
    rows[::2, 1] = -1
    code, z = conditionals.fill(rows, generator=torch.Generator().manual_seed(0))
    assert (code >= 0).all()
    kept = rows[:, :3] >= 0
    assert (code[kept] == rows[:, :3][kept]).all()
    assert (z[kept] == rows[:, 3:6][kept]).all()


def test_a_row_that_has_no_law_is_answered_by_the_network_alone():
    rows = known_rows()
    whole, alone = Conditionals(proposal(), PLACES, OneRowHasNoLaw()), Conditionals(proposal(), PLACES)
    no_law = rows[:, 3] > 1.0
    assert no_law.any()
    for effort in (QUICK, THOROUGH):
        found, expected = (one.columns_log_prob(rows, [1, 2], effort) for one in (whole, alone))
        torch.testing.assert_close(found[no_law], expected[no_law])
        assert not torch.isclose(found[~no_law], expected[~no_law]).any()
    z = torch.linspace(-3, 3, 7, dtype=torch.float64).expand(len(rows), 7)
    laws = [one.law_of(2, rows).numbers.cdf(z) for one in (whole, alone)]
    torch.testing.assert_close(laws[0][no_law], laws[1][no_law])


@pytest.mark.parametrize("effort", [QUICK, THOROUGH])
def test_a_row_is_answered_alike_whatever_stands_beside_it(conditionals, effort):
    rows = known_rows(700)
    alone = torch.cat([conditionals.columns_log_prob(rows[k : k + 1], [0, 1, 2], effort) for k in (0, 5, 699)])
    torch.testing.assert_close(
        conditionals.columns_log_prob(rows, [0, 1, 2], effort)[[0, 5, 699]], alone, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"num_context": 1}, {"marked": [1, 2]}])
def test_a_joint_scores_exchanged_cells_as_whole_rows(options, dtype):
    codes, numbers = [2, 4, 3, 2, 1], [False, True, False, False, True]
    torch.manual_seed(0)
    joint = RowJoint(codes, numbers, width=40, **options).to(dtype).eval()
    with torch.no_grad():
        joint.network.last.weight.normal_(std=0.3)
        for block in joint.network.blocks:
            block.second.weight.normal_(std=0.2)
    code = torch.stack([torch.randint(-1, size, (30,)) for size in codes], 1)
    rows = torch.cat((code.float(), torch.randn(30, 5), torch.rand(30, 5).round() * 0.1), 1).to(dtype)
    for column in range(options.get("num_context", 0), 5):
        cells = torch.randint(codes[column], (30, 3)), torch.randn(30, 3), torch.zeros(30, 3)
        torch.testing.assert_close(
            joint.log_prob_with(rows, column, *cells), _expanded(joint, rows, column, *cells), equal_nan=True
        )
        assert joint.log_prob_with(rows, column, *cells).isfinite().any()


def test_a_weighed_law_has_the_density_that_the_weights_say():
    """From one logistic to another: the cdf between two ends, the quantiles and the mean of the weights."""
    old = PlaceLaw(torch.tensor([[[0.0], [0.0], [0.0]]], dtype=torch.float64), -6.0, 6.0)
    new = PlaceLaw(torch.tensor([[[0.0], [0.7], [-1.0]]], dtype=torch.float64), -6.0, 6.0)
    share = (torch.arange(400, dtype=torch.float64)[None] + 0.5) / 400
    z, nothing = old.quantile(share), torch.zeros(1, 400, dtype=torch.float64)
    log_weight = new.mixture_log_prob(z, nothing) - old.mixture_log_prob(z, nothing)
    weighed, log_mean = old.weighed(share, log_weight + 1.5)
    assert float(log_mean) == pytest.approx(1.5, abs=0.01)
    at = torch.linspace(-6, 6, 50, dtype=torch.float64)[None]
    np.testing.assert_allclose(weighed.cdf(at), new.cdf(at), atol=0.005)
    np.testing.assert_allclose(weighed.cdf(weighed.quantile(share)), share, atol=1e-6)
    np.testing.assert_allclose(old.cdf(old.quantile(weighed.shares_at(share))), weighed.shares_at(share), atol=1e-6)
    both = PlaceLaw.joined([old, weighed])
    np.testing.assert_allclose(both.cdf(at.expand(2, 50)), torch.cat((old.cdf(at), weighed.cdf(at))))
    assert float(weighed.cdf(torch.tensor([[-6.0, 6.0]]).double()).diff()) == pytest.approx(1.0)
