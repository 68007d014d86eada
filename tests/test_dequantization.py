"""What continuous densities say of integer pixels: units, bits, learned noise, Gaussians to beat, and memory."""

import itertools
import math

import pytest
import torch

import pushforward as pf
from pushforward.losses import Batch
from pushforward.studies.digits.gaussians import gaussian_mixture, whole_gaussian
from pushforward.training.data import batches
from pushforward.transforms import Affine, Compose, Elementwise, Logit, Scale, Shift
from test_images import real_files

D = 784


def pixels(num_images=20, features=D, levels=256):
    return torch.randint(levels, (num_images, features), dtype=torch.uint8)


def perturbed(flow, size=0.05):
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return flow


# ---- units -----------------------------------------------------------------------------------------------------------


def test_eight_bit_noise_is_eight_bits_for_a_flow_that_is_uniform():
    flow = pf.Flow(Scale(1 / 256), pf.bases.Box(D))
    score = pf.metrics.nll(flow, pixels(), dequantize=256)
    assert pf.metrics.bits_per_dim(score.mean, D) == pytest.approx(8, abs=1e-6)
    assert score.num_outside == 0


def test_the_two_dequantizations_differ_by_their_units_alone():
    flow = perturbed(pf.recipes.realnvp(D, num_layers=2, preprocessing=pf.data.pixel_units("1/256")))
    x = pixels()
    nats = {
        name: pf.metrics.nll(flow, x, dequantize=256, units=pf.data.pixel_units(name)).mean
        for name in ("1/256", "1/255")
    }
    assert nats["1/255"] - nats["1/256"] == pytest.approx(3.0684, abs=2e-3)  # 784 ln(256 / 255)
    levels = pf.metrics.bits_per_dim(pf.metrics.nll(flow, x, dequantize=256).mean, D)
    for width, name in ((1 / 256, "1/256"), (1 / 255, "1/255")):
        assert pf.metrics.bits_per_dim(nats[name], D, bin_width=width) == pytest.approx(levels, abs=1e-5)


def test_the_sheets_variant_is_the_pixel_plus_a_255th_of_the_noise():
    u = torch.rand(5, 4)
    x = pixels(5, 4)
    made, _ = Compose(pf.data.pixel_units("1/255"))(x + u)
    torch.testing.assert_close(made, x / 255 + u / 255)


def test_nats_in_logit_space_leave_the_preprocessings_log_det_out():
    units = pf.data.pixel_units("logit")
    flow = perturbed(pf.recipes.realnvp(6, num_layers=2, preprocessing=units))
    x = pixels(50, 6)
    noisy = []
    spy = type("Spy", (), {"log_prob": lambda self, x, context=None: noisy.append(x) or flow.log_prob(x)})()
    score = pf.metrics.nll(spy, x, dequantize=256, units=units)
    seen, log_det, _ = flow.preprocess(torch.cat(noisy))
    p = 1e-6 + (1 - 2e-6) * torch.cat(noisy).double() / 256
    torch.testing.assert_close(seen.double(), p.log() - (1 - p).log(), rtol=1e-4, atol=1e-4)
    assert score.mean == pytest.approx((log_det - flow.log_prob(torch.cat(noisy))).mean().item(), abs=1e-4)


def test_units_without_a_name_are_refused():
    with pytest.raises(pf.InputError, match="name must be one of 1/256, 1/255, logit; got '1/254'"):
        pf.data.pixel_units("1/254")
    with pytest.raises(ValueError, match=r"units must be a list of transforms.*pixel_units\('logit'\); got '1/256'"):
        pf.metrics.nll(affine_flow(), pixels(5, 2), dequantize=256, units="1/256")
    with pytest.raises(ValueError, match="bin_width must be above 0"):
        pf.metrics.bits_per_dim(1.0, 2, bin_width=0)


# ---- learned noise ---------------------------------------------------------------------------------------------------


