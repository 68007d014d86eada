"""Base densities: log_prob against torch.distributions, support, temperature, reproducible samples."""

import copy
import math

import pytest
import torch
from torch import distributions, nn
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.bases import (
    SAVEABLE_DISTRIBUTIONS,
    Base,
    Box,
    DiagonalNormal,
    FromTorch,
    GaussianMixture,
    Joint,
    StandardNormal,
    density,
)
from pushforward.errors import InputError

UNIVARIATE = {
    "Beta": distributions.Beta(2.0, 3.0),
    "Cauchy": distributions.Cauchy(0.5, 1.0),
    "Chi2": distributions.Chi2(3.0),
    "Exponential": distributions.Exponential(2.0),
    "Gamma": distributions.Gamma(2.0, 1.5),
    "Gumbel": distributions.Gumbel(0.0, 1.0),
    "HalfCauchy": distributions.HalfCauchy(1.0),
    "HalfNormal": distributions.HalfNormal(1.0),
    "Kumaraswamy": distributions.Kumaraswamy(2.0, 3.0),
    "Laplace": distributions.Laplace(0.0, 1.0),
    "LogNormal": distributions.LogNormal(0.0, 0.5),
    "Normal": distributions.Normal(1.0, 2.0),
    "Pareto": distributions.Pareto(1.0, 3.0),
    "StudentT": distributions.StudentT(4.0, 1.0, 2.0),
    "Uniform": distributions.Uniform(-1.0, 2.0),
    "VonMises": distributions.VonMises(0.5, 2.0),
    "Weibull": distributions.Weibull(1.0, 2.0),
    "a mixture": distributions.MixtureSameFamily(
        distributions.Categorical(torch.tensor([0.3, 0.7])), distributions.Normal(torch.tensor([-1.0, 2.0]), 0.5)
    ),
}
BASES = {
    "standard normal": StandardNormal,
    "diagonal normal": lambda features: zoo.perturb(DiagonalNormal(features)),
    "mixture": lambda features: zoo.perturb(GaussianMixture(features, 3)),
    "box": lambda features: Box(features, low=-1.0, high=2.0),
    "joint": lambda features: Joint([zoo.perturb(DiagonalNormal(1)) for _ in range(features)]),
    **{name: (lambda features, d=d: FromTorch(d, features)) for name, d in UNIVARIATE.items()},
}
every = pytest.mark.parametrize("name", BASES)


def make(name, features=2):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BASES[name](features)


def test_every_distribution_that_can_be_saved_is_tested():
    assert set(SAVEABLE_DISTRIBUTIONS) == set(UNIVARIATE) - {"a mixture"}


@every
def test_samples_are_the_generators_and_leave_the_global_state_alone(name):
    base, before = make(name), torch.get_rng_state()
    one, same = (base.sample((3, 4), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, same)
    assert one.shape == (3, 4, 2)
    assert one.dtype == torch.float32
    assert not torch.equal(one, base.sample((3, 4), generator=torch.Generator().manual_seed(2)))
    assert torch.equal(torch.get_rng_state(), before)
    assert base.sample((0,)).shape == (0, 2)
    assert base.sample(()).shape == (2,)


@every
def test_a_number_of_samples_is_one_axis(name):
    base = make(name)
    ten, same = (base.sample(shape, generator=torch.Generator().manual_seed(1)) for shape in (10, (10,)))
    assert ten.shape == (10, 2)
    assert torch.equal(ten, same)
    with pytest.raises(InputError, match="shape's sizes must be an integer of at least 0; got -1"):
        base.sample((3, -1))
    with pytest.raises(InputError, match=f"{type(base).__name__} takes no context; got one of shape"):
        base.sample(3, context=torch.zeros(3, 1))


# Two with all of their mass so near an end that float32 rounds much of it there.
STEEP = {
    "Kumaraswamy near 0": distributions.Kumaraswamy(0.2, 40.0),
    "Kumaraswamy near 1": distributions.Kumaraswamy(40.0, 0.2),
    "Kumaraswamy at both ends": distributions.Kumaraswamy(0.5, 0.5),
    "Weibull near 0": distributions.Weibull(1.0, 0.2),
}


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-24])
@pytest.mark.parametrize("name", sorted({*UNIVARIATE, *STEEP} - {"VonMises"}))  # whose draws are accepted or rejected
def test_no_sample_is_infinite_whatever_the_generator_gives(name, uniform, monkeypatch):
    base = FromTorch(STEEP[name], 2) if name in STEEP else make(name)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, uniform, dtype=torch.float32))
        x = base.sample(5, generator=torch.Generator().manual_seed(0))
    assert x.isfinite().all()
    assert base.log_prob(x).isfinite().all()


