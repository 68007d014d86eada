"""Toy densities: the truth they carry is the truth of the points they give."""

import math
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from sklearn.datasets import make_circles, make_moons

import pushforward as pf
from pushforward.data.toy_laws import GaussianPeaks

LABELLED = [name for name, make in pf.data.TOYS.items() if make(2).density.num_labels]


def integral(density, label=None):
    """The integral of exp(log_prob) over a grid around 20,000 draws."""
    points = density.draw(20_000, torch.Generator().manual_seed(3))[0]
    margin = 0.15 * (points.amax(0) - points.amin(0))
    low, high = points.amin(0) - margin, points.amax(0) + margin
    axes = [torch.linspace(a, b, 200).double() for a, b in zip(low, high, strict=True)]
    area = math.prod((axis[1] - axis[0]).item() for axis in axes)
    return density.log_prob(torch.cartesian_prod(*axes), label=label).exp().sum().item() * area


def density_of(name, standardize=False):
    return pf.data.TOYS[name](500, standardize=standardize).density


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", pf.data.TOYS)
def test_a_density_integrates_to_one(name, standardize):
    # The grid blurs the edges of the squares; every other density is smooth.
    tolerance = 0.02 if name == "chequerboard" else 1e-4
    assert integral(density_of(name, standardize)) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("name", LABELLED)
def test_a_density_given_its_label_integrates_to_one(name):
    density = density_of(name)
    for label in (0, density.num_labels - 1):
        assert integral(density, label) == pytest.approx(1, abs=0.02 if name == "chequerboard" else 1e-4)


@pytest.mark.parametrize("name", pf.data.TOYS)
def test_the_entropy_is_the_mean_of_minus_log_prob(name):
    density = density_of(name, standardize=True)
    values = -density.log_prob(density.sample(100_000, 1).double())
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(density.entropy(), abs=4 * error + 1e-9)


@pytest.mark.parametrize("name", LABELLED)
def test_the_conditional_entropy_is_the_mean_of_minus_log_prob_given_the_label(name):
    density = density_of(name, standardize=True)
    x, labels = density.sample_with_labels(20_000, 1)
    values = -density.log_prob(x.double(), label=labels)
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(density.conditional_entropy(), abs=4 * error + 1e-9)


@pytest.mark.parametrize("name", LABELLED)
def test_the_labels_densities_mix_to_the_whole(name):
    density = density_of(name)
    x = density.sample(200, 2).double()
    parts = [p * density.log_prob(x, label=k).exp() for k, p in enumerate(density.label_proportions)]
    torch.testing.assert_close(sum(parts), density.log_prob(x).exp())


@pytest.mark.parametrize("name", LABELLED)
def test_draws_keep_the_label_proportions(name):
    density = density_of(name)
    _, labels = density.sample_with_labels(20_000, 4)
    shares = labels.bincount(minlength=density.num_labels) / 20_000
    expected = torch.tensor(density.label_proportions)
    assert (shares - expected).abs().max() < 4 * math.sqrt(0.25 / 20_000)


@pytest.mark.parametrize("name", LABELLED)
def test_sampling_a_label_gives_points_of_that_label(name):
    density = density_of(name)
    x = density.sample(2000, 5, label=1)
    values = -density.log_prob(x.double(), label=1)
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(density.entropy(label=1), abs=4 * error + 1e-9)


@pytest.mark.parametrize(
    ("density", "entropy", "conditional"),
    [
        (pf.data.two_moons(2, noise=0.05).density, 0.289, -0.404),
        (pf.data.two_moons(2).density, 1.0076, 0.3163),
        (pf.data.two_moons(2, noise=0.2).density, 1.6775, 1.0606),
        (pf.data.circles(2).density, 0.7876, None),
        (pf.data.hexagon(2).density, 0.0245, -1.7673),
        (pf.data.hexagon(2, num_labels=2).density, 0.0245, -0.6120),
        (pf.data.two_gaussians(2).density, -1.2674, 1 + math.log(2 * math.pi * 0.01)),
        (pf.data.chequerboard(2).density, math.log(5 / 9), -math.log(9)),
        (pf.data.eight_gaussians(2).density, 2.8316, None),
        (pf.data.boomerang(2).density, math.log(2 * math.pi * math.e * 0.25), None),
        (pf.data.pinwheel(2).density, 2.3206, 1 + math.log(2 * math.pi * 0.3 * 0.1 * 4)),
    ],
)
def test_entropies_are_the_reference_values(density, entropy, conditional):
    assert density.entropy() == pytest.approx(entropy, abs=5e-4)
    if conditional is not None:
        assert density.conditional_entropy() == pytest.approx(conditional, abs=5e-4)


