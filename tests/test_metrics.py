"""Metrics against cases with a known answer and against slow references."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal

import pushforward as pf


class Gaussian:
    """A model with log_prob, and a truth with fresh draws: N(mean + context, std^2 I)."""

    def __init__(self, features=2, mean=0.0, std=1.0):
        self.features, self.mean, self.std = features, mean, std

    def log_prob(self, x, context=None, *, label=None):
        shift = 0 if context is None else context
        shift = shift + (0 if label is None else 5.0 * label[:, None])
        return Normal(self.mean + shift, self.std, validate_args=False).log_prob(x).sum(-1)

    def sample(self, num_samples, seed):
        noise = torch.randn(num_samples, self.features, generator=torch.Generator().manual_seed(seed))
        return self.mean + self.std * noise

    def sample_with_labels(self, num_samples, seed):
        labels = torch.arange(num_samples) % 2
        return self.sample(num_samples, seed) + 5.0 * labels[:, None], labels


class Support:
    """Uniform on [low, high)^D; remembers what it was shown."""

    def __init__(self, low, high):
        self.low, self.high, self.seen = low, high, []

    def log_prob(self, x, context=None):
        self.seen.append(x)
        inside = ((x >= self.low) & (x < self.high)).all(-1)
        return torch.where(inside, -x.shape[-1] * math.log(self.high - self.low), -torch.inf)


def test_nll_of_the_true_model_is_its_entropy():
    score = pf.metrics.nll(Gaussian(3, std=2.0), Gaussian(3, std=2.0).sample(20_000, 0))
    entropy = 3 * (0.5 * math.log(2 * math.pi * math.e) + math.log(2))
    assert score.mean == pytest.approx(entropy, abs=4 * score.standard_error)
    # -log_prob is half a chi^2 with 3 degrees of freedom: variance 3 / 2.
    assert score.standard_error == pytest.approx(math.sqrt(1.5 / 20_000), rel=0.05)
    chi2_median = 2.365974
    assert score.median - score.mean == pytest.approx((chi2_median - 3) / 2, abs=0.03)


def test_nll_does_not_depend_on_the_batch_size():
    x, context = Gaussian().sample(1000, 0), torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
    one, other = (pf.metrics.nll(Gaussian(), x, context, batch_size=size) for size in (1000, 7))
    assert one.mean == pytest.approx(other.mean, abs=1e-12)
    one, other = (pf.metrics.nll(Gaussian(), x[:2], context[:2], batch_size=size) for size in (2, 1))
    assert one.mean == pytest.approx(other.mean, abs=1e-12)
    pixels = torch.arange(40).reshape(10, 4)
    one, other = (pf.metrics.nll(Gaussian(4), pixels, dequantize=40, batch_size=size) for size in (10, 3))
    assert one.mean == pytest.approx(other.mean, abs=1e-12)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (300, 2)])
def test_nll_gives_each_row_its_context(shape):
    context = torch.full(shape, 3.0)
    x = Gaussian().sample(300, 0)
    assert pf.metrics.nll(Gaussian(), x + 3, context).mean == pytest.approx(
        pf.metrics.nll(Gaussian(), x).mean, abs=1e-5
    )


def test_one_outlier_moves_the_mean_but_not_the_robust_figures():
    x = Gaussian().sample(5000, 0)
    clean = pf.metrics.nll(Gaussian(), x)
    x[0] = 1e4
    soiled = pf.metrics.nll(Gaussian(), x)
    assert soiled.mean > clean.mean + 1000
    assert soiled.standard_error > 1000
    assert soiled.median == pytest.approx(clean.median, abs=0.01)
    assert soiled.trimmed_mean == pytest.approx(clean.trimmed_mean, abs=0.01)
    assert soiled.trimmed_standard_error == pytest.approx(clean.trimmed_standard_error, rel=0.02)


def test_the_trimmed_standard_error_is_the_spread_of_trimmed_means():
    model, scores = Gaussian(), [pf.metrics.nll(Gaussian(), Gaussian().sample(500, seed)) for seed in range(300)]
    assert model.features == 2
    spread = torch.tensor([score.trimmed_mean for score in scores]).std().item()
    assert np.mean([score.trimmed_standard_error for score in scores]) == pytest.approx(spread, rel=0.12)


class Listed:
    """A model whose negative log-likelihood of a row is the row's first number."""

    def log_prob(self, x, context=None):
        return -x[:, 0]