@pytest.mark.parametrize("name", STEEP)
def test_the_density_near_an_end_is_the_one_of_float64(name):
    base = FromTorch(STEEP[name], 1)
    x = base.sample(2000, generator=torch.Generator().manual_seed(0))
    right = copy.deepcopy(base).double().log_prob(x.double())
    assert_close(base.log_prob(x).double(), right, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("distribution", "end"),
    [
        (distributions.Kumaraswamy(0.5, 2.0), 0.0),
        (distributions.Kumaraswamy(2.0, 2.0), 1.0),
        (distributions.Beta(0.5, 0.5), 1.0),
        (distributions.Gamma(0.5, 1.0), 0.0),
        (distributions.Weibull(1.0, 0.5), 0.0),
    ],
)
def test_an_end_with_an_infinite_density_or_none_is_outside(distribution, end):
    base, z = FromTorch(distribution, 2), torch.tensor([[end, 0.3], [0.3, 0.3]], requires_grad=True)
    log_prob = base.log_prob(z)
    assert log_prob[0] == -math.inf
    assert log_prob[1].isfinite()
    assert torch.autograd.grad(log_prob[1], z)[0].isfinite().all()


def test_an_end_with_a_finite_density_is_inside():
    assert FromTorch(distributions.Exponential(2.0), 1).log_prob(torch.zeros(1)) == math.log(2.0)
    assert_close(
        FromTorch(distributions.Kumaraswamy(1.0, 1.0), 1).log_prob(torch.tensor([[0.0], [1.0]])), torch.zeros(2)
    )


class Shifted(Base):
    """A base of a user's own: `log_prob` and `sample`, and nothing else."""

    features, context_features = 2, 1

    def log_prob(self, z, context=None):
        return StandardNormal(2).log_prob(z - context)

    def sample(self, shape, *, context=None, temperature=1.0, generator=None):
        return StandardNormal(2).sample(shape, temperature=temperature, generator=generator) + context


def test_a_base_of_ones_own_needs_log_prob_and_sample_alone():
    flow, context = pf.Flow(pf.transforms.Scale(2.0), Shifted()), torch.tensor([[50.0], [-50.0]])
    x = flow.sample(5, context)
    assert x.shape == (2, 5, 2)
    assert (x[0] > 10).all()
    assert flow.log_prob(x, context[:, None]).shape == (2, 5)


def test_a_base_without_sample_says_so():
    class Half(Base):
        features = 2

        def log_prob(self, z, context=None):
            return z.sum(-1)

    with pytest.raises(NotImplementedError, match="Half must implement sample"):
        Half().sample(3)


@every
@torch.no_grad()
def test_samples_follow_the_density(name):
    # With n samples, k of them in a bin of probability p, (k - n p)^2 / (n p) adds up to about the number of bins, 20.
    base, n = make(name, 1).double(), 20_000
    x = base.sample((n,), generator=torch.Generator().manual_seed(0))[:, 0]
    edges = x.quantile(torch.linspace(0.005, 0.995, 21, dtype=x.dtype))
    z = edges[:-1] + (edges[1:] - edges[:-1]) * torch.linspace(0, 1, 1001, dtype=x.dtype)[:, None]  # (1001, 20)
    p = torch.trapezoid(base.log_prob(z[..., None]).exp(), z, dim=0)
    counts = torch.histogram(x, edges).hist
    assert ((counts - n * p).square() / (n * p)).sum() < 60