def test_standardizing_moves_the_entropy_by_the_log_stds_actually_used():
    raw, data = pf.data.two_moons(5000, seed=7), pf.data.two_moons(5000, seed=7, standardize=True)
    std = raw.x.double().std(0, correction=0)
    assert data.density.entropy() == pytest.approx(raw.density.entropy() - std.log().sum().item(), abs=1e-6)
    torch.testing.assert_close(data.x.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(data.x.std(0, correction=0), torch.ones(2))


def arc_log_density(x, noise, sign, centre):
    """Log-density of centre + sign (cos a, sin a) + noise, a uniform on [0, pi], by adaptive quadrature."""

    def exponent(a):
        gap = (x[0] - centre[0] - sign * np.cos(a)) ** 2 + (x[1] - centre[1] - sign * np.sin(a)) ** 2
        return -gap / (2 * noise**2)

    angles = np.linspace(0, np.pi, 4001)
    best = angles[exponent(angles).argmax()]
    cuts = sorted({0.0, np.pi, *np.clip(best + noise * np.array([-5, -1, 0, 1, 5]), 0, np.pi)})
    parts = [
        quad(lambda a: np.exp(exponent(a) - exponent(best)), low, high, epsabs=0, epsrel=1e-11)[0]
        for low, high in pairwise(cuts)
    ]
    return math.log(sum(parts) / math.pi) + exponent(best) - math.log(2 * math.pi * noise**2)


@pytest.mark.parametrize("noise", [0.3, 0.1, 0.05, 0.02])
@pytest.mark.parametrize("x", [(0.0, 0.0), (0.5, 0.25), (-1.2, 0.1), (1.0, 1.0), (0.5, -0.6), (1.0, -0.02)])
def test_moons_log_prob_is_the_integral_along_the_arcs(noise, x):
    density = pf.data.two_moons(2, noise=noise).density
    arcs = [arc_log_density(x, noise, 1, (0.0, 0.0)), arc_log_density(x, noise, -1, (1.0, 0.5))]
    expected = np.logaddexp(*arcs) - math.log(2)
    assert density.log_prob(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("x", [(0.5, 0.2), (-1.6, 2.0), (2.9, 0.3), (-3.0, -0.1), (0.0, 0.0)])
def test_spirals_log_prob_is_the_integral_along_the_arms(x, label):
    def exponent(v):
        t = 3 * np.pi * np.sqrt(v)
        arm = (1 - 2 * label) * np.stack([-t * np.cos(t), t * np.sin(t)]) / 3
        return -((x[0] - arm[0]) ** 2 + (x[1] - arm[1]) ** 2) / (2 * 0.1**2)

    v = np.linspace(0, 1, 40_001)
    best = exponent(v).max()
    near = v[exponent(v) > best - 40]
    cuts = np.linspace(near[0], near[-1], 30)
    parts = [quad(lambda v: np.exp(exponent(v) - best), *ends, epsabs=0, epsrel=1e-11)[0] for ends in pairwise(cuts)]
    expected = math.log(sum(parts)) + best - math.log(2 * math.pi * 0.1**2)
    found = pf.data.spirals(2).density.log_prob(torch.tensor(x, dtype=torch.float64), label=label)
    assert found.item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("arm", range(5))
def test_pinwheel_is_a_gaussian_once_the_twist_is_undone(arm):
    # x = 2 R(2 pi arm / 5 + exp|u| / 4) u with u ~ N((1, 0), diag(.3^2, .1^2)); the twist keeps areas.
    u = torch.tensor([[1.0, 0.0], [0.6, 0.05], [1.7, -0.1]]).double()
    angle = 2 * math.pi * arm / 5 + u.norm(dim=-1).exp() / 4
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)
    x = 2 * (turn @ u[..., None]).squeeze(-1)
    expected = stats.multivariate_normal([1, 0], np.diag([0.3**2, 0.1**2])).logpdf(u) - math.log(4)
    found = pf.data.pinwheel(2).density.log_prob(x, label=arm)
    torch.testing.assert_close(found, torch.from_numpy(expected))


CORNERS = [(math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)) for k in range(6)]
PEAKS = {  # label by label: the centre; the width and the shares
    "two-gaussians": ([(0.75, 0.75), (0.25, 0.25)], 0.1, [0.2, 0.8]),
    "two-blobs": ([(-0.5, 0.5), (0.5, -0.5)], 0.2, [0.5, 0.5]),
    "hexagon": (CORNERS, 0.1, [1 / 6] * 6),
    "eight-gaussians": (
        [(math.sqrt(8) * math.cos(k * math.pi / 4), math.sqrt(8) * math.sin(k * math.pi / 4)) for k in range(8)],
        0.5 / math.sqrt(2),
        [1 / 8] * 8,
    ),
}


