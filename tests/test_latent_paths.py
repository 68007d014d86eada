"""Paths through the latent space."""

import pytest
import torch

import pushforward as pf


def perturbed(context_features=0, features=6):
    torch.manual_seed(0)
    flow = pf.recipes.realnvp(
        features, num_layers=3, context_features=context_features, preprocessing=[pf.transforms.Shift(2.0)]
    ).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow


def identity(features):
    return pf.Flow(pf.transforms.Compose([]), pf.bases.StandardNormal(features).double())


@pytest.mark.parametrize("kind", ["straight", "spherical"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_both_ends_of_a_path_are_the_rows(kind, batch):
    flow = perturbed()
    start, end = torch.randn(2, *batch, 6, dtype=torch.float64)
    path = pf.latent_path(flow, start, end, num_points=5, kind=kind)
    assert path.x.shape == path.z.shape == (*batch, 5, 6)
    torch.testing.assert_close(path.x[..., 0, :], start)
    torch.testing.assert_close(path.x[..., -1, :], end)
    torch.testing.assert_close(flow.encode(path.x), path.z)


def test_a_straight_path_has_equal_steps():
    start, end = torch.randn(2, 6, dtype=torch.float64)
    z = pf.latent_path(perturbed(), start, end, num_points=4).z
    steps = z.diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand(3, -1))


def test_a_spherical_path_turns_at_constant_speed_and_keeps_the_length():
    start, end = torch.tensor([3.0, 0.0, 0.0]).double(), torch.tensor([0.0, 1.0, 0.0]).double()
    z = pf.latent_path(identity(3), start, end, num_points=4, kind="spherical").z
    angles = torch.linspace(0, torch.pi / 2, 4, dtype=torch.float64)
    torch.testing.assert_close(z.norm(dim=-1), torch.tensor([3, 7 / 3, 5 / 3, 1]).double())
    expected = torch.stack([angles.cos(), angles.sin(), torch.zeros(4)], -1) * z.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(z, expected)


def test_a_straight_path_is_shorter_in_the_middle_than_a_spherical_one():
    start, end = torch.randn(2, 50, 200, dtype=torch.float64)
    middle = {
        kind: pf.latent_path(identity(200), start, end, num_points=3, kind=kind).z[:, 1].norm(dim=-1).mean().item()
        for kind in ("straight", "spherical")
    }
    assert middle["straight"] == pytest.approx(200**0.5 / 2**0.5, rel=0.03)
    assert middle["spherical"] == pytest.approx(200**0.5, rel=0.03)


@pytest.mark.parametrize("end", [[2.0, 2.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0 + 1e-7]])
def test_a_spherical_path_of_ends_on_one_ray_is_straight(end):
    start, end = torch.tensor([1.0, 1.0]).double(), torch.tensor(end).double()
    paths = [pf.latent_path(identity(2), start, end, kind=kind).z for kind in ("straight", "spherical")]
    torch.testing.assert_close(paths[0], paths[1], atol=1e-6, rtol=0)


def test_each_path_of_a_conditional_flow_keeps_its_own_context():
    flow = perturbed(context_features=2)
    start, end = torch.randn(2, 3, 6, dtype=torch.float64)
    context = torch.randn(3, 2, dtype=torch.float64)
    whole = pf.latent_path(flow, start, end, context, num_points=4)
    torch.testing.assert_close(whole.x[:, 0], start)
    one = pf.latent_path(flow, start[1], end[1], context[1], num_points=4)
    torch.testing.assert_close(whole.x[1], one.x)


def test_bad_options_are_named():
    flow, x = identity(2), torch.tensor([1.0, 2.0]).double()
    with pytest.raises(ValueError, match="num_points must be an integer of at least 2.*got 1"):
        pf.latent_path(flow, x, x, num_points=1)
    with pytest.raises(ValueError, match="kind must be one of straight, spherical; got 'round'"):
        pf.latent_path(flow, x, x, kind="round")
    with pytest.raises(ValueError, match=r"start and end must have one shape; got \(2,\) and \(1, 2\)"):
        pf.latent_path(flow, x, x[None])
    with pytest.raises(ValueError, match="opposite directions"):
        pf.latent_path(flow, x, -2 * x, kind="spherical")


def test_a_model_that_is_no_flow_is_refused():
    with pytest.raises(ValueError, match="flow must be a Flow; got VAE"):
        pf.latent_path(pf.vae.mlp_vae(4, latent_features=1), torch.zeros(4), torch.ones(4))
