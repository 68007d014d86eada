"""Integrators against known solutions and torchdiffeq; continuous flows, their traces, gradients, and flow matching."""

import itertools
import math
import re
from functools import partial

import pytest
import torch
from scipy.stats import kstest, norm
from torch.testing import assert_close

import pushforward as pf
from pushforward.errors import RunError
from pushforward.nets import HyperNetwork, TimeMLP
from pushforward.nets.velocity import time_features
from pushforward.numerics.ode import METHODS, _step, integrate, integrate_adjoint
from pushforward.transforms import Compose, Continuous, Inverse, Scale
from zoo import perturb

TURN = torch.tensor([[-0.5, 2.0], [-2.0, -0.5]], dtype=torch.float64)
START = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def turning(t, y, context=None):
    return y @ TURN.T


def swinging(t, y, context=None):
    wave = torch.cos(3 * t)
    return (wave[:, None] if wave.ndim else wave) * y


def gentle(features=2, context_features=0, size=0.5, hidden_features=(16, 16), **options):
    torch.manual_seed(0)
    velocity = TimeMLP(features, hidden_features=hidden_features, context_features=context_features, **options)
    return perturb(velocity, size=size)


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


def bent(t, y, context=None):
    return y.square() - t.exp() if t.ndim == 0 else y.square() - t.exp()[:, None]


@pytest.mark.parametrize("method", ["dopri5", "tsit5"])
def test_the_error_estimate_falls_with_the_fifth_power_of_the_step(method):
    # It is the difference of an order 4 and an order 5 formula; a wrong weight would leave a lower power.
    estimates = [
        _step(bent, START, None, torch.tensor(0.1).double(), torch.tensor(size).double(), METHODS[method])[1]
        for size in (0.02, 0.01)
    ]
    assert math.log2(estimates[0].abs().max() / estimates[1].abs().max()) == pytest.approx(5, abs=0.2)


def evaluations(y, velocity=turning, tolerance=1e-6, end=1.0):
    return integrate(velocity, y, 0.0, end, tolerance=tolerance)[1]


def test_the_error_of_a_step_is_relative_above_one_and_absolute_below():
    y = torch.tensor([[3.0, 4.0]]).double()
    assert evaluations(1e3 * y) == evaluations(1e6 * y)
    assert evaluations(1e-15 * y, tolerance=1e-9) < evaluations(y, tolerance=1e-9) / 2


def test_the_error_of_a_step_is_the_mean_over_the_row_however_long():
    wide = torch.block_diag(*[TURN] * 8)
    assert torch.equal(evaluations(START.repeat(1, 8), lambda t, y, c: y @ wide.T), evaluations(START))


@pytest.mark.parametrize(("share", "first_time"), [(0.95, True), (1.05, False)])
def test_a_step_is_taken_again_if_its_error_is_above_the_tolerance(share, first_time):
    # A velocity that only the first of the seven stages sees: the error is its weight times the step.
    size, tolerance = 1e-3, 1e-5
    speed = share * tolerance / (size * abs(METHODS["dopri5"].errors[0]))
    found = evaluations(torch.zeros(1, 1).double(), lambda t, y, c: speed * (t == 0)[:, None], tolerance, size)
    assert (found == 7) == first_time


def test_after_a_step_the_next_is_as_long_as_its_error_allows():
    asked, tolerance, share = [], 1e-5, 0.3
    speed = share * tolerance / (1e-3 * METHODS["dopri5"].errors[0])

    def push(t, y, context):
        asked.append(t.item())
        return speed * (t == 0)[:, None]

    integrate(push, torch.zeros(1, 1).double(), 0.0, 1.0, tolerance=tolerance)
    # Times of the first step (it is 0.001 long where y is 0), then the second stage of the next, a fifth of it on.
    assert asked[6] == pytest.approx(1e-3)
    assert 5 * (asked[7] - asked[6]) == pytest.approx(0.9 * share ** (-1 / 5) * 1e-3)


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


