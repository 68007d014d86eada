"""A user's `torch.compile` of a flow's methods, and `torch.export` of them."""

import pytest
import torch
from torch import distributions
from torch._dynamo.testing import CompileCounter

import pushforward as pf
import zoo
from pushforward.bases import Box, DiagonalNormal, FromTorch, GaussianMixture, Joint, StandardNormal
from pushforward.transforms import Affine, Compose, Coupling, LULinear, Standardize


@pytest.fixture(autouse=True)
def _compiles_anew():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def frames(function) -> int:  # noqa: ANN001
    """Compile without a graph break, call with three sizes, and return how often it was compiled."""
    counter = CompileCounter()
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for size in (5, 7, 9):
        compiled(size)
    return counter.frame_count


def couplings() -> pf.Flow:
    """Eight couplings of three layouts."""
    masks = [torch.tensor(mask, dtype=torch.bool) for mask in ([1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1])]
    layers = [Coupling(masks[place % 3], Affine(), pf.nets.MLP(2, 4, hidden_features=(4,))) for place in range(8)]
    return zoo.perturb(pf.Flow(Compose(layers), StandardNormal(4), [Standardize(4)]))


@pytest.mark.parametrize("method", ["log_prob", "sample"])
def test_eight_couplings_of_three_layouts_compile_twice_whatever_the_sizes(method):
    flow, rows = couplings(), torch.ones(9, 4)
    calls = {"log_prob": lambda size: flow.log_prob(rows[:size]), "sample": lambda size: flow.sample(size)}
    assert frames(calls[method]) == 2


BASES = {
    "diagonal normal": lambda: DiagonalNormal(2),
    "box": lambda: Box(2),
    "mixture": lambda: GaussianMixture(2, 3),
    "by icdf": lambda: FromTorch(distributions.Laplace(0.0, 1.0), 2),
    "joint": lambda: Joint([Box(1), GaussianMixture(1, 2)]),
}


@pytest.mark.parametrize("name", BASES)
def test_sampling_compiles_over_every_base_whatever_the_sizes(name):
    flow = pf.Flow(LULinear(2), BASES[name]())
    assert frames(flow.sample) == 2
    assert frames(lambda size: flow.sample_and_log_prob(size)[1]) == 2