@pytest.mark.parametrize("name", UNIVARIATE)
def test_from_torch_is_the_distributions_own_log_prob_inside_the_support(name):
    base, distribution = make(name), UNIVARIATE[name]
    x = distribution.sample((50, 2))
    assert_close(base.log_prob(x), distribution.log_prob(x).sum(-1))


@pytest.mark.parametrize(
    "name", ["standard normal", "diagonal normal", "mixture", "box", "joint", "Uniform", "Normal", "StudentT"]
)
def test_log_prob_far_away_and_its_gradient_are_not_nan(name):
    base = make(name)
    z = torch.tensor([[1e15, 1e15], [-1e15, 0.5], [-3.0, 0.5], [-1e30, 1e30]], requires_grad=True)
    log_prob = base.log_prob(z)
    assert not log_prob.isnan().any()
    gradients = torch.autograd.grad(log_prob.clamp(min=-1e30).sum(), [z, *base.parameters()], allow_unused=True)
    assert not any(gradient.isnan().any() for gradient in gradients if gradient is not None)


@every
def test_nan_is_nan_even_beside_a_value_outside(name):
    log_prob = make(name).log_prob(torch.tensor([[math.nan, -1e9], [math.nan, 0.5], [0.5, math.nan]]))
    assert log_prob.isnan().all()


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("box", [-1.001, 2.001, math.inf]),
        ("Uniform", [-1.001, 2.001, -math.inf]),
        ("Exponential", [-0.001, -1e30, math.inf]),
        ("Beta", [-0.001, 1.001]),
        ("Pareto", [0.999]),
        ("VonMises", [3.2, -3.2, 1e9]),
        ("Gamma", [-0.1, math.inf]),
    ],
)
def test_outside_the_support_it_is_minus_infinity(name, outside):
    z = torch.full((len(outside), 2), 1.0 if name == "Pareto" else 0.5)
    z[:, 1] = torch.tensor(outside)
    z.requires_grad_()
    log_prob = make(name).log_prob(z)
    assert torch.equal(log_prob, torch.full((len(outside),), -math.inf))
    assert make(name).log_prob(z.detach()[:, :1].expand(-1, 2)).isfinite().all()
    (gradient,) = torch.autograd.grad(log_prob.sum(), z, allow_unused=True)
    assert gradient is None or gradient.isfinite().all()


def test_log_probs_are_torchs(monkeypatch):
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    assert_close(StandardNormal(3).log_prob(z), distributions.Normal(0.0, 1.0).log_prob(z).sum(-1))
    diagonal = zoo.perturb(DiagonalNormal(3))
    assert_close(diagonal.log_prob(z), distributions.Normal(diagonal.mean, diagonal.log_std.exp()).log_prob(z).sum(-1))
    mixture = zoo.perturb(GaussianMixture(3, 4))
    components = distributions.Independent(distributions.Normal(mixture.mean, mixture.log_std.exp()), 1)
    reference = distributions.MixtureSameFamily(distributions.Categorical(logits=mixture.logits), components)
    assert_close(mixture.log_prob(z), reference.log_prob(z))
    with torch.no_grad():
        by_differences = mixture.log_prob(z)
        monkeypatch.setattr(density, "DIRECT", 0)
        assert_close(mixture.log_prob(z), by_differences)
    assert_close(Box(2, low=-1.0, high=3.0).log_prob(torch.zeros(2)), torch.tensor(-2 * math.log(4)))