def test_a_flow_gives_up_after_as_many_steps_as_it_was_told():
    flow = Continuous(gentle(size=1.0), max_steps=2)
    with pytest.raises(RunError, match="took 2 steps and 5 of 5 rows have not arrived"):
        flow(START.float())


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
        ({"num_steps": 0}, "num_steps must be an integer of at least 1; got 0."),
        ({"trace": "skilling"}, "trace must be one of exact, hutchinson; got 'skilling'."),
        ({"tolerance": 0.0}, "tolerance must be above 0; got 0.0."),
        ({"method": "rk4", "num_steps": 2.5}, "num_steps must be an integer of at least 1; got 2.5."),
        ({"num_probes": 1.5}, "num_probes must be an integer of at least 1; got 1.5."),
        ({"train_steps": 0}, "train_steps must be an integer of at least 1; got 0."),
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
    "one layer, film": lambda c: gentle(3, c, hidden_features=(16,), time="film"),
    "three layers": lambda c: gentle(3, c, hidden_features=(16, 12, 8), activation="silu"),
    "four layers, film": lambda c: gentle(3, c, hidden_features=(8, 12, 16, 8), time="film"),
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


@pytest.mark.parametrize("name", VELOCITIES)
def test_a_velocity_changes_with_time(name):
    velocity, x, t = VELOCITIES[name](0), torch.randn(4, 3), torch.tensor([0.1, 0.4, 0.4, 0.9])
    found = velocity(t, x)
    for row in range(4):
        assert_close(found[row : row + 1], velocity(t[row], x[row : row + 1]))
    assert ((found - velocity(t.flip(0), x)).abs().amax(-1) > 1e-3).tolist() == [True, False, False, True]


def test_time_is_seen_with_its_first_two_waves():
    half = 0.5**0.5
    assert_close(time_features(torch.tensor(0.25), torch.float32), torch.tensor([0.25, half, half, 1.0, 0.0]))


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


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
@pytest.mark.parametrize(("shaped", "got"), [(lambda x: x.sum(-1), "(5,)"), (lambda x: x[:, :1], "(5, 1)")])
def test_a_velocity_of_another_shape_is_refused(shaped, got, trace):
    class Wrong(Recorded):
        def forward(self, t, x, context=None):
            return shaped(x)

    with pytest.raises(ValueError, match=re.escape("velocity of Wrong must have shape (5, 2)")):
        Continuous(Wrong(), trace=trace)(START)


def test_the_steps_of_an_adaptive_flow_end_where_it_ends():
    flow = pf.recipes.cnf(2, hidden_features=(16,), tolerance=1e-3)
    perturb(flow, size=2.0)
    x = START.float()
    for function, steps in (
        (flow.transform, flow.transform.steps(x)),
        (flow.transform.inverse, flow.transform.steps_inverse(x)),
    ):
        y, log_det = function(x)
        assert_close(steps[-1].value, y, rtol=1e-6, atol=1e-6)
        assert_close(sum(step.log_det for step in steps), log_det, rtol=1e-5, atol=1e-5)
    assert pf.verify(flow, x, tolerance=0.1).ok


def test_second_derivatives_through_the_adjoint_are_refused_rather_than_zero():
    transform = Continuous(gentle(), adjoint=True, method="rk4", num_steps=2)
    with pytest.raises(RuntimeError, match="the adjoint method has no second derivatives; use adjoint=False"):
        torch.autograd.functional.hessian(lambda x: transform(x)[0].sum(), torch.randn(1, 2))


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


@pytest.mark.parametrize(
    "around",
    [
        Inverse,
        lambda part: pf.Flow(part, pf.bases.StandardNormal(2)),
        lambda part: pf.Flow(Scale(2.0), pf.bases.StandardNormal(2), [part]),
    ],
    ids=["inverse", "flow", "preprocessing of a flow"],
)
def test_what_holds_an_estimate_draws_its_probes_anew_and_says_that_it_is_one(around):
    part = Continuous(gentle(), method="rk4", num_steps=1, trace="hutchinson", num_probes=50)
    whole, before = around(part), part.probes.clone()
    assert not whole.exact_log_det
    whole.redraw(torch.Generator().manual_seed(0))
    assert not torch.equal(part.probes, before)
    assert around(Continuous(gentle())).exact_log_det


