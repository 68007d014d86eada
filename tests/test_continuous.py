"""Integrators against known solutions and torchdiffeq; continuous flows, their traces, gradients, and flow matching."""

import math
import re
from functools import partial

import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close

import pushforward as pf
from pushforward.errors import RunError
from pushforward.nets import HyperNetwork, TimeMLP
from pushforward.ode import METHODS, integrate, integrate_adjoint
from pushforward.transforms import Compose, Continuous, Scale
from zoo import perturb

TURN = torch.tensor([[-0.5, 2.0], [-2.0, -0.5]], dtype=torch.float64)
START = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def turning(t, y, context=None):
    return y @ TURN.T


def swinging(t, y, context=None):
    wave = torch.cos(3 * t)
    return (wave[:, None] if wave.ndim else wave) * y


def gentle(features=2, context_features=0, size=0.5, **options):
    torch.manual_seed(0)
    return perturb(TimeMLP(features, hidden_features=(16, 16), context_features=context_features, **options), size=size)


# ---- integrators -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("velocity", "exact"),
    [(turning, START @ torch.matrix_exp(TURN).T), (swinging, START * math.exp(math.sin(3) / 3))],
    ids=["turning", "swinging"],
)
def test_fixed_steps_converge_at_the_methods_order(method, velocity, exact):
    errors = [
        (integrate(velocity, START, 0.0, 1.0, method=method, num_steps=n)[0] - exact).abs().max().item()
        for n in (16, 32)
    ]
    assert math.log2(errors[0] / errors[1]) > METHODS[method].order - 0.15


@pytest.mark.parametrize("method", METHODS)
def test_the_tableaus_are_consistent(method):
    tableau = METHODS[method]
    assert sum(tableau.weights) == pytest.approx(1)
    assert abs(sum(tableau.errors)) < 1e-12
    for node, row in zip(tableau.nodes[1:], tableau.stages, strict=True):
        assert sum(row) == pytest.approx(node, abs=1e-12)


@pytest.mark.parametrize("method", ["dopri5", "tsit5"])
def test_adaptive_steps_keep_the_tolerance_and_count_evaluations(method):
    exact = START @ torch.matrix_exp(TURN).T
    counts = []
    for tolerance in (1e-4, 1e-8):
        found, count = integrate(turning, START, 0.0, 1.0, method=method, tolerance=tolerance)
        assert (found - exact).abs().max() < 20 * tolerance
        counts.append(count)
    assert (counts[1] > counts[0]).all()
    calls = []
    _, count = integrate(lambda t, y, c: (calls.append(len(y)), turning(t, y))[1], START, 0.0, 1.0, method=method)
    assert sum(calls) == int(count.sum())


def test_adaptive_steps_agree_with_torchdiffeq():
    from torchdiffeq import odeint

    velocity = gentle().double()
    with torch.no_grad():
        ours, _ = integrate(velocity, START, 0.0, 1.0, tolerance=1e-9)
        theirs = odeint(lambda t, y: velocity(t, y), START, torch.tensor([0.0, 1.0]).double(), rtol=1e-9, atol=1e-9)[-1]
    assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_a_row_takes_the_steps_it_takes_alone():
    rows = START * torch.tensor([1.0, 10.0, 100.0, 0.1, 1e-3], dtype=torch.float64)[:, None]
    together, counts = integrate(turning, rows, 0.0, 1.0)
    for row in range(5):
        alone, count = integrate(turning, rows[row : row + 1], 0.0, 1.0)
        assert_close(alone[0], together[row], rtol=1e-12, atol=1e-12)
        assert count[0] == counts[row]


def test_time_runs_backwards_too():
    there, _ = integrate(swinging, START, 0.0, 1.0, tolerance=1e-9)
    assert_close(integrate(swinging, there, 1.0, 0.0, tolerance=1e-9)[0], START, rtol=0, atol=1e-7)


def test_rows_that_are_not_finite_stay_alone():
    rows = START.clone()
    rows[1, 0] = math.nan
    found, _ = integrate(turning, rows, 0.0, 1.0)
    assert found[1].isnan().any()
    assert found[[0, 2, 3, 4]].isfinite().all()


def test_a_velocity_that_blows_up_ends_in_words():
    with pytest.raises(
        RunError, match=re.escape("took 100 steps and 2 of 2 rows have not arrived (the slowest is at t = 0.01")
    ):
        integrate(lambda t, y, c: 50 * y**3, torch.ones(2, 1), 0.0, 1.0, max_steps=100)


