"""Rational-quadratic splines under hostile inputs: in the box, at its knots, far outside it; perturbed and trained."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import zoo
from pushforward.transforms import RationalQuadratic

BOUND = 5.0


def knots_of(spline, params):
    """The knots (x_k, y_k) of one feature, computed anew from the paper's definition: (bins + 1,) each."""
    sides = []
    for raw in (params[: spline.bins], params[spline.bins : 2 * spline.bins]):
        sizes = 2 * spline.bound * (1e-3 + (1 - 1e-3 * spline.bins) * raw.softmax(0))
        sides.append(torch.cat((torch.zeros(1, dtype=raw.dtype), sizes.cumsum(0))) - spline.bound)
    return sides


def hostile(seed, size, bound, knots=None):
    """Half uniform in 1.2 x the box, a quarter of log-uniform magnitude 1e-8..1e4, a quarter knots +- 1 ulp."""
    generator = torch.Generator().manual_seed(seed)
    n = size // 4
    uniform = 1.2 * bound * (2 * torch.rand(2 * n, generator=generator) - 1)
    sign = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
    magnitude = 10 ** (12 * torch.rand(n, generator=generator) - 8) * sign
    knots = torch.tensor([-bound, bound]) if knots is None else knots
    at = knots.float()[torch.randint(0, len(knots), (n,), generator=generator)]
    step = torch.randint(-1, 2, (n,), generator=generator)
    at = torch.where(step == 0, at, torch.nextafter(at, at + step * 1.0))
    return torch.cat((uniform, magnitude, at))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31), bins=st.sampled_from([2, 3, 8, 32]), bound=st.sampled_from([1e-2, 1.0, 5.0, 1e3]),
    size=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
)  # fmt: skip
def test_a_spline_is_finite_increasing_and_inverts_itself_in_float32(seed, bins, bound, size):
    spline = RationalQuadratic(bins, bound)
    params = size * torch.randn(spline.num_params, generator=torch.Generator().manual_seed(seed))
    x = hostile(seed, 400, bound, torch.cat(knots_of(spline, params.double()))).sort().values[:, None].requires_grad_()
    params = params.expand(400, 1, -1).clone().requires_grad_()
    median = {}
    for name, function, back in (
        ("forward", spline.forward, spline.inverse),
        ("inverse", spline.inverse, spline.forward),
    ):
        y, log_det = function(x, params)
        assert y.isfinite().all()
        assert log_det.isfinite().all()
        for gradient in torch.autograd.grad(y.sum() + log_det.sum(), (x, params)):
            assert gradient.isfinite().all()
        rounding = 4e-6 * bound
        assert (y[1:] - y[:-1]).min() > -rounding
        outside = x.abs() > bound
        assert torch.equal(y[outside], x[outside])
        assert torch.all(log_det[outside] == 0)
        assert (y[~outside].abs() <= bound + rounding).all()
        with torch.no_grad():
            median[name] = ((back(y, params)[0] - x).abs() / bound).median()
    assert max(median.values()) < (1e-6 if size <= 1 else 1e-4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), bins=st.sampled_from([2, 8, 50]), size=st.sampled_from([0.5, 2.0, 5.0]))