@pytest.mark.parametrize("options", [{"method": "rk4", "num_steps": 20}, {"tolerance": 1e-9}, {"trace": "hutchinson"}])
def test_a_flow_with_the_adjoint_has_the_gradients_of_one_without(options):
    velocity, found, saved = gentle(context_features=1).double(), [], []
    options = {"tolerance": 1e-8} | options
    for adjoint in (False, True):
        torch.manual_seed(0)
        transform = Continuous(velocity, adjoint=adjoint, **options)
        x, context = START.clone().requires_grad_(), START[:, :1].clone().requires_grad_()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: (sizes.append(t.numel()), t)[1], lambda t: t
        ):
            y, log_det = transform(x, context)
        saved.append(sum(sizes))
        found.append(torch.autograd.grad((y.square().sum(-1) + log_det).sum(), (x, context, *velocity.parameters())))
    assert saved[1] < saved[0] / 5
    for direct, adjoint in zip(*found, strict=True):
        assert_close(adjoint, direct, rtol=1e-4, atol=1e-5)


def test_energies_are_the_integrals():
    class Wind(torch.nn.Module):
        features = 2

        def forward(self, t, x, context=None):
            return x[..., :1] * torch.tensor([3.0, 4.0]) + torch.tensor([0.0, 2.0])

    transform = Continuous(Wind(), method="rk4", num_steps=50)
    x = torch.zeros(1, 2)
    _, log_det, kinetic, stretch = transform.energies(x)
    assert_close((log_det, kinetic, stretch), (torch.tensor([-3.0]), torch.tensor([4.0]), torch.tensor([25.0])))


def test_more_evaluations_are_counted_for_a_finer_tolerance():
    velocity = gentle(size=1.0)
    coarse, fine = (
        Continuous(velocity, tolerance=tolerance).num_evaluations(START.float()) for tolerance in (1e-3, 1e-6)
    )
    assert (fine >= coarse).all()
    assert fine.sum() > coarse.sum()
    assert (Continuous(velocity, method="rk4", num_steps=5).num_evaluations(START.float()) == 20).all()


def test_train_steps_count_while_training_alone():
    torch.manual_seed(0)
    flow = pf.recipes.cnf(2, hidden_features=(16, 16), train_steps=2)
    perturb(flow, size=1.0)
    x = torch.randn(50, 2)
    fixed = Continuous(flow.transform.velocity, method="dopri5", num_steps=2)
    adaptive = Continuous(flow.transform.velocity)
    assert_close(flow.transform(x), adaptive(x))
    assert (fixed.num_evaluations(x) == 12).all()
    flow.train()
    assert_close(flow.transform(x), fixed(x))
    assert_close(flow.transform.energies(x), fixed.energies(x))
    assert [step.name for step in flow.transform.steps(x)] == ["t = 0.5", "t = 0"]


def test_likelihood_trained_with_few_steps_is_scored_by_as_many_as_it_takes():
    data = pf.data.two_moons(2_000, standardize=True)
    torch.manual_seed(0)
    flow = pf.recipes.cnf(2, hidden_features=(32, 32), train_steps=1)
    pf.fit(flow, data.x, num_steps=60, batch_size=256, learning_rate=1e-2, progress=False)
    assert pf.metrics.nll(flow, data.density.sample(500, 1)).mean > data.density.entropy()
    assert pf.verify(flow, data.x[:50], tolerance=1e-3).ok


def test_a_continuous_flow_integrates_to_one():
    flow = pf.recipes.cnf(1, hidden_features=(16,))
    perturb(flow, size=1.0)
    grid = torch.linspace(-12, 12, 4001)
    assert torch.trapezoid(flow.log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1, abs=1e-3)


