"""Planar, radial and Sylvester maps beyond the contract: hard parameters, single precision, training and sampling."""

import re

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward.nets import MLP
from pushforward.numerics.roots import bracketed_root, newton_step
from pushforward.transforms import Planar, Radial, Sylvester
from pushforward.transforms.residual import MARGIN
from zoo import perturb

MAKERS = {
    "planar": lambda: Planar(3),
    "radial": lambda: Radial(3),
    "sylvester, householder": lambda: Sylvester(3),
    "sylvester, orthogonal": lambda: Sylvester(3, mode="orthogonal"),
}
every = pytest.mark.parametrize("name", MAKERS)


def hard(name, seed, size=10.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return perturb(MAKERS[name](), seed=seed, size=size)


def bisected(value, low, high):
    """Bisection to the last bit, the slow way."""
    for _ in range(200):
        middle = (low + high) / 2
        below = value(middle) < 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def test_the_root_of_steep_and_flat_functions_is_found_to_rounding():
    generator = torch.Generator().manual_seed(0)
    outer, inner, offset = (10 * torch.randn(2_000, generator=generator, dtype=torch.float64) for _ in range(3))
    inner = torch.where(outer * inner > -0.95, inner, -0.95 / outer)  # increasing in v
    target = 20 * torch.randn(2_000, generator=generator, dtype=torch.float64)

    def equation(v):
        h = torch.tanh(inner * v + offset)
        return v + outer * h - target, 1 + outer * inner * (1 - h.square())

    root = bracketed_root(equation, target - outer.abs(), target + outer.abs())
    slow = bisected(lambda v: equation(v)[0], target - 1e3, target + 1e3)
    assert_close(root, slow, rtol=0, atol=1e-11)


def test_a_newton_step_gives_the_root_its_derivative():
    target = torch.tensor([0.3, -2.0], dtype=torch.float64, requires_grad=True)

    def equation(target, v):
        return v + v**3 - target, 1 + 3 * v**2

    root = bracketed_root(
        lambda v: equation(target.detach(), v), torch.full((2,), -3.0).double(), torch.full((2,), 3.0).double()
    )
    assert not root.requires_grad
    v = newton_step(lambda v: equation(target, v), root)
    v.sum().backward()
    assert_close(v + v**3, target)
    assert_close(target.grad, 1 / (1 + 3 * v.detach() ** 2))


def test_a_planar_map_is_the_papers():
    planar = hard("planar", 1, 1.0)
    x = torch.randn(5, 3)
    u, w, b, along = planar._params(x, None)
    expected = torch.stack([row + u * torch.tanh(w @ row + b) for row in x])
    assert_close(planar(x)[0], expected)
    assert_close((u * w).sum(-1, keepdim=True), along)


@every
@pytest.mark.parametrize("seed", range(5))
def test_the_slope_keeps_its_margin_however_hard_the_parameters(name, seed):
    x = torch.randn(200, 3, dtype=torch.float64) * 3
    transform = hard(name, seed).double()
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: transform(row)[0]))(x)
    # The determinant is a product of slopes, each at least the margin: 3 for three ridges, D for a radial map.
    assert (torch.linalg.det(jacobians) > 0.99 * MARGIN**3).all()


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "raw", "num_slopes"),
    [("planar", "u", 1), ("radial", "raw_beta", 3), ("sylvester, householder", "outer", 3)],
)
def test_the_least_slope_is_one_twentieth(name, raw, num_slopes):
    transform = MAKERS[name]().double()
    folding = -1e3 * transform.w if name == "planar" else torch.full_like(getattr(transform, raw), -1e3)
    getattr(transform, raw).copy_(folding)
    x = transform.centre if name == "radial" else torch.zeros(3, dtype=torch.float64)  # where it is steepest
    assert_close(transform(x)[1].exp(), torch.tensor(0.05**num_slopes).double())


@pytest.mark.parametrize(("name", "raw"), [("radial", "raw_alpha"), ("sylvester, householder", "inner")])
def test_a_size_that_vanishes_makes_no_nan(name, raw):
    transform = perturb(MAKERS[name]())
    x = torch.randn(5, 3)
    with torch.no_grad():
        getattr(transform, raw).fill_(-200)  # its softplus is 0 in float32
        x[0] = transform.centre if name == "radial" else 0
    for function in (transform, transform.inverse):
        value, log_det = function(x)
        gradients = torch.autograd.grad(value.sum() + log_det.sum(), list(transform.parameters()))
        assert all(found.isfinite().all() for found in (value, log_det, *gradients))


@every
def test_single_precision_inverts_what_it_maps(name):
    transform = hard(name, 0, 2.0)
    x = 3 * torch.randn(1_000, 3)
    with torch.no_grad():
        y, log_det = transform(x)
        back, log_det_back = transform.inverse(y)
    assert_close(back, x, rtol=1e-4, atol=1e-3)
    assert_close(log_det_back, -log_det, rtol=1e-3, atol=1e-2)


@every
def test_a_fresh_map_is_the_identity_and_can_learn(name):
    transform = MAKERS[name]()
    x = torch.randn(10, 3)
    y, log_det = transform(x)
    assert_close(y, x)
    assert_close(log_det, torch.zeros(10))
    (y.square().sum() - log_det.sum()).backward()
    assert any(bool((parameter.grad != 0).any()) for parameter in transform.parameters())


