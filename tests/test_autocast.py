"""Under autocast maps and log_dets are computed in the flow's own dtype; only conditioners run in half precision."""

import copy
import functools

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.numerics.roots import bracketed_root
from pushforward.transforms import Coupling, Elementwise, LULinear, Planar, RationalQuadratic, Standardize

HALVES = (torch.bfloat16, torch.float16)
specimen = functools.cache(lambda name: zoo.TRANSFORMS[name]())


def float32(name: str) -> tuple[pf.transforms.Transform, Tensor, Tensor | None]:
    transform, x, context = specimen(name)
    return copy.deepcopy(transform).float(), x.float(), None if context is None else context.float()


class InHalf(nn.Module):
    """A conditioner whose layers run in half precision wherever it is asked."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.autocast("cpu", self.dtype):
            return self.net(x, context).float()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", zoo.TRANSFORMS)
def test_only_the_conditioners_of_a_transform_run_in_half_precision(name, dtype):
    transform, x, context = float32(name)
    expected = copy.deepcopy(transform)
    for part in list(expected.modules()):
        if getattr(part, "conditioner", None) is not None:
            part.conditioner = InHalf(part.conditioner, dtype)
    with torch.no_grad():
        y = transform(x, context)[0]
        for direction, start in (("forward", x), ("inverse", y)):
            with torch.autocast("cpu", dtype):
                got = getattr(transform, direction)(start, context)
            assert got[0].dtype == got[1].dtype == torch.float32
            assert_close(got, getattr(expected, direction)(start, context), rtol=0, atol=0, equal_nan=True)
            if direction == "forward":
                with torch.autocast("cpu", dtype):
                    steps = transform.steps(start, context)
                assert_close(sum((step.log_det for step in steps), torch.zeros(7)), got[1])


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_flows_give_densities_and_samples_of_their_own_dtype(name):
    flow = zoo.make_flow(name)
    context = torch.randn(5, flow.context_features) if flow.context_features else None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        x, log_q = flow.sample_and_log_prob(1, context) if context is not None else flow.sample_and_log_prob(5)
        x, log_q = (x.squeeze(1), log_q.squeeze(1)) if context is not None else (x, log_q)
        assert x.dtype == log_q.dtype == flow.encode(x, context).dtype == torch.float32
        assert flow.log_prob(x, context).dtype == torch.float32


def fitted(features: int, x: Tensor, **options: object) -> pf.Flow:
    torch.manual_seed(0)
    flow = pf.recipes.nsf(features, num_layers=2, hidden_features=32, preprocessing=[Standardize(features)], **options)
    pf.fit(flow, x, num_steps=150, learning_rate=3e-3, progress=False)
    return flow


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_density_of_a_fitted_flow_is_that_of_float32(dtype):
    noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    narrow = 3 + 0.02 * noise
    bent = torch.stack((narrow[:, 0], noise[:, 1] + 30 * (narrow[:, 0] - 3)), 1)
    for flow, x in ((fitted(1, narrow[:, :1]), narrow[:, :1]), (fitted(2, bent, mixing="lu"), bent)):
        with torch.no_grad():
            expected = flow.log_prob(x)
            with torch.autocast("cpu", dtype):
                got = flow.log_prob(x)
                back = flow.decode(flow.encode(x))
        assert abs((got - expected).mean().item()) < 1e-3
        # Of a single row only what the conditioners lose: one column alone has none.
        assert (got - expected).abs().max() <= (0 if flow.features == 1 else 0.05)
        assert (back - x).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", ["nsf", "nsf, context", "realnvp", "maf", "glow"])
def test_rows_and_contexts_far_away_give_no_nan(name, dtype):
    flow = zoo.make_flow(name)
    x = torch.randn(4, flow.features)
    x[1], x[2] = 1e30, -1e5
    context = torch.full((4, flow.context_features), 1e30) if flow.context_features else None
    with torch.autocast("cpu", dtype):
        assert not flow.log_prob(x, context).isnan().any()


class Rotated(pf.transforms.Transform):
    """A user's own, by matrix products."""

    features = 2

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[0.6, -0.8], [0.8, 0.6]]))

    def forward(self, x, context=None):  # noqa: ANN001, ANN201
        return x @ self.matrix, x.new_zeros(x.shape[:-1])

    def inverse(self, y, context=None):  # noqa: ANN001, ANN201
        return y @ self.matrix.T, y.new_zeros(y.shape[:-1])


