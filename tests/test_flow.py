"""A flow: density and samples in the units of the data, shapes, context, steps, parts, and torch's distributions."""

import math

import numpy as np
import pytest
import torch
from torch import distributions
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.bases import Box, DiagonalNormal, FromTorch, GaussianMixture, StandardNormal
from pushforward.numerics import chunking
from pushforward.transforms import (
    Affine,
    Asinh,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    Logit,
    LULinear,
    Orthogonal,
    Permutation,
    Scale,
    Shift,
    Standardize,
    masks,
)

CONDITIONAL = [name for name in zoo.FLOWS if "context" in name]


def gaussian():
    """N((1, -1), diag(.25, 1)) as a flow: x = (.5 z1 + 1, z2 - 1)."""
    return pf.Flow(Inverse(Compose([Scale((0.5, 1.0)), Shift((1.0, -1.0))])), StandardNormal(2))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- density ---------------------------------------------------------------------------------------------------------


def test_an_affine_flow_is_torchs_multivariate_normal():
    flow, mean = gaussian(), torch.tensor([1.0, -1.0])
    normal = distributions.MultivariateNormal(mean, torch.diag(torch.tensor([0.25, 1.0])))
    x = 3 * torch.randn(200, 2, generator=seeded())
    assert_close(flow.log_prob(x), normal.log_prob(x))
    samples = flow.sample(100_000, generator=seeded(1))
    assert_close(samples.mean(0), mean, rtol=0, atol=0.02)
    assert_close(samples.T.cov(), normal.covariance_matrix, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", [n for n in zoo.FLOWS if zoo._RECIPES[n][1] <= 2])
@torch.no_grad()
def test_densities_integrate_to_one(name):
    flow = zoo.FLOWS[name]()
    context = zoo.context_for(flow, 1)
    samples = flow.sample(5000, None if context is None else context[0], generator=seeded())
    low, high = samples.min(0).values, samples.max(0).values
    steps = 500 if flow.features == 2 else 20_000
    sides = [torch.linspace(a - (b - a) / 2, b + (b - a) / 2, steps) for a, b in zip(low, high, strict=True)]
    points = torch.cartesian_prod(*sides).reshape(-1, flow.features)
    area = math.prod(float(side[1] - side[0]) for side in sides)
    assert_close(
        flow.log_prob(points, context).double().exp().sum() * area, torch.tensor(1.0).double(), rtol=3e-3, atol=0
    )


@pytest.mark.parametrize("make", [Standardize, Asinh])
def test_log_prob_is_in_the_units_of_the_data(make):
    x = torch.randn(300, 1, generator=seeded(), dtype=torch.float64).exp() * 50 + 7
    flow = zoo.FLOWS["nsf, D = 1"](preprocessing=[make(1)])
    flow.initialize(x)
    grid = torch.linspace(-3000, 6000, 200_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        assert_close(flow.log_prob(grid).exp().double().sum() * 0.045, torch.tensor(1.0).double(), rtol=1e-2, atol=0)


def test_a_logit_flow_has_all_its_mass_in_the_unit_interval():
    flow = zoo.FLOWS["nsf, D = 1"](preprocessing=[Logit(0.0)])
    grid = torch.linspace(-0.5, 1.5, 40_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        log_prob = flow.log_prob(grid)
    inside = ((grid > 0) & (grid < 1)).squeeze(-1)
    assert torch.all(log_prob[~inside] == -math.inf)
    assert_close(log_prob.double().exp().sum() * 5e-5, torch.tensor(1.0).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_sample_and_log_prob_agrees_with_log_prob(name):
    flow = zoo.FLOWS[name]().double()
    context = zoo.context_for(flow, 4)
    x, log_prob = flow.sample_and_log_prob(50, context, generator=seeded())
    again = flow.log_prob(x, None if context is None else context[:, None])
    assert_close(again, log_prob, rtol=zoo.tolerance(name), atol=10 * zoo.tolerance(name))


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_decode_undoes_encode(name):
    flow = zoo.FLOWS[name]().double()
    x, context = torch.randn(20, flow.features, generator=seeded(), dtype=torch.float64), zoo.context_for(flow, 20)
    assert_close(
        flow.decode(flow.encode(x, context), context), x, rtol=zoo.tolerance(name), atol=10 * zoo.tolerance(name)
    )


def test_outside_a_bases_support_the_density_is_zero_and_gradients_are_finite():
    flow = zoo.make_flow("realnvp", base=Box(2))
    x = torch.tensor([[0.5, 0.5], [50.0, 0.5]], requires_grad=True)
    log_prob = flow.log_prob(x)
    assert log_prob[1] == -math.inf
    gradients = torch.autograd.grad(log_prob.clamp(min=-100).sum(), [x, *flow.parameters()], allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


# ---- what goes in ----------------------------------------------------------------------------------------------------


def test_arrays_of_any_float_type_and_layout_are_taken():
    flow = zoo.FLOWS["realnvp"]()
    x = torch.randn(5, 2, generator=seeded())
    expected = flow.log_prob(x)
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    for same in (x.numpy(), x.double().numpy(), frozen, np.asfortranarray(x.numpy()), x.tolist()):
        got = flow.log_prob(same)
        assert got.dtype == torch.float32
        assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert_close(flow.log_prob(x.numpy()[::-1]), expected.flip(0), rtol=1e-5, atol=1e-5)
    assert_close(flow.log_prob(x.half()), flow.log_prob(x.half().float()), rtol=1e-2, atol=1e-2)


def test_float64_passes_the_preprocessing_in_float64():
    x = 1e9 + torch.randn(1000, 2, generator=seeded(), dtype=torch.float64)
    flow = pf.Flow(Compose([]), StandardNormal(2), [Standardize(2)])
    flow.initialize(x)
    z = flow.encode(x)
    assert z.dtype == torch.float32
    assert_close(z, ((x - x.mean(0)) / x.std(0, correction=0)).float())


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_any_batch_shape(name):
    flow = zoo.FLOWS[name]()
    D = flow.features
    for batch in ((), (0,), (7,), (2, 3)):
        x = torch.zeros(*batch, D)
        context = torch.zeros(*batch, flow.context_features) if flow.context_features else None
        assert flow.log_prob(x, context).shape == torch.Size(batch)
        assert flow.encode(x, context).shape == flow.decode(x, context).shape == torch.Size((*batch, D))


@pytest.mark.parametrize(
    ("x", "context", "message"),
    [
        (torch.zeros(3, 5), None, r"x must have 2 features on the last axis; got shape \(3, 5\)"),
        (torch.zeros(3, 2, 1), None, r"got shape \(3, 2, 1\): flatten images, channels first, with x.flatten\(1\)"),
        (torch.zeros(()), None, r"x must have 2 features on the last axis; got shape \(\)"),
        (torch.zeros(3, 2, dtype=torch.long), None, r"x holds integers \(int64\), which have no density: convert"),
        (np.zeros((3, 2), dtype=bool), None, r"x holds integers \(bool\)"),
        (torch.zeros(3, 2), torch.zeros(3, 1), r"Flow takes no context; got one of shape \(3, 1\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(x, context, message):
    flow = zoo.FLOWS["realnvp"]()
    for function in (flow.log_prob, flow.encode, flow.steps):
        with pytest.raises(ValueError, match=message):
            function(x, context)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_context_rules(name):
    flow = zoo.FLOWS[name]()
    x, context = torch.zeros(7, flow.features), zoo.context_for(flow, 7)
    assert_close(flow.log_prob(x, context[2]), flow.log_prob(x, context[2:3]))
    assert_close(flow.log_prob(x, context.numpy()), flow.log_prob(x, context.double()))
    with pytest.raises(ValueError, match="Flow needs context with 3 features; none was given"):
        flow.log_prob(x)
    with pytest.raises(ValueError, match="Flow needs context with 3 features; none was given"):
        flow.sample(3)
    with pytest.raises(ValueError, match=r"on the last axis; got shape \(7, 2\)"):
        flow.log_prob(x, context[:, :2])
    with pytest.raises(ValueError, match=r"context has batch \(7,\), x has batch \(7, 7\): use context\[:, None\]"):
        flow.log_prob(x.expand(7, 7, -1), context)


def test_parts_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="the parts of a Flow must have the same number of features; got Shift 3, "):
        pf.Flow(Shift((1.0, 2.0, 3.0)), StandardNormal(1))
    with pytest.raises(ValueError, match="got Standardize 3, StandardNormal 2"):
        pf.Flow(pf.recipes.nice(2).transform, StandardNormal(2), [Standardize(3)])
    transform = pf.recipes.realnvp(2, context_features=2).transform
    with pytest.raises(ValueError, match=r"must share one context; got context_features \[2, 3\]"):
        pf.Flow(transform, StandardNormal(2), [zoo._elementwise(2, Affine(), 3)])


# ---- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_samples_are_the_generators_and_leave_the_global_state_alone(name):
    flow, before = zoo.FLOWS[name](), torch.get_rng_state()
    context = zoo.context_for(flow, 2)
    one, same = (flow.sample(6, context, generator=seeded()) for _ in range(2))
    assert torch.equal(one, same)
    assert not one.requires_grad
    assert one.shape == ((6, flow.features) if context is None else (2, 6, flow.features))
    assert not torch.equal(one, flow.sample(6, context, generator=seeded(1)))
    assert torch.equal(torch.get_rng_state(), before)
    assert flow.sample(0, context).shape == (*one.shape[:-2], 0, flow.features)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 3), (2, 5, 3), (0, 3)])
def test_samples_have_the_contexts_shape_first(shape):
    flow = zoo.FLOWS["nsf, context"]()
    assert flow.sample(6, torch.zeros(shape)).shape == (*shape[:-1], 6, 2)


def test_each_row_of_context_gets_samples_of_its_own_distribution():
    net = torch.nn.Linear(1, 2, bias=False)

    class Mean(torch.nn.Module):
        context_features = 1

        def forward(self, kept, context=None):
            shift = net(context).expand(*kept.shape[:-1], -1)
            return torch.cat((-shift, torch.zeros_like(shift)), -1)

    torch.nn.init.ones_(net.weight)
    flow = pf.Flow(Elementwise(2, Affine(), Mean()), StandardNormal(2))
    means = flow.sample(4000, torch.tensor([[-20.0], [0.0], [30.0]]), generator=seeded()).mean(1)
    assert_close(means, torch.tensor([[-20.0] * 2, [0.0] * 2, [30.0] * 2]), rtol=0, atol=0.1)


@pytest.mark.parametrize("name", ["realnvp", "nsf, context", "maf, lu, context"])
@torch.no_grad()
def test_large_batches_pass_in_pieces_with_the_same_result(name, monkeypatch):
    flow = zoo.FLOWS[name]()
    context = zoo.context_for(flow, 4)
    own = None if context is None else context[:, None]
    x = torch.randn(4, 500, flow.features, generator=seeded())

    def results():
        shared = None if context is None else context[0]
        return [
            flow.sample(500, context, generator=seeded()),
            flow.log_prob(x, own),
            flow.encode(x, own),
            flow.decode(x, own),
            flow.log_prob(x, shared),
        ]

    whole = results()
    monkeypatch.setattr(chunking, "CHUNK_NUMBERS", 300 * flow.features)
    assert len(list(chunking.chunks(x, own))) == 7
    for got, expected in zip(results(), whole, strict=True):
        assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_temperature_narrows_the_samples_and_not_the_density():
    flow = gaussian()
    cold, log_prob = flow.sample_and_log_prob(20_000, temperature=0.1, generator=seeded())
    assert_close(cold.std(0), torch.tensor([0.05, 0.1]), rtol=0.03, atol=0)
    assert_close(log_prob, flow.log_prob(cold), rtol=1e-4, atol=1e-4)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature must be above 0; got"):
            flow.sample(2, temperature=wrong)
    for wrong in (-1, 2.5):
        with pytest.raises(ValueError, match="num_samples must be an integer of at least 0; got"):
            flow.sample(wrong)


def test_gradients_reach_the_parameters_through_samples():
    flow = zoo.FLOWS["realnvp"]()
    x, log_prob = flow.sample_and_log_prob(64, generator=seeded())
    energy = 0.5 * x.square().sum(-1)
    (log_prob + energy).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())
    assert any((p.grad != 0).any() for p in flow.parameters())


# ---- steps and parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in zoo.FLOWS if not name.startswith("cnf")])
def test_steps_lead_from_data_to_latent_and_back(name):
    flow = zoo.FLOWS[name](preprocessing=[Standardize(zoo.FLOWS[name]().features)])
    x, context = torch.randn(9, flow.features, generator=seeded()), zoo.context_for(flow, 9)
    flow.initialize(2 * x + 3, context)
    steps = flow.steps(x, context)
    names = ["Standardize", *(f"layer {number}" for number in range(1, len(flow.transform) + 1))]
    assert [step.name for step in steps] == names
    assert_close(steps[-1].value, flow.encode(x, context))
    total = sum(step.log_det for step in steps)
    assert_close(flow.base.log_prob(steps[-1].value) + total, flow.log_prob(x, context))
    back = flow.steps_inverse(steps[-1].value, context)
    assert [step.name for step in back] == names[::-1]
    assert_close(back[-1].value, x, rtol=1e-3, atol=1e-3)
    assert_close(sum(step.log_det for step in back), -total, rtol=1e-3, atol=1e-3)
    for step, before in zip(back[:-1], reversed(steps[:-1]), strict=True):
        assert_close(step.value, before.value, rtol=1e-3, atol=1e-3)


def test_steps_of_a_continuous_flow_are_states_in_time():
    flow = zoo.make_flow("cnf", preprocessing=[Standardize(2)])
    x = torch.randn(9, 2, generator=seeded())
    assert [step.name for step in flow.steps(x)][:3] == ["Standardize", "t = 0.875", "t = 0.75"]
    assert_close(flow.steps(x)[-1].value, flow.encode(x))
    assert_close(flow.from_base(0).log_prob(x), flow.base.log_prob(x))


@pytest.mark.parametrize("mixing", ["swap", "flip", "permute", "orthogonal", "lu"])
def test_from_base_keeps_preprocessing_and_fixed_mixing_and_the_steps_nearest_the_base(mixing):
    flow = zoo.make_flow("realnvp", mixing=mixing, num_layers=4, preprocessing=[Standardize(2)])
    x = torch.randn(30, 2, generator=seeded()) * 4 + 9
    flow.initialize(x)
    assert_close(flow.from_base(4).log_prob(x), flow.log_prob(x))
    standardized, steps = flow.preprocessing[0](x)[0], list(flow.transform)
    for num_layers in range(4):
        part = flow.from_base(num_layers)
        z = standardized
        for position, step in enumerate(steps):
            if position >= 4 - num_layers:
                z = step(z)[0]
            elif isinstance(step, Compose):
                for fixed in step:
                    z = fixed(z)[0] if isinstance(fixed, (Permutation, Orthogonal)) else z
        assert_close(part.encode(x), z)
        assert part.transform.names == flow.transform.names
    nothing = flow.from_base(0)
    assert not any(True for _ in nothing.parameters())
    assert_close(nothing.log_prob(x).exp().mean(), flow.from_base(0).log_prob(x).exp().mean())
    std = flow.preprocessing[0].std.float()
    normal = distributions.Normal(flow.preprocessing[0].mean.float(), std)
    assert_close(nothing.log_prob(x), normal.log_prob(x).sum(-1), rtol=1e-4, atol=1e-4)


def test_from_base_reaches_into_inverses_and_nested_compositions():
    coupling = zoo._coupling(masks.halves(2), Affine())
    step = Inverse(Compose([Compose([coupling, Permutation.reverse(2)]), LULinear(2)]))
    flow = zoo.perturb(pf.Flow(Compose([Scale(2.0), step]), StandardNormal(2)))
    assert_close(flow.from_base(0).encode(torch.tensor([1.0, 5.0])), torch.tensor([10.0, 2.0]))


def test_from_base_keeps_what_the_context_passes():
    flow = zoo.make_flow("nsf, context")
    flow = pf.Flow(flow.transform, flow.base, context_preprocessing=[Standardize(3)])
    x, context = torch.randn(50, 2, generator=seeded()), 5 + 3 * torch.randn(50, 3, generator=seeded(1))
    flow.initialize(x, context)
    assert_close(flow.from_base(3).log_prob(x, context), flow.log_prob(x, context))
    assert_close(flow.steps(x, context)[-1].value, flow.encode(x, context))
    assert pf.verify(flow, x, context).ok


def test_from_base_leaves_the_mode_of_its_parts_alone():
    flow = zoo.make_flow("realnvp", dropout=0.1).train()
    flow.from_base(2)
    assert all(module.training for module in flow.modules())


@pytest.mark.parametrize("wrong", [-1, 4, 1.0])
def test_from_base_refuses_steps_that_are_not_there(wrong):
    with pytest.raises(ValueError, match="num_layers, of the learned steps, must be an integer from 0 to 3; got"):
        zoo.FLOWS["realnvp"]().from_base(wrong)


def test_a_flow_is_made_in_eval_mode():
    assert not any(module.training for module in pf.recipes.realnvp(2, dropout=0.5).modules())


def test_initialize_shows_each_part_what_reaches_it():
    x = torch.randn(300, 2, generator=seeded(), dtype=torch.float64).exp() * 30
    flow = pf.Flow(Compose([pf.transforms.ActNorm(2)]), StandardNormal(2), [Asinh(2), Standardize(2)])
    flow.initialize(x)
    z = flow.encode(x)
    assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    assert_close(z.std(0, correction=0), torch.ones(2), rtol=1e-5, atol=0)


def test_each_context_preprocessing_learns_from_what_the_one_before_gives():
    flow = pf.Flow(
        zoo._elementwise(2, Affine(), 1),
        StandardNormal(2),
        context_preprocessing=[Scale(3.0), Standardize(1), Shift(1.0)],
    )
    x, context = torch.randn(50, 2, generator=seeded()), 5 + 2 * torch.randn(50, 1, generator=seeded(1))
    flow.initialize(x, context)
    _, _, as_seen = flow.preprocess(x, context)
    assert_close(as_seen.mean(), torch.tensor(1.0))
    assert_close(as_seen.std(correction=0), torch.tensor(1.0))


def test_preprocessing_may_take_the_context_both_ways():
    part = zoo.perturb(zoo._elementwise(2, Affine(), 3))
    flow = pf.Flow(Scale(2.0), StandardNormal(2), [part])
    x, context = torch.randn(5, 2, generator=seeded()), zoo.context_for(flow, 5)
    y, log_det = part(x, context)
    assert_close(flow.log_prob(x, context), StandardNormal(2).log_prob(2 * y) + log_det + math.log(4))
    assert_close(flow.decode(2 * y, context), x)
    samples, log_prob = flow.sample_and_log_prob(4, context, generator=seeded())
    assert_close(flow.log_prob(samples, context[:, None]), log_prob)


def test_passes_through_preprocessing_count():
    slow = Inverse(zoo.TRANSFORMS["autoregressive, affine soft"]().transform)
    assert pf.Flow(Shift(1.0), StandardNormal(4), [slow]).forward_passes == 4


# ---- as a torch distribution -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nsf", "nsf, context", "realnvp, D = 1, context", "iaf, permute"])
def test_a_flow_keeps_the_contract_of_torchs_distributions(name):
    flow = zoo.FLOWS[name]()
    D = flow.features
    for batch in ((), (4,), (2, 3)) if flow.context_features else ((),):
        context = torch.randn(*batch, 3, generator=seeded()) if flow.context_features else None
        law = flow.distribution(context)
        assert isinstance(law, distributions.Distribution)
        assert law.batch_shape == torch.Size(batch)
        assert law.event_shape == torch.Size((D,))
        assert law.has_rsample
        assert "FlowDistribution" in repr(law)
        for shape in ((), (5,), (5, 6), (0,)):
            for draw in (law.sample, law.rsample):
                x = draw(torch.Size(shape))
                assert x.shape == law._extended_shape(shape) == torch.Size((*shape, *batch, D))
                assert x.isfinite().all()
                log_prob = law.log_prob(x)
                assert log_prob.shape == torch.Size((*shape, *batch))
                if not shape:
                    assert_close(log_prob, flow.log_prob(x, context))
        assert law.support.check(law.sample()).all()
        assert law.rsample((3,)).requires_grad
        assert not law.sample((3,)).requires_grad
        # One value against every batch, as for any distribution.
        assert law.log_prob(torch.zeros(D)).shape == torch.Size(batch)
        assert law.log_prob(torch.zeros(8, *[1] * len(batch), D)).shape == torch.Size((8, *batch))
        wide = law.expand((7, *batch))
        assert wide.batch_shape == torch.Size((7, *batch))
        assert wide.sample((2,)).shape == torch.Size((2, 7, *batch, D))
        assert_close(wide.log_prob(torch.zeros(D)), law.log_prob(torch.zeros(D)).expand(7, *batch))
        independent = distributions.Independent(wide, 1)
        assert independent.log_prob(independent.sample()).shape == wide.batch_shape[:-1]


def test_samples_of_a_distribution_belong_to_their_context():
    flow = zoo.FLOWS["nsf, context"]()
    context = 3 * torch.randn(4, 3, generator=seeded())
    torch.manual_seed(0)
    x = flow.distribution(context).sample((3000,))
    for row in range(4):
        alone = flow.distribution(context[row]).sample((3000,))
        assert_close(x[:, row].mean(0), alone.mean(0), rtol=0, atol=0.15)


def test_the_kl_divergence_by_sampling_is_the_closed_one():
    law = gaussian().distribution()
    other = distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    torch.manual_seed(0)
    x = law.sample((50_000,))
    estimate = (law.log_prob(x) - other.log_prob(x)).mean()
    same = distributions.MultivariateNormal(torch.tensor([1.0, -1.0]), torch.diag(torch.tensor([0.25, 1.0])))
    assert_close(estimate, distributions.kl_divergence(same, other), rtol=0.02, atol=0)


def test_a_base_without_gradients_says_so():
    for base in (GaussianMixture(2),):
        law = zoo.make_flow("realnvp", base=base).distribution()
        assert not law.has_rsample
        with pytest.raises(NotImplementedError, match=r"samples of GaussianMixture carry no gradients; use sample\(\)"):
            law.rsample((2,))


def test_a_distribution_checks_its_context():
    with pytest.raises(ValueError, match="Flow needs context with 3 features; none was given"):
        zoo.FLOWS["nsf, context"]().distribution()
    with pytest.raises(ValueError, match="Flow takes no context"):
        gaussian().distribution(torch.zeros(3))


@pytest.mark.parametrize(
    "base", [DiagonalNormal(2), GaussianMixture(2), Box(2), FromTorch(distributions.Laplace(0.0, 1.0), 2)]
)
def test_every_base_serves_a_flow(base):
    flow = zoo.make_flow("realnvp", base=base)
    x, log_prob = flow.sample_and_log_prob(20, generator=seeded())
    assert_close(flow.log_prob(x), log_prob, rtol=1e-4, atol=1e-4)


def test_learned_bases_are_trained_with_the_flow():
    flow = zoo.make_flow("realnvp", base=DiagonalNormal(2))
    flow.log_prob(torch.ones(5, 2)).sum().backward()
    assert flow.base.mean.grad is not None


def test_a_users_layer_and_conditioner_need_only_the_contract():
    class Cubic(pf.transforms.Transform):
        def forward(self, x, context=None):
            return x.sign() * x.abs().pow(1 / 3), (-math.log(3) - 2 / 3 * x.abs().log()).sum(-1)

        def inverse(self, y, context=None):
            return y.pow(3), (math.log(3) + 2 * y.abs().log()).sum(-1)

    flow = pf.Flow(Compose([Cubic(), Coupling(masks.halves(2), Affine(), torch_net())]), StandardNormal(2))
    assert pf.verify(flow, 5 * torch.randn(20, 2, generator=seeded())).ok
    assert flow.sample(3).shape == (3, 2)


def torch_net():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(1, 2)

        def forward(self, kept, context=None):
            return self.linear(kept)

    return Net()
