"""What stands around a flow takes one that is on a GPU: metrics, verification, pictures, tables, autocast, defaults."""

import pytest
import torch

import pushforward as pf
from pushforward.__main__ import main

MOONS = pf.data.two_moons(400)


def flow_there(**options):
    torch.manual_seed(0)
    return pf.recipes.nsf(2, num_layers=2, hidden_features=(16,), **options).to("cuda")


def one_hot(labels):
    return torch.nn.functional.one_hot(labels, 2).float()


def test_metrics_run_where_the_flow_is():
    flow = flow_there()
    samples = flow.sample(400)
    here = flow_there().to("cpu")
    assert pf.metrics.nll(flow, MOONS.x).mean == pytest.approx(pf.metrics.nll(here, MOONS.x).mean, abs=1e-4)
    levels = (MOONS.x * 3 + 10).long()
    assert pf.metrics.nll(flow, levels.cuda(), dequantize=256).mean == pytest.approx(
        pf.metrics.nll(here, levels, dequantize=256).mean, abs=1e-3
    )
    assert pf.metrics.excess(flow, MOONS.density, 500, 1).mean > 0
    assert pf.metrics.mmd(samples, MOONS.x) > 0
    assert 0 <= pf.metrics.c2st(samples, MOONS.x) <= 1
    assert pf.metrics.latent_normality(flow.encode(MOONS.x.cuda()), num_simulations=3).num_rows == 400
    conditional = flow_there(context_features=2)
    assert pf.metrics.excess(conditional, MOONS.density, 500, 1, context_of_label=one_hot).mean > 0


def test_a_density_takes_points_from_there():
    there, here = MOONS.density.log_prob(MOONS.x.cuda()), MOONS.density.log_prob(MOONS.x)
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), here)


def test_a_flow_is_verified_there():
    assert pf.verify(flow_there(), MOONS.x.cuda()).ok
    assert pf.verify(flow_there(context_features=2), MOONS.x.cuda(), one_hot(MOONS.labels).cuda()).ok


def test_pictures_are_drawn_of_a_flow_there():
    flow, conditional, label = flow_there(), flow_there(context_features=2), torch.tensor([1.0, 0.0]).cuda()
    pf.plots.log_density(flow, grid=9)
    pf.plots.log_density(conditional, MOONS.x.cuda(), context=label, grid=9)
    pf.plots.log_density(torch.distributions.MultivariateNormal(torch.zeros(2).cuda(), torch.eye(2).cuda()), grid=9)
    pf.plots.steps(flow, lines=3)
    pf.plots.steps(flow, MOONS.x.cuda(), lines=3)
    pf.plots.panels(flow, MOONS.x.cuda(), grid=9)
    pf.plots.samples(flow.sample(50))


def test_a_tensor_or_generator_elsewhere_is_refused_with_the_remedy():
    flow = flow_there()
    with pytest.raises(ValueError, match=r"x\.to\('cuda"):
        flow.log_prob(MOONS.x)
    with pytest.raises(ValueError, match=r"torch\.Generator\('cuda"):
        flow.sample(3, generator=torch.Generator())


def test_a_density_under_autocast_is_float32s():
    flow, x = flow_there(), MOONS.x.cuda()
    exact = flow.log_prob(x)
    with torch.autocast("cuda", torch.bfloat16):
        found = flow.log_prob(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=1e-2, atol=5e-2)


def test_all_works_where_cuda_is_the_default_device():
    torch.set_default_device("cuda")
    try:
        flow = flow_there()
        data = pf.data.two_moons(300)
        pf.fit(flow, data.x, num_steps=5, progress=False)
        assert pf.metrics.nll(flow, data.x).num_rows == 300
        assert pf.verify(flow, data.x).ok
        model = pf.TableModel.fit(data.x.cpu().numpy(), num_steps=5, progress=False)
        assert model.sample(5, seed=0) is not None
        pf.plots.panels(flow, data.x, grid=9)
    finally:
        torch.set_default_device(None)


def test_the_command_line_fits_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = (
        ["fit", "two-moons", "--steps", "300", "--out", "first"],
        ["fit", "two-moons", "--steps", "300", "--out", "second"],
        ["fit", "two-moons", "--steps", "30", "--device", "cpu", "--out", "third"],
        ["sample", "first", "--num", "50"],
        ["score", "first", "samples.csv"],
        ["evaluate", "first", "two-moons"],
        ["verify", "first"],
    )
    for command in commands:
        assert main(command) == 0, capsys.readouterr()
    first, second = (pf.load(tmp_path / name / "model.safetensors").state_dict() for name in ("first", "second"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