@pytest.mark.parametrize("num_rows", [4, 200, 301])
def test_a_score_is_scipys_mean_median_and_trimmed_mean_with_their_errors(num_rows):
    values = np.arange(num_rows, dtype=np.float64) ** 2
    score = pf.metrics.nll(Listed(), np.random.default_rng(0).permutation(values)[:, None])
    cut = math.ceil(0.01 * num_rows) / num_rows  # at least 1 % at each end
    assert score.mean == pytest.approx(values.mean())
    assert score.standard_error == pytest.approx(stats.sem(values))
    assert score.median == pytest.approx(np.median(values))
    assert score.trimmed_mean == pytest.approx(stats.trim_mean(values, cut))
    assert score.trimmed_standard_error == pytest.approx(stats.mstats.trimmed_stde(values, (cut, cut)))


def test_rows_outside_the_support_are_counted_and_make_the_mean_infinite():
    x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    x[:3] = 2.0
    score = pf.metrics.nll(Support(0, 1), x)
    assert (score.mean, score.num_outside, score.num_rows) == (math.inf, 3, 1000)
    assert (score.median, score.trimmed_mean) == (0, 0)
    assert "3 of 1000 rows outside the support" in str(score)


def test_a_nan_row_is_not_turned_into_a_number():
    x = torch.zeros(10, 2)
    x[4] = torch.nan
    score = pf.metrics.nll(Gaussian(), x)
    assert math.isnan(score.mean)
    assert score.num_outside == 0


def test_dequantized_bits_per_dim_of_a_uniform_model_are_the_bits_of_a_level():
    x = torch.randint(0, 256, (500, 7), generator=torch.Generator().manual_seed(0))
    model = Support(0, 256)
    score = pf.metrics.nll(model, x, dequantize=256)
    assert pf.metrics.bits_per_dim(score.mean, 7) == pytest.approx(8, abs=1e-6)
    noise = torch.cat(model.seen) - x
    assert noise.std().item() == pytest.approx(math.sqrt(1 / 12), rel=0.03)
    assert pf.metrics.nll(Gaussian(7), x, dequantize=256) == pf.metrics.nll(Gaussian(7), x, dequantize=256)
    assert pf.metrics.nll(Gaussian(7), x, dequantize=256) != pf.metrics.nll(Gaussian(7), x, dequantize=256, seed=1)


def test_dequantized_values_stay_strictly_between_zero_and_the_number_of_levels():
    model = Support(0, 256)
    pf.metrics.nll(model, torch.tensor([0, 255]).repeat(1000, 500), dequantize=256)
    seen = torch.cat(model.seen)
    assert seen.min() > 0
    assert seen.max() < 256


def test_nll_needs_no_gradient():
    weight = torch.ones(2, requires_grad=True)

    class Model:
        def log_prob(self, x, context=None):
            value = (x * weight).sum(-1)
            assert not value.requires_grad
            return value

    assert pf.metrics.nll(Model(), np.zeros((4, 2), dtype=np.float32)).mean == 0


def test_the_excess_of_the_truth_is_zero_without_error():
    score = pf.metrics.excess(Gaussian(), Gaussian(), 1000, 0)
    assert abs(score.mean) < 1e-6
    assert score.standard_error < 1e-6


def test_the_excess_is_the_kullback_leibler_divergence():
    score = pf.metrics.excess(Gaussian(mean=0.1, std=1.2), Gaussian(), 50_000, 0)
    divergence = 2 * (math.log(1.2) + (1 + 0.1**2) / (2 * 1.2**2) - 0.5)
    assert score.mean == pytest.approx(divergence, abs=4 * score.standard_error)
    assert score.standard_error < pf.metrics.nll(Gaussian(), Gaussian().sample(50_000, 0)).standard_error / 2


def test_the_excess_of_a_toy_density_over_itself_is_zero():
    class Model:
        def log_prob(self, x, context=None):
            return density.log_prob(x, label=None if context is None else context[:, 0].long())

    density = pf.data.two_moons(1000, standardize=True).density
    assert abs(pf.metrics.excess(Model(), density, 2000, 1).mean) < 1e-5
    conditional = pf.metrics.excess(Model(), density, 2000, 1, context_of_label=lambda labels: labels[:, None])
    assert abs(conditional.mean) < 1e-5