def test_in_float64_forward_and_inverse_agree_and_the_log_det_is_the_slope(seed, bins, size):
    spline = RationalQuadratic(bins, BOUND)
    params = size * torch.randn(spline.num_params, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = hostile(seed, 400, BOUND, torch.cat(knots_of(spline, params)))[:, None].double().requires_grad_()
    params = params.expand(400, 1, -1)
    y, log_det = spline.forward(x, params)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_close(log_det, slope.log(), rtol=1e-8, atol=1e-8)
    back, inverse_log_det = spline.inverse(y.detach(), params)
    assert_close(back, x.detach(), rtol=1e-7, atol=1e-7)
    # At a knot the slope of log_det jumps, so a rounding of x may show.
    assert_close(inverse_log_det, -log_det, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([10.0, 1e3, 1e6, 1e9]))
def test_extreme_parameters_give_finite_values_and_gradients(seed, size):
    spline = RationalQuadratic(8, BOUND)
    generator = torch.Generator().manual_seed(seed)
    params = (size * torch.randn(400, 1, spline.num_params, generator=generator)).requires_grad_()
    x = hostile(seed, 400, BOUND)[:, None].requires_grad_()
    for function in (spline.forward, spline.inverse):
        y, log_det = function(x, params)
        assert y.isfinite().all()
        assert log_det.isfinite().all()
        for gradient in torch.autograd.grad(y.sum() + log_det.sum(), (x, params)):
            assert gradient.isfinite().all()


def test_the_inverse_loses_no_more_than_the_maps_steepness_explains():
    # The other form of the root, -2 c / (b + sqrt(...)) everywhere, is 100 times worse here.
    spline = RationalQuadratic(8, BOUND)
    generator = torch.Generator().manual_seed(0)
    params = 3 * torch.randn(20_000, 1, spline.num_params, generator=generator)
    y = BOUND * (2 * torch.rand(20_000, 1, generator=generator) - 1)
    x, _ = spline.inverse(y, params)
    exact, log_slope = spline.inverse(y.double(), params.double())
    explained = 2**-23 * BOUND * (1 + log_slope.exp())
    assert ((x - exact).abs() / explained).max() < 16


def test_it_goes_through_its_knots_and_has_slope_one_at_the_ends():
    spline = RationalQuadratic(6, 2.0)
    params = torch.randn(spline.num_params, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    xs, ys = knots_of(spline, params)
    y, log_det = spline.forward(xs[:, None], params.expand(7, 1, -1))
    assert_close(y[:, 0], ys)
    inner = torch.nn.functional.softplus(params[12:] + torch.tensor(0.999, dtype=torch.float64).expm1().log()) + 1e-3
    assert_close(log_det[1:-1, 0].exp(), inner)
    assert_close(log_det[[0, -1], 0], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


@functools.cache
def spline_flow(trained):
    flow = zoo.FLOWS["nsf"](fresh=trained, bins=8, num_layers=4)
    if trained:
        generator = torch.Generator().manual_seed(0)
        angle = 2 * torch.pi * torch.rand(2000, generator=generator)
        x = 2 * torch.stack((angle.cos(), angle.sin()), -1) + 0.1 * torch.randn(2000, 2, generator=generator)
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            loss = -flow.log_prob(x[torch.randint(0, 2000, (256,), generator=generator)]).mean()
            loss.backward()
            optimizer.step()
        assert loss < 2.4  # a standard normal at the start: 3.8
    return flow


@pytest.mark.parametrize("trained", [False, True])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_a_perturbed_or_trained_flow_survives_hostile_rows(seed, trained):
    flow = spline_flow(trained)
    x = hostile(seed, 800, BOUND).reshape(2, 400).T.contiguous().requires_grad_()
    for function in (flow.encode, flow.decode, flow.log_prob):
        value = function(x)
        assert value.isfinite().all()
        tensors = [x, *flow.parameters()]
        gradients = torch.autograd.grad(value.clamp(min=-100).sum(), tensors, allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
    with torch.no_grad():
        assert (flow.decode(flow.encode(x)) - x).abs().median() < 1e-6
        assert (flow.encode(flow.decode(x)) - x).abs().median() < 1e-6


@pytest.mark.parametrize("trained", [False, True])
def test_a_flow_takes_and_gives_values_up_to_1e30(trained):
    flow = spline_flow(trained)
    x = torch.tensor([[1e30, -1e30], [1e30, 0.3], [-0.2, -1e30], [1e10, 1e-30]], requires_grad=True)
    for function in (flow.encode, flow.decode):
        value = function(x)
        assert value.isfinite().all()
        gradients = torch.autograd.grad(value.sum(), [x, *flow.parameters()], allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
        back = (flow.decode if function == flow.encode else flow.encode)(value)
        assert_close(back[x.abs() > 1e3], x[x.abs() > 1e3], rtol=1e-6, atol=0)
    assert not flow.log_prob(x).isnan().any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bins": 1}, "bins must be an integer from 2 to 500; got 1"),
        ({"bins": 501}, "bins must be an integer from 2 to 500; got 501"),
        ({"bound": 0.0}, "bound must be above 0; got 0.0"),
        ({"bound": float("inf")}, "bound must be above 0 and finite; got inf"),
    ],
)
def test_impossible_splines_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RationalQuadratic(**arguments)
