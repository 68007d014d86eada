"""A user's `torch.compile` of a flow's methods, and `torch.export` of them."""

import pytest
import torch
from torch import Tensor, distributions
from torch._dynamo.testing import CompileCounter

import pushforward as pf
import zoo
from pushforward.bases import Box, DiagonalNormal, FromTorch, GaussianMixture, Joint, StandardNormal
from pushforward.transforms import Affine, Asinh, Compose, Coupling, Logit, LULinear, Scale, Shift, Standardize


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


class Calling(torch.nn.Module):
    """What is exported: one method of a flow."""

    def __init__(self, flow: pf.Flow, method: str) -> None:
        super().__init__()
        self.flow, self.method = flow, method

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.flow, self.method)(x)


# What torch's ONNX exporter translates, of the operators that flows are made of.
IN_ONNX = set(
    "_assert_tensor_metadata _log_softmax _softmax _to_copy abs add addmm alias amax arange asinh bitwise_and "
    "bitwise_not bitwise_or bmm cat clamp clone div eq exp expand flip full full_like gather ge gt hardtanh index_put "
    "index_select le log log1p lt minimum mm mul neg permute pow relu scalar_tensor select sigmoid sinh slice "
    "split_with_sizes sqrt squeeze sub sum sym_size tanh unsqueeze view where".split()
)


def chosen(features: int) -> pf.Flow:
    """Return what `pushforward fit` makes of a table, its last layer alone."""
    x = torch.randn(200, features, dtype=torch.float64).exp()
    flow = pf.recipes.auto(x)
    flow.initialize(x)
    return zoo.perturb(flow.from_base(1), size=0.3)


FLOWS = {
    "chosen, D = 1": lambda: chosen(1),
    "chosen": lambda: chosen(3),
    "prepared": lambda: pf.Flow(
        LULinear(2), Joint([StandardNormal(1), GaussianMixture(1, 2)]), [Shift(1.0), Scale(0.1), Logit()]
    ),
}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch.export's own
@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("method", ["log_prob", "decode"])
def test_an_exported_flow_holds_operators_of_onnx_alone(name, method):
    flow = FLOWS[name]()
    x = torch.rand(5, flow.features) + 0.5
    with torch.no_grad():
        program = torch.export.export(
            Calling(flow, method), (x,), dynamic_shapes={"x": {0: torch.export.Dim("rows", min=2, max=10_000)}}
        ).run_decompositions()
        rows = torch.rand(40, flow.features) + 0.5
        torch.testing.assert_close(program.module()(rows), getattr(flow, method)(rows), rtol=1e-4, atol=1e-4)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    operators = {name.split(".")[1] for name in names if name.startswith("aten.")}
    assert operators <= IN_ONNX, operators - IN_ONNX


def test_the_slope_of_asinh_is_right_near_and_far():
    asinh, x = Asinh(1).double(), torch.tensor([0.0, 1.0, -1.0, 3.0, 1e9, -1e30], dtype=torch.float64)[:, None]
    torch.testing.assert_close(asinh(x)[1], -torch.hypot(x, torch.ones_like(x)).log().squeeze(-1))
    single = x.float().requires_grad_()
    slope = asinh(single)[1]
    torch.testing.assert_close(slope, -torch.hypot(x, torch.ones_like(x)).log().squeeze(-1).float())
    slope.sum().backward()
    torch.testing.assert_close(single.grad, (-x / (1 + x.square())).float())


def test_a_flow_compiles_whatever_the_default_device():
    flow, x = zoo.perturb(pf.recipes.nsf(2, num_layers=2)), torch.randn(5, 2)
    expected = flow.log_prob(x)
    torch.set_default_device("cpu")
    try:
        found = torch.compile(flow.log_prob, fullgraph=True, backend="eager")(x)
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(found, expected)