@pytest.mark.parametrize("options", [{"method": "rk4", "num_steps": 40}, {"tolerance": 1e-9}])
def test_adjoint_gradients_are_those_through_the_steps(options):
    velocity = gentle(context_features=1).double()
    found = []
    for solve in (integrate, partial(integrate_adjoint, parameters=list(velocity.parameters()))):
        y, context = START.clone().requires_grad_(), START[:, :1].clone().requires_grad_()
        end, _ = solve(velocity, y, 0.0, 1.0, context=context, **options)
        found.append(torch.autograd.grad(end.square().sum(), (y, context, *velocity.parameters())))
    for direct, adjoint in zip(*found, strict=True):
        assert_close(adjoint, direct, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rk45"}, "method must be one of euler, midpoint, rk4, dopri5, tsit5; got 'rk45'."),
        ({"method": "rk4"}, "rk4 has no error estimate: give num_steps, or use dopri5 or tsit5."),
        ({"num_steps": 0}, "num_steps must be at least 1; got 0."),
        ({"trace": "skilling"}, "trace must be one of exact, hutchinson; got 'skilling'."),
        ({"tolerance": 0.0}, "tolerance must be above 0; got 0.0."),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Continuous(TimeMLP(2), **options)


# ---- continuous flows ------------------------------------------------------------------------------------------------

VELOCITIES = {
    "concatenated": lambda c: gentle(3, c),
    "film, silu": lambda c: gentle(3, c, time="film", activation="silu"),
    "gelu": lambda c: gentle(3, c, activation="gelu"),
    "relu": lambda c: gentle(3, c, activation="relu"),
    "hypernetwork": lambda c: perturb(HyperNetwork(3, width=8, hidden=8, context_features=c)),
}


@pytest.mark.parametrize("context_features", [0, 2])
@pytest.mark.parametrize("name", VELOCITIES)
@pytest.mark.parametrize("each", [True, False], ids=["time a row", "one time"])
def test_the_divergence_is_the_trace_of_the_jacobian(name, context_features, each):
    velocity = VELOCITIES[name](context_features).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    context = torch.randn(4, context_features, dtype=torch.float64) if context_features else None
    t = torch.rand(4, dtype=torch.float64) if each else torch.tensor(0.3, dtype=torch.float64)
    value, divergence = velocity.with_divergence(t, x, context)
    assert_close(value, velocity(t, x, context))
    jacobian = torch.autograd.functional.jacobian(lambda rows: velocity(t, rows, context).sum(0), x)
    assert_close(divergence, torch.einsum("ini->n", jacobian))


@pytest.mark.parametrize("options", [{}, {"method": "tsit5"}, {"method": "rk4", "num_steps": 40}])
def test_log_det_is_the_jacobians_to_the_solvers_error(options):
    transform = Continuous(gentle().double(), **({"tolerance": 1e-9} | options))
    x = START.clone()
    y, log_det = transform(x)
    jacobian = torch.autograd.functional.jacobian(lambda rows: transform(rows)[0].sum(0), x).transpose(0, 1)
    assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=1e-5)
    assert_close(transform.inverse(y)[0], x, rtol=0, atol=1e-5)
    last = transform.steps(x)
    assert_close(last[-1].value, y, rtol=0, atol=1e-6)
    assert_close(sum(step.log_det for step in last), log_det, rtol=0, atol=1e-6)
    assert (last[0].name, last[-1].name) == ("t = 0.875", "t = 0")


def test_a_velocity_without_a_closed_form_is_traced_forwards():
    class Plain(torch.nn.Module):
        features = 2

        def __init__(self):
            super().__init__()
            self.inner = gentle()

        def forward(self, t, x, context=None):
            return self.inner(t, x, context)

    plain = Plain()
    for options in ({"method": "rk4", "num_steps": 4}, {}):
        found = [Continuous(velocity, **options)(START.float()) for velocity in (plain, plain.inner)]
        assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_hutchinson_is_unbiased_and_keeps_its_probes_until_they_are_redrawn():
    velocity = gentle(3)
    exact = Continuous(velocity, method="rk4", num_steps=4)
    estimate = Continuous(velocity, method="rk4", num_steps=4, trace="hutchinson", num_probes=2_000)
    assert (exact.exact_log_det, estimate.exact_log_det) == (True, False)
    x = torch.randn(4, 3)
    assert_close(estimate(x)[1], exact(x)[1], rtol=0, atol=0.05)
    once = Continuous(velocity, method="rk4", num_steps=4, trace="hutchinson")
    assert torch.equal(once(x)[1], once(x)[1])
    before = once.probes.clone()
    while torch.equal(once.probes, before):
        once.redraw(torch.Generator().manual_seed(int(torch.randint(100, ()))))
    assert set(once.probes.flatten().tolist()) <= {-1.0, 1.0}