def affine_flow():
    """A density with two learned numbers a feature, no more than a Gaussian; it starts around the bin of (1, 2)."""
    return pf.Flow(Elementwise(2, Affine()), pf.bases.StandardNormal(2), [Shift((-1.5, -2.5)), Scale(2.0)])


class Given(torch.nn.Module):
    """A conditioner that returns the same numbers for every row, and keeps the context it was shown."""

    context_features = 2

    def __init__(self, numbers):
        super().__init__()
        self.numbers = torch.nn.Parameter(numbers)

    def forward(self, x, context=None):
        self.context = context
        return self.numbers.expand(*x.shape[:-1], -1)


def learned(levels=4):
    noise = pf.recipes.realnvp(2, context_features=2, num_layers=2, hidden_features=(16,))
    return pf.VariationalDequantization(affine_flow(), noise, levels=levels)


def log_probability(flow, x, context=None):
    """log of the flow's own probability of the bins (x, x + 1), by a grid of 400 x 400 points."""
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    grid = torch.cartesian_prod(u, u)
    return torch.stack([torch.logsumexp(flow.log_prob(k + grid, context).double(), 0) for k in x]) - 2 * math.log(400)


def test_new_noise_is_uniform():
    model, x = learned(), torch.randint(4, (4000, 2))
    bound = model.bound(x, generator=torch.Generator().manual_seed(0)).mean().item()
    uniform = -pf.metrics.nll(model.flow, x, dequantize=4).mean
    assert bound == pytest.approx(uniform, abs=0.15)
    v, log_q = model.noise.sample_and_log_prob(1, torch.zeros(5, 2))
    torch.testing.assert_close(log_q, -0.5 * (v.square() + math.log(2 * math.pi)).sum(-1))


@torch.no_grad()
def test_the_bound_is_one_for_any_noise_and_rises_to_the_probability():
    model = learned()
    perturbed(model.noise, 0.3)
    x = torch.tensor([[1, 2], [0, 2], [2, 1]])
    truth = log_probability(model.flow, x)
    generator = torch.Generator().manual_seed(0)
    one = model.bound(x.repeat(4000, 1), generator=generator).reshape(4000, 3).mean(0)
    many = model.bound(x, num_samples=20_000, generator=generator)
    assert bool((one < truth - 0.002).all())
    torch.testing.assert_close(many.double(), truth, atol=0.02, rtol=0)


def test_learned_noise_beats_uniform_noise_where_the_density_is_a_gaussian():
    # Two levels, of which one occurs: a Gaussian is .1765 nats a feature from the uniform law on a bin.
    x = torch.tensor([[1, 2]]).repeat(500, 1)
    options = {"num_steps": 300, "learning_rate": 0.05, "batch_size": 100, "progress": False}
    plain, model = affine_flow(), learned()
    pf.fit(plain, x, dequantize=4, **options)
    pf.fit(model, x, loss=pf.losses.dequantized_nll, **options)
    uniform = pf.metrics.nll(plain, x, dequantize=4).mean
    assert uniform == pytest.approx(math.log(2 * math.pi * math.e / 12), abs=0.03)
    with torch.no_grad():
        bound = -model.bound(x, num_samples=1).mean().item()
        assert -log_probability(model.flow, x[:1]).item() <= bound + 0.01
    assert bound < uniform - 0.2


@torch.no_grad()
def test_learned_noise_stretches_the_context_over_its_samples():
    flow = perturbed(pf.recipes.realnvp(2, num_layers=2, hidden_features=(4,), context_features=3), 0.3)
    model = pf.VariationalDequantization(flow, learned().noise, levels=4)
    x, context = torch.tensor([[1, 2], [0, 3]]), torch.randn(2, 3)
    bound = model.bound(x, context, num_samples=20_000, generator=torch.Generator().manual_seed(0))
    truth = [log_probability(flow, x[row : row + 1], context[row]) for row in range(2)]
    torch.testing.assert_close(bound.double(), torch.cat(truth), atol=0.02, rtol=0)