def test_context_beyond_a_million_is_seen_as_a_million():
    transform = Continuous(gentle(2, 1), method="rk4", num_steps=2)
    x = torch.randn(2, 2)
    far, edge = (transform(x, torch.tensor([[value], [-value]]))[0] for value in (1e30, 1e6))
    assert_close(far, edge)
    assert edge.isfinite().all()


def test_training_by_likelihood_and_by_matching_reach_the_data():
    data = pf.data.two_gaussians(2_000, standardize=True)
    entropy = data.density.entropy()
    losses = {
        "likelihood": (pf.losses.nll, 40),
        "slowed likelihood": (pf.losses.regularized_nll, 40),
        "matching": (pf.losses.flow_matching, 200),
        "optimal matching": (partial(pf.losses.flow_matching, pairing="optimal"), 200),
    }
    for name, (loss, num_steps) in losses.items():
        torch.manual_seed(0)
        flow = pf.recipes.cnf(2, hidden_features=(32, 32), method="rk4", num_steps=4)
        pf.fit(flow, data.x, loss=loss, num_steps=num_steps, batch_size=128, learning_rate=1e-2, progress=False)
        assert pf.metrics.nll(flow, data.density.sample(500, 5)).mean < entropy + 0.45, name


class Recorded(torch.nn.Module):
    """A constant velocity that keeps what it was asked."""

    features = 2

    def forward(self, t, x, context=None):
        self.asked = t, x, context
        return torch.tensor([3.0, -1.0]).expand_as(x)


def test_matching_compares_the_velocity_with_the_straight_paths():
    velocity, x = Recorded(), torch.randn(50, 2)
    flow = pf.Flow(Continuous(velocity), pf.bases.StandardNormal(2), [Scale(2.0)])
    batch = pf.losses.Batch(x, None, None, 50)
    loss = pf.losses.flow_matching(flow, batch, torch.Generator().manual_seed(0))
    t, moved, _ = velocity.asked
    assert ((t >= 0) & (t < 1)).all()
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))  # latent at t = 0, data at t = 1
    assert_close(moved, (1 - t[:, None]) * z + t[:, None] * 2 * x)
    assert_close(loss, (torch.tensor([3.0, -1.0]) - (2 * x - z)).square().sum(-1))


def test_matching_draws_a_time_for_each_row_evenly_between_latent_and_data():
    velocity, x = Recorded(), torch.randn(2_000, 2)
    pf.losses.flow_matching(
        pf.Flow(Continuous(velocity), pf.bases.StandardNormal(2)), pf.losses.Batch(x, None, None, 2)
    )
    t = velocity.asked[0]
    assert t.shape == (2_000,)
    assert kstest(t.numpy(), "uniform").pvalue > 0.001


def test_optimal_matching_moves_along_the_cheapest_pairs():
    velocity, x = Recorded(), torch.randn(5, 2)
    flow = pf.Flow(Continuous(velocity), pf.bases.StandardNormal(2))
    batch = pf.losses.Batch(x, None, None, 5)
    loss = pf.losses.flow_matching(flow, batch, torch.Generator().manual_seed(3), pairing="optimal")
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(3))
    pairings = [z[list(order)] for order in itertools.permutations(range(5))]
    z = min(pairings, key=lambda paired: (x - paired).square().sum())
    t, moved, _ = velocity.asked
    assert_close(moved, (1 - t[:, None]) * z + t[:, None] * x)
    assert_close(loss, (torch.tensor([3.0, -1.0]) - (x - z)).square().sum(-1))


def test_optimal_matching_refuses_weights():
    batch = pf.losses.Batch(torch.randn(5, 2), None, torch.ones(5), 5)
    with pytest.raises(ValueError, match="would change the law given the context or with weights"):
        pf.losses.flow_matching(pf.recipes.cnf(2), batch, pairing="optimal")