def test_the_conditional_excess_hands_the_flow_its_labels():
    score = pf.metrics.excess(
        Gaussian(), Gaussian(), 400, 0, context_of_label=lambda labels: 5.0 * labels[:, None].expand(-1, 2)
    )
    assert abs(score.mean) < 1e-5


def slow_mmd(a, b, width):
    def kernel(x, y):
        return math.exp(-((x - y) ** 2).sum() / (2 * width**2))

    n, m = len(a), len(b)
    within_a = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(kernel(x, y) for x in a for y in b) / (n * m)


def test_mmd_is_the_double_sum_without_the_diagonal():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(23, 3)), generator.normal(1, 2, size=(31, 3))
    assert pf.metrics.mmd(a, b, bandwidth=1.3) == pytest.approx(slow_mmd(a, b, 1.3), abs=1e-12)
    both = (slow_mmd(a, b, 0.5) + slow_mmd(a, b, 2.0)) / 2
    assert pf.metrics.mmd(a, b, bandwidth=(0.5, 2.0)) == pytest.approx(both, abs=1e-12)
    pooled = [*a, *b]
    median = float(np.median([np.linalg.norm(x - y) for i, x in enumerate(pooled) for y in pooled[:i]]))
    assert pf.metrics.median_bandwidth(a, b) == pytest.approx(median, rel=0.01)
    assert pf.metrics.mmd(a, b) == pytest.approx(slow_mmd(a, b, pf.metrics.median_bandwidth(a, b)), abs=1e-12)


def test_the_usual_kernel_width_is_the_median_distance_of_large_samples_too():
    a, b = torch.randn(1500, 2), 30 + 10 * torch.randn(1500, 2)
    median = torch.pdist(torch.cat([a, b])).median().item()
    assert pf.metrics.median_bandwidth(a, b) == pytest.approx(median, rel=0.03)


def test_mmd_keeps_its_digits_far_from_the_origin():
    a, b = torch.randint(640, (2, 50, 3)).double() / 64  # steps that 2^27 leaves as they are
    near, far = (pf.metrics.mmd(a + shift, b + shift, bandwidth=3.0) for shift in (0.0, 2.0**27))
    assert far == pytest.approx(near, abs=1e-9)


def test_mmd_of_two_gaussians_is_the_closed_form():
    a, b = Gaussian(2), Gaussian(2, mean=0.7)
    values = [pf.metrics.mmd(a.sample(300, seed), b.sample(200, 500 + seed), bandwidth=1.5) for seed in range(100)]
    h2, gap2 = 1.5**2, 2 * 0.7**2
    expected = 2 * h2 / (h2 + 2) * (1 - math.exp(-gap2 / (2 * (h2 + 2))))
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / 10)
    assert np.std(values) < expected / 4


def test_mmd_of_equal_laws_is_zero_on_average():
    values = [
        pf.metrics.mmd(Gaussian().sample(50, 2 * seed), Gaussian().sample(50, 2 * seed + 1), bandwidth=1.0)
        for seed in range(400)
    ]
    # The biased estimator would be near 2 / 50 x (1 - E k) = .027.
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / 20)
    assert np.std(values) < 0.03


def test_the_null_holds_the_observed_value_of_equal_laws_and_not_of_others():
    a, b = Gaussian().sample(300, 0), Gaussian().sample(250, 1)
    equal = pf.metrics.mmd_null(a, b, num_permutations=100)
    assert (equal.null > equal.limit).sum() == 5
    assert equal.observed == pytest.approx(pf.metrics.mmd(a, b), abs=1e-12)
    assert equal.p_value > 0.05
    assert equal.null.shape == (100,)
    assert equal.null.mean().item() == pytest.approx(0, abs=4 * equal.null.std().item() / 10)
    assert pf.metrics.mmd_null(a, b + 0.5, num_permutations=100).p_value == pytest.approx(1 / 101)


