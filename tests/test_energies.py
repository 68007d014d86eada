"""The test energies: their integrals, against another quadrature, and their study's measure of divergence."""

import math

import numpy as np
import pytest
import torch

from pushforward.bases import DiagonalNormal
from pushforward.data import ENERGIES, Energy
from pushforward.flow import Flow
from pushforward.studies.energies import _kl
from pushforward.transforms import Compose


@pytest.mark.parametrize("name", ENERGIES)
def test_log_z_is_that_of_gauss_legendre_quadrature(name):
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(400))
    x = 7 * torch.stack(torch.meshgrid(nodes, nodes, indexing="ij"), -1)
    integral = (ENERGIES[name].log_density(x).exp() * torch.outer(weights, weights)).sum() * 49
    assert ENERGIES[name].log_z == pytest.approx(math.log(integral), abs=1e-3)


def test_a_gaussian_energy_has_the_known_integral_and_divergence():
    energy = Energy("gaussian", lambda z: -0.5 * z.square().sum(-1))
    assert energy.log_z == pytest.approx(math.log(2 * math.pi), abs=1e-9)
    base = DiagonalNormal(2)
    flow = Flow(Compose([]), base)
    assert _kl(flow, energy)[0] == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        base.mean.copy_(torch.tensor([1.0, 0.0]))
    divergence, error = _kl(flow, energy)
    assert abs(divergence - 0.5) < 4 * error


def test_energies_are_finite_with_finite_gradients_far_away():
    x = (1e6 * torch.randn(20, 2)).requires_grad_()
    for energy in ENERGIES.values():
        value = energy.log_density(x)
        assert value.isfinite().all()
        assert torch.autograd.grad(value.sum(), x)[0].isfinite().all()