@pytest.mark.parametrize("name", PEAKS)
def test_the_peaks_of_each_label_are_where_they_are_said_to_be(name):
    centres, width, shares = PEAKS[name]
    density = density_of(name)
    assert density.label_proportions == pytest.approx(shares)
    x = torch.randn(50, 2).double()
    for label, centre in enumerate(centres):
        expected = stats.multivariate_normal(centre, width**2).logpdf(x)
        torch.testing.assert_close(density.log_prob(x, label=label), torch.from_numpy(expected))


def test_a_hexagon_of_two_labels_gives_the_first_to_two_opposite_corners():
    density = pf.data.hexagon(2, num_labels=2).density
    expected = sum(stats.multivariate_normal(CORNERS[k], 0.01).pdf(CORNERS) / 2 for k in (0, 3))
    found = density.log_prob(torch.tensor(CORNERS, dtype=torch.float64), label=0).exp()
    torch.testing.assert_close(found, torch.from_numpy(expected))


def test_moons_and_circles_follow_scikit_learns_laws():
    ours = pf.data.two_moons(4000).x.numpy()
    theirs = make_moons(4000, noise=0.1, random_state=0)[0]
    assert min(stats.ks_2samp(ours @ v, theirs @ v).pvalue for v in ([1, 0], [0, 1], [1, 1], [1, -1])) > 0.001
    ours = pf.data.circles(4000).x.numpy()
    theirs = make_circles(4000, noise=0.06, factor=0.5, random_state=0)[0]
    assert min(stats.ks_2samp(ours @ v, theirs @ v).pvalue for v in ([1, 0], [0, 1], [1, 1])) > 0.001
    assert stats.ks_2samp(np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1)).pvalue > 0.001


def test_labels_of_moons_and_circles_count_as_scikit_learns():
    moons, circles = pf.data.two_moons(2000), pf.data.circles(2000)
    assert moons.x[moons.labels == 0, 1].mean() > moons.x[moons.labels == 1, 1].mean()
    assert circles.x[circles.labels == 0].norm(dim=1).min() > circles.x[circles.labels == 1].norm(dim=1).max()


def test_the_chequerboard_is_minus_infinity_outside_its_squares():
    density = pf.data.chequerboard(2).density
    x = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.5, 0.1], [-0.1, 0.1], [float("nan"), 0.1]])
    expected = torch.tensor([math.log(9 / 5)] * 2 + [-torch.inf] * 2 + [torch.nan])
    torch.testing.assert_close(density.log_prob(x), expected, equal_nan=True)