@pytest.mark.parametrize("far", [-30.0, 30.0])
def test_learned_noise_stays_off_both_ends_of_the_range(far):
    noise = pf.Flow(Elementwise(2, Affine(), Given(torch.tensor([-far, -far, 0, 0]))), pf.bases.StandardNormal(2))
    flow = pf.Flow(Scale(1.0), pf.bases.StandardNormal(2), [Scale(1 / 4), Logit(0.0)])  # -inf at 0 and at 4
    bound = pf.VariationalDequantization(flow, noise, levels=4).bound(torch.tensor([[0, 3], [3, 0]]))
    assert bound.isfinite().all()


def test_learned_noise_sees_levels_from_minus_one_to_one():
    given = Given(torch.zeros(4))
    noise = pf.Flow(Elementwise(2, Affine(), given), pf.bases.StandardNormal(2))
    pf.VariationalDequantization(affine_flow(), noise, levels=5).bound(torch.tensor([[0, 4], [2, 1]]))
    torch.testing.assert_close(given.context.squeeze(), torch.tensor([[-1, 1], [0, -0.5]]))


def test_the_loss_is_minus_the_bound_of_as_many_samples_as_it_is_told():
    model, x = learned(), torch.randint(4, (6, 2))
    perturbed(model.noise, 0.3)
    loss = pf.losses.dequantized_nll(model, Batch(x, None, None, 6), torch.Generator().manual_seed(0), num_samples=7)
    torch.testing.assert_close(loss, -model.bound(x, num_samples=7, generator=torch.Generator().manual_seed(0)))


def test_probes_of_the_noise_are_drawn_anew():
    noise = pf.recipes.cnf(2, context_features=2, trace="hutchinson", method="rk4", num_steps=1, num_probes=20)
    before = noise.transform.probes.clone()
    pf.VariationalDequantization(affine_flow(), noise, levels=4).redraw(torch.Generator().manual_seed(0))
    assert not torch.equal(noise.transform.probes, before)


def test_probes_and_start_of_the_parts_come_from_fit():
    flow = pf.recipes.cnf(
        2, trace="hutchinson", method="rk4", num_steps=1, hidden_features=(4,), num_probes=20,
        preprocessing=[pf.transforms.Standardize(2)],
    )  # fmt: skip
    model = pf.VariationalDequantization(flow, learned().noise, levels=4)
    before, x = flow.transform.probes.clone(), torch.randint(4, (400, 2))
    pf.fit(model, x, validation=None, loss=pf.losses.dequantized_nll, num_steps=1, progress=False)
    assert not torch.equal(flow.transform.probes, before)
    standardized, _, _ = flow.preprocess(x + 0.5)
    torch.testing.assert_close(standardized.mean(0), torch.zeros(2), atol=0.06, rtol=0)
    assert bool((standardized.std(0) < 1).all())


def test_the_noise_too_learns_its_start_from_data():
    noise = pf.recipes.realnvp(
        2, num_layers=2, context_features=2, hidden_features=(4,), preprocessing=[pf.transforms.ActNorm(2)]
    )
    noise.context_preprocessing.append(pf.transforms.Standardize(2))
    model = pf.VariationalDequantization(affine_flow(), noise, levels=256)
    x = torch.randint(100, 256, (4000, 2), dtype=torch.uint8)
    model.initialize(x)
    context, _ = noise.context_preprocessing[0](2 * x.float() / 255 - 1)
    torch.testing.assert_close(context.std(0), torch.ones(2), atol=0.01, rtol=0)
    torch.testing.assert_close(context.mean(0), torch.zeros(2), atol=0.01, rtol=0)
    assert bool(noise.preprocessing[0].initialized)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pf.VariationalDequantization(affine_flow(), pf.recipes.realnvp(2)), "as many of context; got 2"),
        (lambda: pf.VariationalDequantization(affine_flow(), "uniform"), "noise must be a Flow; got 'uniform'"),
        (lambda: learned().bound(torch.tensor([[0, 3]]), num_samples=0), "num_samples must be an integer of"),
        (lambda: learned(levels=1), "levels must be an integer of at least 2"),
        (lambda: learned().bound(torch.zeros(3, 2)), r"tensor of integers, \(n, 2\); got torch.float32, \(3, 2\)"),
        (lambda: learned().bound(torch.tensor([[0, 4]])), "integers from 0 to 3; got 0 to 4"),
    ],
)
def test_what_does_not_fit_learned_noise_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- Gaussians to beat -----------------------------------------------------------------------------------------------