class Correlated(pf.bases.Base):
    """A user's own, by a matrix product."""

    features = 2

    def __init__(self) -> None:
        super().__init__()
        self.whitening = nn.Parameter(torch.tensor([[1.0, 0.3], [0.0, 1.7]]))

    def log_prob(self, z, context=None):  # noqa: ANN001, ANN201
        return -0.5 * (z @ self.whitening).square().sum(-1)

    def _draw(self, shape, context, temperature, generator):  # noqa: ANN001, ANN202
        return torch.randn(*shape, 2)


def test_a_users_own_transform_and_base_compute_in_their_own_dtype():
    x = torch.randn(20, 2) + 100
    flow = pf.Flow(Rotated(), Correlated())
    expected = flow.log_prob(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flow.log_prob(x), expected)
        assert_close(flow.decode(flow.encode(x)), x)


def test_a_training_step_under_autocast_has_gradients_of_float32_and_learns():
    torch.manual_seed(0)
    x = torch.randn(500, 2) * torch.tensor([1.0, 0.02]) + 3
    flow = pf.recipes.nsf(2, num_layers=2, hidden_features=16, preprocessing=[Standardize(2)])
    flow.initialize(x)
    optimizer, losses = torch.optim.Adam(flow.parameters(), 5e-3), []
    for _ in range(50):
        with torch.autocast("cpu", torch.bfloat16):
            loss = -flow.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is None or parameter.grad.dtype == torch.float32 for parameter in flow.parameters())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("adjoint", [False, True])
def test_continuous_flows_and_their_gradients_are_those_of_float32(adjoint):
    torch.manual_seed(0)
    flow = zoo.perturb(pf.recipes.cnf(2, hidden_features=8, method="rk4", num_steps=2))
    flow.transform.adjoint = adjoint
    x, found = torch.randn(6, 2), []
    for on in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            log_prob = flow.log_prob(x)
        flow.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=on and adjoint):  # the adjoint solves an equation of its own
            log_prob.sum().backward()
        found.append([log_prob.detach(), *(parameter.grad.clone() for parameter in flow.parameters())])
    assert_close(found[1], found[0])


@pytest.mark.parametrize(
    "transform",
    [
        LULinear(2),
        Elementwise(2, RationalQuadratic(4, 2.0)),
        Coupling(torch.tensor([True, False]), RationalQuadratic(4, 2.0), pf.nets.MLP(1, 11, hidden_features=8)),
        Planar(2),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_compilation_takes_a_map_under_autocast_without_a_graph_break(transform, monkeypatch):
    monkeypatch.setitem(bracketed_root.__kwdefaults__, "num_iterations", 12)  # the compiler unrolls them all
    transform, x = zoo.perturb(copy.deepcopy(transform)), torch.randn(7, 2)
    compiled = torch.compile(lambda x: transform.inverse(transform(x)[0])[0], fullgraph=True, backend="eager")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert_close(compiled(x), x, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert_close(compiled(x), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
def test_a_flow_in_half_precision_is_refused_with_the_remedy(cast):
    flow = getattr(pf.recipes.nsf(2, num_layers=2, preprocessing=[Standardize(2)]), cast)()
    dtype, x = {"half": "float16", "bfloat16": "bfloat16"}[cast], torch.randn(60, 2)
    calls = [
        lambda: flow.log_prob(x),
        lambda: flow.encode(x),
        lambda: flow.decode(x),
        lambda: flow.sample(3),
        lambda: flow.sample_and_log_prob(3),
        lambda: flow.steps(x),
        lambda: pf.fit(flow, x, num_steps=2, progress=False),
        lambda: pf.fit(flow, x.to(getattr(torch, dtype)), num_steps=2, progress=False),
    ]
    for call in calls:
        with pytest.raises(
            pf.InputError, match=rf"the flow's numbers are {dtype}, .*use flow.float\(\), and torch.autocast"
        ):
            call()
    assert flow.float().log_prob(x).isfinite().all()


def test_half_precision_data_of_a_flow_in_float32_are_taken():
    x = torch.randn(60, 2).bfloat16()
    flow = pf.recipes.nsf(2, num_layers=2, preprocessing=[Standardize(2)])
    pf.fit(flow, x, num_steps=2, progress=False)
    assert flow.log_prob(x).dtype == flow.sample(3).dtype == torch.float32


class Line(nn.Module):
    """A model of the user's own, no flow."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))

    def log_prob(self, x, context=None):  # noqa: ANN001, ANN201
        return -(x - self.mean).square().sum(-1)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_users_model_in_half_precision_is_fitted_and_resumed(dtype, tmp_path):
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    model = Line().to(dtype)
    pf.fit(model, x, num_steps=5, progress=False, out=tmp_path)
    again = Line().to(dtype)
    pf.fit(again, x, num_steps=5, progress=False, out=tmp_path, resume=True)
    assert torch.equal(again.mean, model.mean)
    assert model.mean.abs().sum() > 0