def test_energies_are_the_integrals():
    class Wind(torch.nn.Module):
        features = 2

        def forward(self, t, x, context=None):
            return 3 * x * torch.tensor([1.0, 0.0]) + torch.tensor([0.0, 2.0])

    transform = Continuous(Wind(), method="rk4", num_steps=50)
    x = torch.zeros(1, 2)
    _, log_det, kinetic, stretch = transform.energies(x)
    assert_close((log_det, kinetic, stretch), (torch.tensor([-3.0]), torch.tensor([4.0]), torch.tensor([9.0])))


def test_more_evaluations_are_counted_for_a_finer_tolerance():
    velocity = gentle(size=1.0)
    coarse, fine = (
        Continuous(velocity, tolerance=tolerance).num_evaluations(START.float()) for tolerance in (1e-3, 1e-6)
    )
    assert (fine >= coarse).all()
    assert fine.sum() > coarse.sum()
    assert (Continuous(velocity, method="rk4", num_steps=5).num_evaluations(START.float()) == 20).all()


def test_a_continuous_flow_integrates_to_one():
    flow = pf.recipes.cnf(1, hidden_features=(16,))
    perturb(flow, size=1.0)
    grid = torch.linspace(-12, 12, 4001)
    assert torch.trapezoid(flow.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1, abs=1e-3)


def test_training_by_likelihood_and_by_matching_reach_the_data():
    data = pf.data.two_gaussians(2_000, standardize=True)
    entropy = data.density.entropy()
    losses = {
        "likelihood": (pf.losses.nll, 60),
        "slowed likelihood": (pf.losses.regularized_nll, 60),
        "matching": (pf.losses.flow_matching, 600),
        "optimal matching": (partial(pf.losses.flow_matching, pairing="optimal"), 600),
    }
    for name, (loss, num_steps) in losses.items():
        torch.manual_seed(0)
        flow = pf.recipes.cnf(2, hidden_features=(32, 32), method="rk4", num_steps=6)
        pf.fit(flow, data.x, loss=loss, num_steps=num_steps, batch_size=128, learning_rate=1e-2, progress=False)
        assert pf.metrics.nll(flow, data.density.sample(2_000, 5)).mean < entropy + 0.45, name


def test_matching_takes_context():
    x, context = torch.randn(200, 2), torch.randn(200, 1)
    flow = pf.recipes.cnf(2, hidden_features=(8,), context_features=1)
    pf.fit(flow, x, context, loss=pf.losses.flow_matching, num_steps=5, progress=False)
    with pytest.raises(ValueError, match="would change the law given the context"):
        pf.fit(flow, x, context, loss=partial(pf.losses.flow_matching, pairing="optimal"), num_steps=5, progress=False)


def test_matching_wants_exactly_one_continuous_transform():
    for flow in (
        pf.recipes.nsf(2),
        pf.Flow(Compose([Continuous(TimeMLP(2)), Scale(2.0)]), pf.bases.StandardNormal(2)),
    ):
        with pytest.raises(ValueError, match="flow_matching needs a Flow of preprocessing and exactly one Continuous"):
            pf.fit(flow, torch.randn(50, 2), loss=pf.losses.flow_matching, num_steps=2, progress=False)


def test_reverse_kl_fits_an_unnormalized_density():
    def log_density(x):
        return -0.5 * ((x - 1) / 0.5).square().sum(-1) + 7.0

    flow = pf.recipes.realnvp(2, num_layers=2)
    loss = partial(pf.losses.reverse_kl, log_density=log_density)
    pf.fit(flow, None, loss=loss, num_steps=300, batch_size=128, learning_rate=1e-2, progress=False)
    with torch.no_grad():
        samples, log_q = flow.sample_and_log_prob(5_000)
    log_z = 7.0 + math.log(2 * math.pi * 0.25)
    assert (log_q - log_density(samples)).mean().item() == pytest.approx(-log_z, abs=0.02)
    assert samples.mean().item() == pytest.approx(1, abs=0.05)
    assert norm.cdf((samples[:, 0].numpy() - 1) / 0.5).std() == pytest.approx(12**-0.5, abs=0.02)