def test_the_whole_gaussian_is_that_of_mean_and_covariance():
    x = pixels(3000, 5, levels=17)
    baseline = whole_gaussian(x, 0, copies=2)
    y = x.double().repeat(2, 1) + 0.5
    torch.testing.assert_close(baseline.density.coefficients[0], y.mean(0), atol=0.03, rtol=0)
    covariance = torch.cov(y.T) + torch.eye(5) / 12
    made = baseline.density.cholesky @ baseline.density.cholesky.T
    torch.testing.assert_close(made, covariance, atol=0.2, rtol=0)


def test_baselines_are_densities_in_levels_whatever_their_units():
    x = pixels(400, 2) // 8 + 100
    step = 1.0
    grid = torch.arange(step / 2, 256, step, dtype=torch.float64)
    grid = torch.cartesian_prod(grid, grid)
    for make, units in itertools.product((whole_gaussian, gaussian_mixture), ((), pf.data.pixel_units("logit"))):
        baseline = make(x, 0, units=units)
        assert baseline.log_prob(grid).exp().sum().item() * step**2 == pytest.approx(1, abs=0.05), (make, units)


def test_a_mixture_finds_groups_that_one_gaussian_does_not():
    x = torch.cat([pixels(300, 4, levels=20), 200 + pixels(300, 4, levels=20)])
    mixture = gaussian_mixture(x, 0, num_components=2, shrinkage=1)
    nats = [pf.metrics.nll(model, x, dequantize=256).mean for model in (mixture, whole_gaussian(x, 0))]
    assert mixture.density.weights.tolist() == [0.5, 0.5]
    assert nats[0] == pytest.approx(4 * (0.5 * math.log(2 * math.pi * math.e * 400 / 12)) + math.log(2), abs=0.2)
    assert nats[1] > nats[0] + 1


def test_more_components_than_images_are_refused():
    with pytest.raises(ValueError, match="num_components must be from 1 to 10, the number of images; got 11"):
        gaussian_mixture(pixels(10, 4), 0, num_components=11)


@real_files
def test_one_gaussian_scores_on_mnist_what_was_published():
    data, units = pf.data.mnist(), pf.data.pixel_units("logit")
    gaussian = whole_gaussian(data.train.x, 0, units=units)
    score = pf.metrics.nll(gaussian, data.test.x, dequantize=256, units=units)
    # Papamakarios et al. (2017), table 2: -1366.9 +- 1.4 (two standard errors); ours has a standard error of .7.
    assert score.mean == pytest.approx(1366.9, abs=2)
    assert score.standard_error == pytest.approx(0.72, abs=0.05)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_a_model_learns_its_start_from_a_bounded_number_of_numbers(monkeypatch):
    seen = []
    flow = pf.recipes.realnvp(20, num_layers=1, hidden_features=(2,))
    flow.initialize = lambda x, context=None: seen.append(x.shape)
    monkeypatch.setattr(batches, "LEARNING_NUMBERS", 1000)
    pf.fit(flow, torch.zeros(200, 20, dtype=torch.uint8), dequantize=2, num_steps=1, progress=False)
    assert seen == [(50, 20)]
