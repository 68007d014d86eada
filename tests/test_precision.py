"""`precision`: how exactly the networks inside a flow compute, and that nothing else is touched."""

import pytest
import torch
from torch.nn import functional

import pushforward as pf
from pushforward.numerics.precision import float32_products, layers_as_told


def perturbed(flow):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in flow.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return flow


FLOWS = {
    "coupling": lambda: pf.recipes.nsf(3, num_layers=2),
    "autoregressive": lambda: pf.recipes.maf(3, num_layers=2),
    "image": lambda: pf.recipes.glow((1, 4, 4), num_layers=1),
}


@pytest.mark.parametrize("recipe", FLOWS)
def test_bf16_rounds_the_networks_and_nothing_else(recipe):
    flow = perturbed(FLOWS[recipe]())
    x = torch.randn(50, flow.features, generator=torch.Generator().manual_seed(0))
    exact = flow.log_prob(x)
    with pf.precision("bf16"):
        rounded = flow.log_prob(x)
        z = flow.encode(x)
        steps = flow.steps(x)
    assert rounded.dtype == z.dtype == torch.float32
    assert 0 < (rounded - exact).abs().mean() < 0.3
    assert all(step.value.dtype == torch.float32 for step in steps)
    torch.testing.assert_close(
        flow.base.log_prob(steps[-1].value) + sum(step.log_det for step in steps), rounded, rtol=1e-4, atol=1e-3
    )


def test_a_flow_of_float64_is_not_rounded():
    flow = perturbed(FLOWS["coupling"]()).double()
    x = torch.randn(50, 3, dtype=torch.float64)
    exact = flow.log_prob(x)
    with pf.precision("bf16"):
        assert torch.equal(flow.log_prob(x), exact)


def test_chunks_that_run_side_by_side_are_rounded_too():
    flow = perturbed(pf.recipes.realnvp(2, num_layers=2))
    x = torch.randn(200_000, 2)
    with torch.no_grad(), pf.precision("bf16"):
        torch.testing.assert_close(flow.log_prob(x)[-100:], flow.log_prob(x[-100:]), rtol=1e-2, atol=0.1)
        assert (flow.log_prob(x)[-100:] - flow.log_prob(x[-100:])).abs().mean() < 1e-3


def test_what_was_in_force_comes_back():
    with pf.precision("bf16"):
        with pytest.raises(ZeroDivisionError), pf.precision("high"):
            raise ZeroDivisionError
        assert layers_as_told(torch.zeros(1)).fast_dtype == torch.bfloat16
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with float32_products(exact=False):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
        with float32_products(exact=True):
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_an_unknown_precision_is_named():
    message = "precision must be one of highest, high, bf16; got"
    with pytest.raises(pf.InputError, match=message), pf.precision("half"):
        pass
    with pytest.raises(pf.InputError, match=message):
        pf.fit(pf.recipes.realnvp(2), torch.randn(10, 2), precision="fp8")


def test_fit_in_bf16_trains_float32_weights():
    x = pf.data.two_moons(1000, seed=0).x
    flow = pf.recipes.realnvp(2, num_layers=2)
    history = pf.fit(flow, x, num_steps=60, precision="bf16", progress=False)
    assert {value.dtype for value in flow.parameters()} == {torch.float32}
    assert history.best_validation < history.rows[0]["validation_loss"] - 0.2
    exact = pf.fit(pf.recipes.realnvp(2, num_layers=2), x, num_steps=60, progress=False).best_validation
    assert history.best_validation != exact


def test_a_rounded_flow_is_one_graph_to_the_compiler():
    flow = perturbed(FLOWS["coupling"]())
    x = torch.randn(20, 3)
    with pf.precision("bf16"):
        torch.testing.assert_close(torch.compile(flow, backend="eager", fullgraph=True)(x), flow(x))


def test_a_network_that_overflows_in_bf16_sees_bounded_inputs():
    flow = perturbed(FLOWS["coupling"]())
    with pf.precision("bf16"):
        assert torch.isfinite(flow.log_prob(torch.full((2, 3), 1e30))).sum() == 0  # -inf of the base, not NaN
        assert not flow.log_prob(torch.full((2, 3), 1e30)).isnan().any()
        assert functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32