def test_a_null_value_is_the_mmd_of_its_split():
    a, b = Gaussian().sample(20, 0), Gaussian(mean=1.0).sample(15, 1)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(9))
    pooled, in_a = torch.cat([a, b]), torch.zeros(35, dtype=torch.bool)
    in_a[order[:20]] = True
    null = pf.metrics.mmd_null(a, b, bandwidth=1.0, num_permutations=1, seed=9).null
    assert null.item() == pytest.approx(pf.metrics.mmd(pooled[in_a], pooled[~in_a], bandwidth=1.0), abs=1e-12)


def test_a_random_split_as_far_apart_as_the_given_one_counts_against_it():
    a, b = torch.tensor([[0.0], [0.1]]), torch.tensor([[1.0], [1.1]])
    # Of the six ways to split four points, the given one and the same one with the roles changed.
    found = pf.metrics.mmd_null(a, b, bandwidth=1.0, num_permutations=600)
    assert found.p_value == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 600))


def test_c2st_is_a_half_for_equal_laws_and_bayes_accuracy_for_others():
    a, b = Gaussian().sample(1000, 0), Gaussian().sample(1500, 1)
    assert pf.metrics.c2st(a, b) == pytest.approx(0.5, abs=0.05)
    shift = torch.tensor([2.0, 0.0])
    bayes = Normal(0.0, 1.0).cdf(torch.tensor(1.0)).item()
    assert pf.metrics.c2st(a, b + shift) == pytest.approx(bayes, abs=0.04)
    assert pf.metrics.c2st(a, b + 100) > 0.99


def test_c2st_cuts_the_larger_sample_at_random():
    from sklearn.tree import DecisionTreeClassifier

    a, alike, far = torch.randn(200, 2), torch.randn(200, 2), 100 + torch.randn(200, 2)
    # Half of what is left of b is far, and told apart; the other half is taken for a.
    stump = DecisionTreeClassifier(max_depth=1)
    assert pf.metrics.c2st(a, torch.cat([alike, far]), classifier=stump) == pytest.approx(0.75, abs=0.06)


def test_c2st_takes_another_classifier():
    from sklearn.linear_model import LogisticRegression

    a, b = Gaussian().sample(1500, 0), Gaussian(mean=1.0).sample(1500, 1)
    bayes = Normal(0.0, 1.0).cdf(torch.tensor(math.sqrt(2) / 2)).item()
    assert pf.metrics.c2st(a, b, classifier=LogisticRegression()) == pytest.approx(bayes, abs=0.02)


def test_normal_latents_pass_and_their_moments_are_those_of_the_normal():
    report = pf.metrics.latent_normality(Gaussian(3).sample(20_000, 0), max_rows=300)
    for value, expected in ((report.mean, 0), (report.std, 1), (report.skewness, 0), (report.kurtosis, 0)):
        torch.testing.assert_close(value, torch.full((3,), float(expected)).double(), atol=0.1, rtol=0)
    assert report.quantiles.shape == (99, 3)
    torch.testing.assert_close(report.quantiles, report.normal_quantiles[:, None].expand(-1, 3), atol=0.1, rtol=0)
    assert report.kolmogorov_p_value > 0.05
    assert report.mmd_p_value > 0.05
    assert (report.num_rows, report.num_rows_tested) == (20_000, 300)


def test_moments_are_those_of_an_exponential():
    z = -torch.rand(200_000, 1, generator=torch.Generator().manual_seed(0)).log()
    report = pf.metrics.latent_normality(z, num_simulations=9, max_rows=100)
    assert report.skewness.item() == pytest.approx(2, abs=0.1)
    assert report.kurtosis.item() == pytest.approx(6, abs=0.6)
    # sup |1 - exp(-x) - Phi(x)| is at x = 0, where it is Phi(0).
    assert report.kolmogorov.item() == pytest.approx(0.5, abs=0.001)
    assert report.max_correlation == 0


def test_the_tests_of_normality_look_at_rows_picked_at_random():
    z = torch.cat([torch.randn(100, 2), 3 + torch.randn(900, 2)])
    report = pf.metrics.latent_normality(z, max_rows=100, num_simulations=19)
    assert report.kolmogorov_p_value == report.mmd_p_value == 1 / 20


def test_skewness_and_kurtosis_are_scipys():
    z = torch.randn(5000, 2).double().exp()
    report = pf.metrics.latent_normality(z, num_simulations=1, max_rows=10)
    np.testing.assert_allclose(report.skewness, stats.skew(z.numpy()), rtol=1e-3)
    np.testing.assert_allclose(report.kurtosis, stats.kurtosis(z.numpy()), rtol=1e-3)