def test_the_components_of_a_fresh_mixture_are_spread_over_the_standard_normal():
    mean = GaussianMixture(2, 2000).mean.detach()  # equal ones would get equal gradients and never part
    assert_close(mean.mean(0), torch.zeros(2), rtol=0, atol=0.1)
    assert_close(mean.std(0), torch.ones(2), rtol=0, atol=0.1)


def test_the_ends_of_a_box_belong_to_it():
    corners = torch.tensor([[-1.0, 3.0], [3.0, -1.0]])
    assert_close(Box(2, low=-1.0, high=3.0).log_prob(corners), torch.full((2,), -2 * math.log(4)))


def test_a_mixture_keeps_its_digits_far_from_the_origin():
    torch.manual_seed(0)
    mixture = GaussianMixture(50, 70)
    with torch.no_grad():
        mixture.mean.add_(1000)
        mixture.log_std.normal_(-3, 0.5)
        z = mixture.mean[:5] + 0.05 * torch.randn(5, 50)
    components = distributions.Independent(
        distributions.Normal(mixture.mean.double(), mixture.log_std.double().exp()), 1
    )
    reference = distributions.MixtureSameFamily(distributions.Categorical(logits=mixture.logits.double()), components)
    assert_close(mixture.log_prob(z).double(), reference.log_prob(z.double()), rtol=0, atol=0.02)  # float32's spacing


