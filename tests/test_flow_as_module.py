"""A flow is a module like any other: called, wrapped, hooked, summed up, compiled, made on any device."""

import pytest
import torch
from torch import nn

import pushforward as pf
import zoo
from pushforward.recipes import RECIPES

FLOWS = {
    **{name: lambda make=make: make(2, context_features=3) for name, make in RECIPES.items()},
    "glow": lambda: pf.recipes.glow((1, 2, 2), num_levels=1, num_layers=2, hidden_channels=4, context_features=3),
    "realnvp_image": lambda: pf.recipes.realnvp_image(
        (1, 2, 2), num_levels=1, num_layers=2, hidden_channels=4, context_features=3
    ),
    "auto": lambda: pf.recipes.auto(torch.zeros(100, 2, device="cpu"), torch.zeros(100, 3, device="cpu")),
}


def data(flow):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, flow.features, generator=generator), torch.randn(6, 3, generator=generator)


def made(name):
    torch.manual_seed(0)
    return zoo.perturb(FLOWS[name]())


@pytest.mark.parametrize("name", FLOWS)
class TestEveryRecipe:
    def test_called_it_is_its_log_prob(self, name):
        flow = made(name)
        x, context = data(flow)
        assert torch.equal(flow(x, context), flow.log_prob(x, context))
        assert torch.equal(flow(x, context=context), flow.log_prob(x, context))

    def test_it_works_inside_data_parallel(self, name):
        flow = made(name)
        x, context = data(flow)
        assert torch.equal(nn.DataParallel(flow)(x, context), flow.log_prob(x, context))

    def test_under_the_meta_device_it_has_its_shapes(self, name):
        whole = FLOWS[name]()
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in FLOWS[name]().state_dict().items()}
        assert shapes == {key: value.shape for key, value in whole.state_dict().items()}

    def test_after_set_default_device_everything_lies_there(self, name):
        torch.set_default_device("meta")
        try:
            flow = FLOWS[name]()
        finally:
            torch.set_default_device(None)
        assert {parameter.device.type for parameter in flow.parameters()} == {"meta"}


def test_an_encoder_in_front_learns_through_the_flow():
    encoder, flow = nn.Linear(5, 2), made_without_context()
    model, x = nn.Sequential(encoder, flow), torch.randn(8, 5)
    log_prob = model(x)
    assert torch.equal(log_prob, flow.log_prob(encoder(x)))
    log_prob.sum().backward()
    assert encoder.weight.grad.abs().sum() > 0


def made_without_context():
    torch.manual_seed(0)
    return zoo.perturb(pf.recipes.realnvp(2, num_layers=2, hidden_features=(4,)))


def test_hooks_see_the_call():
    flow, seen = made_without_context(), []
    flow.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].shape))
    flow.register_forward_hook(lambda module, arguments, result: seen.append(result.shape))
    flow(torch.zeros(5, 2))
    assert seen == [(5, 2), (5,)]


def test_a_summary_by_hooks_meets_every_coupling():
    flow, met = made_without_context(), []
    for name, part in flow.named_modules():
        part.register_forward_hook(lambda module, arguments, result, name=name: met.append(name))
    flow(torch.zeros(5, 2))
    assert {"", "transform", "transform.transforms.0", "transform.transforms.1"} <= set(met)


def test_compiled_it_gives_the_same():
    flow, x = made_without_context(), torch.randn(20, 2)
    compiled = torch.compile(flow, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), flow.log_prob(x))


def test_functional_calls_take_other_weights():
    flow, x = made_without_context(), torch.randn(4, 2)
    other = {name: torch.zeros_like(value) for name, value in flow.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(flow, other, (x,)), pf.bases.StandardNormal(2).log_prob(x))


@pytest.mark.parametrize("num_layers", range(3))
def test_the_layers_nearest_the_base_take_the_same_context(num_layers):
    torch.manual_seed(0)
    flow = zoo.perturb(pf.recipes.realnvp(2, num_layers=2, context_features=3))
    x, context = data(flow)
    part = flow.from_base(num_layers)
    assert part.log_prob(x, context).shape == (6,)
    assert part.sample(4, context).shape == (6, 4, 2)
    with pytest.raises(ValueError, match="Flow needs context with 3 features; none was given"):
        part.log_prob(x)
    if not num_layers:
        torch.testing.assert_close(part.log_prob(x, context), flow.base.log_prob(x))