def test_kolmogorov_distances_are_scipys():
    z = 0.9 * Gaussian(3).sample(200, 0).double() + 0.2
    report = pf.metrics.latent_normality(z, num_simulations=9)
    expected = [stats.kstest(column.numpy(), "norm").statistic for column in z.T]
    torch.testing.assert_close(report.kolmogorov, torch.tensor(expected, dtype=torch.float64))
    assert report.radius_kolmogorov == pytest.approx(stats.kstest(z.square().sum(1).numpy(), "chi2", (3,)).statistic)


def test_the_latent_mmd_is_the_closed_form_on_average():
    for shift in (0.0, 0.8):
        values = [
            pf.metrics.latent_normality(Gaussian(3, mean=shift).sample(60, seed), num_simulations=1).mmd
            for seed in range(200)
        ]
        expected = 2 * (6 / 8) ** 1.5 * (1 - math.exp(-3 * shift**2 / 16))
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / math.sqrt(200))


def test_p_values_of_normal_latents_are_uniform():
    reports = [
        pf.metrics.latent_normality(Gaussian(2).sample(60, seed), num_simulations=39, seed=1000 + seed)
        for seed in range(40)
    ]
    for name in ("kolmogorov_p_value", "mmd_p_value"):
        values = [getattr(report, name) for report in reports]
        assert np.mean(values) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 40))


def test_wrong_scale_is_seen_in_64_dimensions_and_dependence_in_two():
    scaled = pf.metrics.latent_normality(1.03 * Gaussian(64).sample(1000, 0))
    assert scaled.kolmogorov_p_value == 0.01
    assert scaled.radius_kolmogorov > 0.1
    z = Gaussian(2).sample(1000, 0)
    z[:, 0] = z[:, 0].abs() * z[:, 1].sign()
    dependent = pf.metrics.latent_normality(z)
    assert dependent.kolmogorov.max() < 0.05
    assert dependent.mmd_p_value == 0.01
    assert dependent.max_correlation == pytest.approx(2 / math.pi, abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pf.metrics.nll(Gaussian(), torch.zeros(2)), "x must be rows of shape \\(n, D\\)"),
        (lambda: pf.metrics.nll(Gaussian(), torch.zeros(1, 2)), "n at least 2; got shape \\(1, 2\\)"),
        (lambda: pf.metrics.nll(Gaussian(), torch.zeros(4, 2), torch.zeros(3, 2)), "one row for each row of x, 4"),
        (lambda: pf.metrics.nll(Gaussian(), torch.full((4, 2), 0.5), dequantize=256), "needs integers from 0 to 255"),
        (lambda: pf.metrics.nll(Gaussian(), torch.full((4, 2), 17), dequantize=17), "values from 17 to 17"),
        (
            lambda: pf.metrics.excess(Gaussian(), Gaussian(), 1, 0),
            "num_samples must be an integer of at least 2",
        ),
        (lambda: pf.metrics.bits_per_dim(1.0, 0), "features must be an integer of at least 1; got 0"),
        (lambda: pf.metrics.mmd(torch.zeros(5, 2), torch.zeros(5, 3)), "\\(5, 2\\) and \\(5, 3\\)"),
        (lambda: pf.metrics.mmd(torch.zeros(5, 2), torch.zeros(1, 2)), "at least 2 each"),
        (lambda: pf.metrics.mmd(torch.zeros(5, 2), torch.zeros(5, 2)), "the median distance between points is 0"),
        (lambda: pf.metrics.mmd(torch.zeros(5, 2), torch.zeros(5, 2), bandwidth=0), "bandwidth must be above 0; got 0"),
        (lambda: pf.metrics.mmd_null(torch.eye(5), torch.eye(5), num_permutations=0), "at least 1; got 0"),
        (lambda: pf.metrics.c2st(torch.eye(4), torch.eye(4)), "folds must be an integer from 2 to 4; got 5"),
        (lambda: pf.metrics.latent_normality(torch.zeros(4, 2)), "n at least 8; got shape \\(4, 2\\)"),
        (lambda: pf.metrics.latent_normality(torch.full((9, 2), torch.nan)), "z must be finite"),
    ],
)
def test_bad_input_is_named_with_its_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()