def test_optimal_pairs_are_the_cheapest_of_all():
    x, z = torch.randn(5, 2), torch.randn(5, 2)
    costs = {order: (x - z[list(order)]).square().sum().item() for order in itertools.permutations(range(5))}
    assert tuple(pf.losses._cheapest_pairs(x, z).tolist()) == min(costs, key=costs.get)


def test_matching_gives_context_to_those_that_take_it():
    class Moved(pf.bases.StandardNormal):
        context_features = 1

        def sample(self, shape, *, context=None, temperature=1.0, generator=None):
            return super().sample(shape, temperature=temperature, generator=generator) + context

    velocity, own = Recorded(), torch.tensor([1e4, -2e4, 3e4, 5e4, -6e4])[:, None]
    flow = pf.Flow(Continuous(velocity), Moved(2))
    pf.losses.flow_matching(flow, pf.losses.Batch(torch.zeros(5, 2), own, None, 5))
    t, moved, context = velocity.asked
    assert context is None
    assert_close(moved / (1 - t[:, None]), own.expand(5, 2), rtol=1e-2, atol=0)
    velocity.context_features = 1
    flow = pf.Flow(Continuous(velocity), pf.bases.StandardNormal(2))
    pf.losses.flow_matching(flow, pf.losses.Batch(torch.zeros(5, 2), 1e3 * own, None, 5))
    assert_close(velocity.asked[2], (1e3 * own).clamp(-1e6, 1e6))  # as the flow itself will see it


def test_the_regularized_loss_is_the_likelihood_and_the_two_energies():
    velocity = gentle(size=1.0)
    flow = pf.Flow(Continuous(velocity, method="rk4", num_steps=4), pf.bases.StandardNormal(2), [Scale(2.0)])
    x = torch.randn(5, 2)
    _, _, energy, change = flow.transform.energies(2 * x)
    loss = pf.losses.regularized_nll(flow, pf.losses.Batch(x, None, None, 5), kinetic=0.3, stretch=0.7)
    assert_close(loss, 0.3 * energy + 0.7 * change - flow.log_prob(x))


def test_reverse_kl_weighs_the_density_and_keeps_rows_beside_their_context():
    flow = perturb(pf.recipes.maf(2, num_layers=2, hidden_features=(8,), context_features=1))
    context, drawn = torch.randn(6, 1), []
    batch = pf.losses.Batch(None, context, None, 6)
    loss = partial(pf.losses.reverse_kl, log_density=lambda x: (drawn.append(x), x[:, 0])[1])
    cold, warm = (loss(flow, batch, torch.manual_seed(0), temperature=temperature) for temperature in (1.0, 0.25))
    assert_close(cold, flow.log_prob(drawn[0], context) - drawn[0][:, 0])
    assert_close(warm - cold, 0.75 * drawn[0][:, 0])


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
    with pytest.raises(ValueError, match=r"flow_matching needs rows x of shape \(n, D\); got \(45, 3, 2\)"):
        pf.fit(pf.recipes.cnf(2), torch.randn(50, 3, 2), loss=pf.losses.flow_matching, num_steps=2, progress=False)


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


def test_vmap_over_adaptive_steps_is_refused_with_remedies_that_work():
    torch.manual_seed(0)
    flow, x = pf.recipes.cnf(2, hidden_features=8), torch.randn(5, 2)
    perturb(flow)
    for call in (flow.log_prob, flow.transform, flow.decode, torch.func.grad(flow.log_prob)):
        with pytest.raises(pf.InputError, match="vmap cannot pass through adaptive ODE steps.* or take equal steps"):
            torch.func.vmap(call)(x)
    rows = x.clone().requires_grad_()
    (every,) = torch.autograd.grad(flow.log_prob(rows).sum(), rows)
    alone = torch.stack([torch.func.grad(flow.log_prob)(row) for row in x])
    torch.testing.assert_close(every, alone)
    fixed = pf.recipes.cnf(2, hidden_features=8, method="rk4", num_steps=4)
    torch.testing.assert_close(torch.func.vmap(fixed.log_prob)(x), fixed.log_prob(x))