@pytest.mark.parametrize("u", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("standardize", [False, True])
def test_float32_moves_no_point_of_the_chequerboard_out_of_its_square(monkeypatch, u, standardize):
    monkeypatch.setattr(torch, "rand", lambda *shape, dtype, generator: torch.full(shape, u, dtype=dtype))
    data = pf.data.chequerboard(500, standardize=standardize)
    assert data.density.log_prob(data.x, label=data.labels).isfinite().all()


@pytest.mark.parametrize("name", pf.data.TOYS)
def test_points_have_the_promised_shapes_and_types(name):
    x, labels, density = pf.data.TOYS[name](7)
    assert x.shape == (7, 2)
    assert x.dtype == torch.float32
    assert labels is None if name == "boomerang" else labels.shape == (7,) and labels.dtype == torch.int64
    assert density.log_prob(x).dtype == torch.float32
    for batch in [(), (0,), (2, 3)]:
        assert density.log_prob(torch.zeros(*batch, 2)).shape == batch


@pytest.mark.parametrize("name", pf.data.TOYS)
def test_far_points_are_not_nan_and_nan_stays_nan(name):
    density = density_of(name)
    far = density.log_prob(torch.tensor([[1e30, -1e30], [1e6, 0.0], [0.0, 0.0]]).double())
    assert not far.isnan().any()
    assert density.log_prob(torch.tensor([torch.nan, 0.0])).isnan()


@pytest.mark.parametrize("name", pf.data.TOYS)
def test_one_seed_gives_one_draw_and_never_a_point_of_the_training_set(name):
    make = pf.data.TOYS[name]
    data = make(1000, seed=3)
    assert torch.equal(data.x, make(1000, seed=3).x)
    assert not torch.equal(data.x, make(1000, seed=4).x)
    assert torch.equal(data.density.sample(1000, 3), data.density.sample(1000, 3))
    for seed in range(5):
        fresh = data.density.sample(1000, seed)
        assert not (data.x[:, None] == fresh).all(-1).any()


def test_the_gradient_of_log_prob_is_finite_and_right():
    density = pf.data.two_moons(2).density
    x = torch.tensor([[0.3, 0.8], [1.0, 0.2], [4.0, -3.0]], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(density.log_prob, x)


def test_peaks_may_have_unequal_weights_within_a_label():
    density = GaussianPeaks([(0, 0), (5, 0), (0, 5)], 0.1, [0.1, 0.3, 0.6], [0, 0, 1])
    assert density.label_proportions == pytest.approx((0.4, 0.6))
    share = (density.sample(10_000, 0, label=0)[:, 0] > 2).double().mean().item()
    assert share == pytest.approx(0.75, abs=0.02)
    assert integral(density, 0) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pf.data.two_moons(10, noise=0.0), "noise must be above 0; got 0.0"),
        (lambda: pf.data.circles(10, noise=-1.0), "noise must be above 0; got -1.0"),
        (lambda: pf.data.circles(10, factor=1.5), "factor must be above 0 and below 1; got 1.5"),
        (lambda: pf.data.boomerang(10, noise=math.nan), "noise must be above 0; got nan"),
        (lambda: pf.data.hexagon(10, num_labels=3), "num_labels must be 2 or 6; got 3"),
        (lambda: pf.data.two_moons(0), "num_samples must be an integer of at least 1; got 0"),
        (
            lambda: pf.data.two_moons(1, standardize=True),
            "where standardize=True, must be an integer of at least 2",
        ),
        (lambda: density_of("boomerang").conditional_entropy(), "has no labels; use entropy"),
        (lambda: density_of("boomerang").sample_with_labels(3, 0), "has no labels; use sample"),
        (lambda: density_of("boomerang").entropy(label=0), "has no labels; got label 0"),
        (lambda: density_of("hexagon").sample(3, 0, label=6), "label must be an integer from 0 to 5; got \\[6\\]"),
        (lambda: density_of("hexagon").log_prob(torch.zeros(3, 3)), "got torch.float32 of shape \\(3, 3\\)"),
        (lambda: density_of("hexagon").log_prob(torch.zeros(3, 2).long()), "x must be float"),
    ],
)
def test_bad_input_is_named_with_its_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- three small sets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pf.data.THREE_SETS)
def test_the_three_sets_are_split_at_random_and_keep_every_point(name):
    first, again, other = (pf.data.three_sets(name, seed=seed) for seed in (0, 0, 1))
    assert first.train.shape == (400, 2)
    assert first.test.shape == (100, 2)
    assert torch.equal(first.test, again.test)
    assert not torch.equal(first.test, other.test)
    everything = [torch.cat(sample).sum(-1).sort().values for sample in (first, other)]
    assert torch.equal(*everything)


def test_the_three_sets_hold_the_files_points_column_by_column():
    sample = pf.data.three_sets("boomerang")
    lines = files("pushforward.data").joinpath("probai/boomerang.csv").read_text().splitlines()[1:]
    points = {tuple(np.float32(cell) for cell in line.split(",")) for line in lines}
    assert {tuple(row) for part in sample for row in part.numpy()} == points


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="name must be one of two-moons, two-blobs, boomerang; got 'moons'."):
        pf.data.three_sets("moons")
