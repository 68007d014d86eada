"""Gradients that a kernel hands on to plain torch: with a graph, many at once; and where its memory lies."""

import pytest
import torch

import pushforward as pf
import zoo
from pushforward.kernels.rational_quadratic import rational_quadratic
from pushforward.transforms import autoregressive_adjacency


def lu():
    return pf.recipes.nsf(4, num_layers=2, hidden_features=(9,), mixing="lu")


def additive_with_one_network():
    net = pf.nets.MLP(2, 2, hidden_features=(9,))
    masks = [torch.tensor([True, False, True, False]), torch.tensor([False, True, False, True])]
    couplings = [pf.transforms.Coupling(mask, pf.transforms.Additive(), net) for mask in masks]
    return pf.Flow(pf.transforms.Compose(couplings), pf.bases.StandardNormal(4))


def autoregressive_splines():
    spline, order = pf.transforms.RationalQuadratic(), torch.arange(4)
    net = pf.nets.MaskedMLP(autoregressive_adjacency(order), spline.num_params, hidden_features=(9,))
    return pf.Flow(pf.transforms.Autoregressive(order, spline, net), pf.bases.StandardNormal(4))


@pytest.fixture(params=[lu, additive_with_one_network, autoregressive_splines], ids=lambda make: make.__name__)
def flow(request):
    return zoo.perturb(request.param(), size=0.5).double()


@pytest.fixture
def x():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_gradient_with_a_graph_is_the_same_where_rows_come_from_the_parameters(flow, x):
    total = flow.log_prob(flow.encode(x) + x).sum()
    parameters = list(flow.parameters())
    alone = torch.autograd.grad(total, parameters, retain_graph=True)
    with_graph = torch.autograd.grad(total, parameters, create_graph=True)
    for one, other in zip(alone, with_graph, strict=True):
        torch.testing.assert_close(one, other)


def test_a_gradient_with_a_graph_is_the_same_where_a_splines_parameters_come_from_its_values():
    values = torch.linspace(-4, 4, 15, dtype=torch.float64).view(3, 5).requires_grad_()
    params = values.unsqueeze(-1) * torch.linspace(-1, 1, 23).double()
    mapped, log_slope = rational_quadratic(values, params, bins=8, bound=5.0, inverse=False)
    total = mapped.square().sum() + log_slope.sum()
    alone = torch.autograd.grad(total, values, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(total, values, create_graph=True)[0], alone)


def test_many_gradients_at_once_are_those_of_one_after_another(flow, x):
    each = [torch.autograd.functional.jacobian(flow.encode, x, vectorize=vectorize) for vectorize in (False, True)]
    torch.testing.assert_close(*each)


def test_kernels_run_on_the_cpu_whatever_the_default_device(flow, x):
    x.requires_grad_()
    wanted = torch.autograd.grad(flow.log_prob(x).sum(), x)[0]
    with torch.device("meta"):
        assert torch.equal(torch.autograd.grad(flow.log_prob(x).sum(), x)[0], wanted)