@pytest.mark.parametrize("kind", ["planar", "radial", "sylvester"])
def test_a_trained_flow_scores_and_samples_the_same_density(kind):
    data = pf.data.two_blobs(2_000, standardize=True)
    torch.manual_seed(0)
    flow = pf.recipes.planar(2, num_layers=4, kind=kind)
    before = pf.metrics.nll(flow, data.x).mean
    pf.fit(flow, data.x, num_steps=200, batch_size=256, progress=False)
    assert pf.metrics.nll(flow, data.x).mean < before - 0.02
    samples, log_prob = flow.sample_and_log_prob(500)
    assert_close(flow.log_prob(samples), log_prob, rtol=1e-4, atol=1e-4)
    assert pf.verify(flow, data.x[:50]).ok


FLOWS = {
    "planar": lambda: pf.recipes.planar(2, num_layers=8),
    "radial": lambda: pf.recipes.planar(2, num_layers=8, kind="radial"),
    "sylvester": lambda: pf.recipes.planar(2, num_layers=4, kind="sylvester"),
    "cnf": lambda: pf.recipes.cnf(2, hidden_features=(16, 16), method="rk4", num_steps=6),
}


@pytest.mark.parametrize("name", FLOWS)
def test_densities_integrate_to_one_before_and_after_training(name):
    data = pf.data.two_moons(1_000, standardize=True)
    torch.manual_seed(0)
    flow = perturb(FLOWS[name](), size=0.3)
    for num_steps in (None, 40):
        if num_steps:
            pf.fit(flow, data.x, num_steps=num_steps, batch_size=256, progress=False)
        with torch.no_grad():
            reach = 1.5 * flow.sample(2_000).abs().max().item() + 1
            line = torch.linspace(-reach, reach, 201, dtype=torch.float64)
            density = flow.double().log_prob(torch.cartesian_prod(line, line)).exp()
        assert density.sum().item() * (line[1] - line[0]).item() ** 2 == pytest.approx(1, abs=1e-3)
        flow.float()


def test_a_planar_flow_of_32_layers_on_two_blobs_is_undone():
    data = pf.data.two_blobs(500, standardize=True)
    torch.manual_seed(0)
    flow = pf.recipes.planar(2, num_layers=32)
    pf.fit(flow, data.x, num_steps=40, batch_size=256, progress=False)
    for dtype, tolerance in ((torch.float32, 1e-3), (torch.float64, 1e-9)):
        flow.to(dtype)
        x = data.x.to(dtype)
        with torch.no_grad():
            assert (flow.decode(flow.encode(x)) - x).abs().max() < tolerance
            samples, log_prob = flow.sample_and_log_prob(300)
            assert (flow.log_prob(samples) - log_prob).abs().max() < tolerance


def test_gradients_flow_through_the_inverse_to_every_parameter():
    flow = pf.recipes.planar(2, num_layers=2)
    perturb(flow)
    samples, log_prob = flow.sample_and_log_prob(50)
    (log_prob + samples.square().sum(-1)).mean().backward()
    assert all(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in flow.parameters())


class Given(torch.nn.Module):
    """A conditioner that returns the same numbers for every row."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def forward(self, x, context=None):
        return self.numbers.expand(*x.shape[:-1], -1)


def test_a_conditioners_numbers_are_added_in_the_documented_order():
    x, numbers = torch.randn(4, 2), torch.tensor([0.5, -1.0, 2.0, 0.3, 0.7])
    for make, names in ((Planar, ("u", "w", "b")), (Radial, ("centre", "raw_alpha", "raw_beta"))):
        plain = make(2)
        sizes = [getattr(plain, name).numel() for name in names]
        moved = make(2, conditioner=Given(numbers[: sum(sizes)]))
        with torch.no_grad():
            for name, more in zip(names, numbers[: sum(sizes)].split(sizes), strict=True):
                getattr(moved, name).copy_(getattr(plain, name))
                getattr(plain, name).add_(more)
        for got, wanted in zip(moved(x), plain(x), strict=True):
            assert_close(got, wanted)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_a_strong_radial_map_inverts_near_its_centre_and_far_from_it(dtype, tolerance):
    radial = Radial(2).to(dtype)
    with torch.no_grad():
        radial.centre.zero_()
        radial.raw_beta.fill_(1e4)
        x = torch.logspace(-3, 17, 41, dtype=dtype)[:, None] * torch.tensor([0.6, -0.8], dtype=dtype)
        y, log_det = radial(x)
        back, log_det_back = radial.inverse(y)
    assert_close(back, x, rtol=tolerance, atol=0)
    assert_close(log_det_back, -log_det, rtol=tolerance, atol=10 * tolerance)


def test_reflections_make_orthonormal_columns():
    for mode in ("householder", "orthogonal"):
        q = Sylvester(5, rank=3, mode=mode).double()._params()[0]
        assert_close(q.T @ q, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Planar(0), "features must be an integer of at least 1; got 0."),
        (lambda: Radial(-1), "features must be an integer of at least 1; got -1."),
        (lambda: Sylvester(2, rank=3), "rank must be an integer from 1 to 2; got 3."),
        (lambda: Sylvester(2, mode="qr"), "mode must be one of householder, orthogonal; got 'qr'."),
        (lambda: pf.recipes.planar(2, kind="ridge"), "kind must be one of planar, radial, sylvester; got 'ridge'."),
        (lambda: pf.recipes.planar(2, kind="sylvester", context_features=1), "sylvester maps take no context"),
    ],
)
def test_what_is_not_valid_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_conditioner_of_the_wrong_size_is_refused():
    planar = Planar(2, conditioner=MLP(0, 4, context_features=1))
    with pytest.raises(ValueError, match="the conditioner must return 5 numbers; got 4"):
        planar(torch.zeros(3, 2), torch.zeros(3, 1))