@torch.no_grad()
@pytest.mark.parametrize(("features", "dtype"), [(2, torch.float32), (2, torch.float64), (500, torch.float32)])
def test_a_component_far_away_costs_the_others_no_digits(features, dtype):
    torch.manual_seed(0)
    mixture = GaussianMixture(features, 5).to(dtype)
    mixture.mean[0], mixture.log_std[:] = 1e4, -4.0
    z = mixture.mean[1:] + 0.02 * torch.randn(4, features, dtype=dtype)
    wide = distributions.Normal(mixture.mean.double(), mixture.log_std.double().exp())
    reference = distributions.MixtureSameFamily(
        distributions.Categorical(logits=mixture.logits.double()), distributions.Independent(wide, 1)
    )
    assert_close(mixture.log_prob(z).double(), reference.log_prob(z.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("features", [3, 600])  # by differences, and multiplied out
@pytest.mark.parametrize("infinite", [math.inf, -math.inf])
def test_a_mixture_is_zero_at_infinity_and_nan_at_nan(infinite, features):
    z = torch.zeros(4, features)
    z[1, 0], z[2, 1], z[3, 0], z[3, 1] = infinite, math.nan, infinite, math.nan
    mixture = zoo.perturb(GaussianMixture(features, 4))
    found = mixture.log_prob(z)
    assert found[0].isfinite()
    assert found[1] <= torch.finfo(torch.float32).min
    assert found[2:].isnan().all()


@torch.no_grad()
def test_temperature_scales_the_standard_deviation():
    for name in ("standard normal", "diagonal normal"):
        frozen, cold, warm = (
            make(name).sample((1000,), temperature=t, generator=torch.Generator().manual_seed(0))
            for t in (1e-9, 0.5, 1)
        )
        assert_close(cold - frozen, 0.5 * (warm - frozen), rtol=1e-4, atol=1e-5)
        assert frozen.std(0).max() < 1e-6
    mixture = make("mixture")
    cold = mixture.sample((500,), temperature=1e-9)
    assert (cold[:, None] - mixture.mean).abs().sum(-1).min(1).values.max() < 1e-6


@pytest.mark.parametrize("name", ["box", "Uniform", "StudentT"])
def test_bases_without_a_temperature_refuse_one(name):
    with pytest.raises(ValueError, match=r"(Box|FromTorch) has no temperature; got temperature=0.5, use 1"):
        make(name).sample((2,), temperature=0.5)


def test_joint_bases_are_independent_and_keep_their_order():
    mixture, box = make("mixture"), Box(1, low=-3.0, high=-2.0)
    joint = Joint([mixture, box])
    z = torch.tensor([[0.3, 0.5, -2.5], [1.0, 0.0, -1.9]])
    assert_close(joint.log_prob(z)[0], mixture.log_prob(z[0, :2]) + box.log_prob(z[0, 2:]))
    assert joint.log_prob(z)[1] == -math.inf
    samples = joint.sample((500,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(samples[:, :2], mixture.sample((500,), generator=torch.Generator().manual_seed(0)))
    assert ((samples[:, 2] > -3) & (samples[:, 2] < -2)).all()
    assert (joint.features, joint.has_rsample, Joint([box, box]).has_rsample) == (3, False, box.has_rsample)
    with pytest.raises(ValueError, match="Box has no temperature"):
        joint.sample((2,), temperature=0.5)


def test_joint_bases_share_a_context():
    class Centred(pf.bases.Base):
        features, context_features = 1, 2

        def log_prob(self, z, context=None):
            return -(z - context[..., :1]).square().sum(-1)

        def sample(self, shape, *, context=None, temperature=1.0, generator=None):
            return context[..., :1].expand(*shape, 1)

    joint, context = Joint([StandardNormal(1), Centred()]), torch.tensor([5.0, 0.0])
    assert joint.context_features == 2
    found = joint.log_prob(torch.zeros(3, 2), context)
    assert_close(found, StandardNormal(1).log_prob(torch.zeros(3, 1)) - 25)
    flow = pf.recipes.realnvp(2, num_layers=1, context_features=2, base=joint)
    assert_close(flow.sample(4, context)[:, 1], torch.full((4,), 5.0))


def test_one_distribution_for_each_feature():
    base = FromTorch(distributions.Normal(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 0.1])), 2)
    samples = base.sample((4000,), generator=torch.Generator().manual_seed(0))
    assert_close(samples.mean(0), torch.tensor([0.0, 5.0]), rtol=0, atol=0.06)
    assert base.log_prob(torch.tensor([0.0, 5.0])) > base.log_prob(torch.tensor([5.0, 0.0])) + 1000


def test_from_torch_moves_with_the_module():
    base = make("Gamma").double()
    assert base.sample((2,)).dtype == torch.float64
    assert base.log_prob(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_a_base_of_another_dtype_serves_a_flow():
    wide = distributions.Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    flow = pf.recipes.realnvp(2, base=FromTorch(wide, 2))
    assert flow.sample(3).dtype == torch.float32
    x, log_prob = flow.sample_and_log_prob(3)
    assert_close(flow.log_prob(x), log_prob.float(), rtol=1e-5, atol=1e-5)


def test_who_can_be_differentiated_says_so():
    assert [make(name).has_rsample for name in ("standard normal", "diagonal normal", "mixture")] == [True, True, False]
    base = make("diagonal normal")
    assert base.sample((3,)).requires_grad


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StandardNormal(0), "features must be an integer of at least 1; got 0"),
        (lambda: StandardNormal(2.0), "features must be an integer of at least 1; got 2.0"),
        (lambda: GaussianMixture(2, 0), "num_components must be an integer of at least 1; got 0"),
        (lambda: Joint([]), "bases must be a list of at least one base"),
        (lambda: Joint([StandardNormal(1), nn.Identity()]), r"bases\[1\] must be a base of pf.bases; got Identity"),
        (lambda: Box(2, low=1.0, high=1.0), "low must be below high; got low=1.0, high=1.0"),
        (
            lambda: FromTorch(distributions.Normal(torch.zeros(3), 1.0), 2),
            r"batch shape \(\) or \(2,\); got batch shape \(3,\)",
        ),
        (lambda: FromTorch(distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)), 2), r"event shape \(2,\)"),
        (lambda: FromTorch(distributions.Poisson(3.0), 2), "must have a density; Poisson is discrete"),
    ],
)
def test_impossible_bases_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
