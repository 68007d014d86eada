"""The test energies: their integrals, against another quadrature, and their study's measure of divergence."""

import math

import numpy as np
import pytest
import torch

from pushforward.bases import DiagonalNormal
from pushforward.data import ENERGIES, Energy
from pushforward.flows import Flow
from pushforward.studies.plane.energies import _kl
from pushforward.transforms import Compose


@pytest.mark.parametrize("name", ENERGIES)
def test_log_z_is_that_of_gauss_legendre_quadrature(name):
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(400))
    x = 7 * torch.stack(torch.meshgrid(nodes, nodes, indexing="ij"), -1)
    integral = (ENERGIES[name].log_density(x).exp() * torch.outer(weights, weights)).sum() * 49
    assert ENERGIES[name].log_z == pytest.approx(math.log(integral), abs=1e-3)
    probability = (ENERGIES[name].log_prob(x).exp() * torch.outer(weights, weights)).sum() * 49
    assert probability.item() == pytest.approx(1, abs=1e-3)


def potential(name, z1, z2):
    """U of the paper's table 1, written out."""
    w1, w2, w3 = np.sin(2 * np.pi * z1 / 4), 3 * np.exp(-0.5 * ((z1 - 1) / 0.6) ** 2), 3 / (1 + np.exp(-(z1 - 1) / 0.3))
    if name == "ring":
        ends = np.exp(-0.5 * ((z1 - 2) / 0.6) ** 2) + np.exp(-0.5 * ((z1 + 2) / 0.6) ** 2)
        return 0.5 * ((np.sqrt(z1**2 + z2**2) - 2) / 0.4) ** 2 - np.log(ends)
    if name == "sine":
        return 0.5 * ((z2 - w1) / 0.4) ** 2
    first, second = (0.35, z2 - w1 + w2) if name == "split" else (0.4, z2 - w1 + w3)
    return -np.log(np.exp(-0.5 * ((z2 - w1) / first) ** 2) + np.exp(-0.5 * (second / 0.35) ** 2))


@pytest.mark.parametrize("name", ENERGIES)
def test_an_energy_is_the_papers_between_the_walls_and_falls_beyond_them(name):
    z1, z2 = np.random.default_rng(0).uniform(-3, 3, (2, 100))
    z = torch.from_numpy(np.stack((z1, z2), -1))
    np.testing.assert_allclose(-ENERGIES[name].log_density(z).numpy(), potential(name, z1, z2), rtol=1e-9)
    if name != "ring":
        at, beyond = (ENERGIES[name].log_density(torch.tensor([shift, 0.5]).double()) for shift in (-5.0, -9.0))
        # One wave length apart only the wall differs, by ((9 - 4)^2 - (5 - 4)^2) / (2 0.2^2).
        assert (beyond - at).item() == pytest.approx(-24 / (2 * 0.2**2), rel=1e-9)


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
