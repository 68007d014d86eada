"""A transform says what it is made of, and a wrapper of the user's own loses nothing of what it wraps."""

import pytest
import torch
from torch import Tensor, nn

from pushforward import Flow
from pushforward.bases import Box, FromTorch, Joint, StandardNormal
from pushforward.nets import MLP, MaskedMLP, TimeMLP
from pushforward.transforms import (
    ActNorm,
    Affine,
    Autoregressive,
    Compose,
    Continuous,
    Coupling,
    Elementwise,
    Inverse,
    LULinear,
    OnFeatures,
    Permutation,
    PerPixel,
    Scale,
    Shift,
    Transform,
    autoregressive_adjacency,
    masks,
)


class Wrapper(Transform):
    """What a user writes: another transform, handed everything; minimal but for the context, which it passes on."""

    def __init__(self, inner: Transform) -> None:
        super().__init__()
        self.inner = inner
        self.context_features = inner.context_features

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner.inverse(y, context)


class InTurn(Transform):
    """Parts in a dictionary, run in turn without Compose."""

    def __init__(self, **parts: Transform) -> None:
        super().__init__()
        self.named = nn.ModuleDict(parts)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[:-1])
        for part in self.named.values():
            x, log_det = part(x)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def coupling(*, context_features: int = 0, keep_first: bool = True) -> Coupling:
    mask = masks.halves(4) if keep_first else ~masks.halves(4)
    net = MLP(2, 4, hidden_features=(8,), context_features=context_features)
    layer = Coupling(mask, Affine(), net)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    return layer


def autoregressive() -> Autoregressive:
    order = torch.arange(4)
    return Autoregressive(order, Affine(), MaskedMLP(autoregressive_adjacency(order), 2, hidden_features=(8,)))


def hutchinson() -> Continuous:
    return Continuous(TimeMLP(4, hidden_features=(8,)), method="rk4", num_steps=2, trace="hutchinson")


AROUND = {
    "wrapper": Wrapper,
    "wrapper of a wrapper": lambda part: Wrapper(Wrapper(part)),
    "compose": lambda part: Compose([Shift(1.0), part]),
    "wrapper of a compose": lambda part: Wrapper(Compose([part, Shift(1.0)])),
    "parts in a dictionary": lambda part: InTurn(first=Shift(1.0), second=part),
    "on features": lambda part: OnFeatures((0, 1, 2, 3), part),
    "per pixel": lambda part: PerPixel((4, 1, 1), part),
}


@pytest.mark.parametrize("around", AROUND)
class TestWhateverIsAround:
    def test_an_estimate_is_called_one(self, around: str) -> None:
        assert not AROUND[around](hutchinson()).exact_log_det
        assert AROUND[around](coupling()).exact_log_det

    def test_passes_are_those_of_the_slowest_part(self, around: str) -> None:
        whole = AROUND[around](autoregressive())
        assert (whole.forward_passes, whole.inverse_passes) == (1, 4)
        whole = AROUND[around](Inverse(autoregressive()))
        assert (whole.forward_passes, whole.inverse_passes) == (4, 1)

    def test_probes_are_redrawn(self, around: str) -> None:
        part = hutchinson()
        before = part.probes.clone()
        whole = AROUND[around](part)
        for seed in range(8):  # eight draws of four signs that all come out the same are one in 16^8
            whole.redraw(torch.Generator().manual_seed(seed))
            if not torch.equal(part.probes, before):
                return
        pytest.fail("the probes stayed the same")

    def test_parts_learn_from_the_rows_that_reach_them(self, around: str) -> None:
        part = ActNorm(4)
        x = 3 + 2 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
        whole = AROUND[around](part)
        whole.initialize(x)
        y = whole(x)[0] - (1.0 if around == "wrapper of a compose" else 0.0)
        torch.testing.assert_close(y.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(y.std(0, correction=0), torch.ones(4))

    def test_a_part_learns_once_and_no_hook_is_left(self, around: str) -> None:
        part = ActNorm(4)
        whole = AROUND[around](part)
        whole.initialize(torch.randn(50, 4))
        shift = part.shift.detach().clone()
        whole.initialize(5 + torch.randn(50, 4))
        assert torch.equal(part.shift, shift)
        assert not any(module._forward_pre_hooks for module in whole.modules())


def test_fixed_leaves_a_wrapper_around_the_mixing() -> None:
    permutation = Permutation([2, 0, 3, 1])
    whole = Wrapper(Compose([permutation, coupling(context_features=3)]))
    fixed = whole.fixed()
    x = torch.randn(5, 4)
    assert isinstance(fixed, Wrapper)
    assert fixed.context_features == 0
    assert torch.equal(fixed(x)[0], permutation(x)[0])
    assert whole.inner[1].conditioner.context_features == 3, "the whole is left as it was"


def test_fixed_of_a_map_that_learns_around_its_parts_is_their_mixing() -> None:
    class Stretched(Wrapper):
        def __init__(self, inner: Transform) -> None:
            super().__init__(inner)
            self.log_scale = nn.Parameter(torch.ones(()))

    x = torch.randn(5, 4)
    permutation = Permutation.reverse(4)
    y, log_det = Stretched(Compose([permutation, LULinear(4)])).fixed()(x)
    assert torch.equal(y, permutation(x)[0])
    assert not log_det.any()


def test_fixed_of_what_learned_nothing_is_itself() -> None:
    part = Wrapper(Scale((2.0, 1.0, 1.0, 1.0)))
    assert part.fixed() is part


def test_from_base_keeps_the_mixing_inside_a_wrapper() -> None:
    permutation = Permutation([1, 2, 3, 0])
    flow = Flow(Compose([Wrapper(Compose([permutation, coupling()])), coupling(keep_first=False)]), StandardNormal(4))
    x = torch.randn(6, 4)
    torch.testing.assert_close(flow.from_base(1).encode(x), flow.transform[1](permutation(x)[0])[0])


class TestInverse:
    """`Flow(Inverse(Compose([...])))`: written base to data, as the course's flows are."""

    def flow(self) -> Flow:
        parts = [coupling(), Permutation.reverse(4), coupling(keep_first=False), coupling()]
        names = ["one", "mirror", "two", "three"]
        return Flow(Inverse(Compose(parts, names=names)), StandardNormal(4))

    def test_it_names_the_steps_of_the_other(self) -> None:
        steps = self.flow().steps(torch.randn(3, 4))
        assert [step.name for step in steps] == ["three", "two", "mirror", "one"]

    @pytest.mark.parametrize("num_layers", range(4))
    def test_from_base_counts_the_layers_inside(self, num_layers: int) -> None:
        flow = self.flow()
        one, mirror, two, three = flow.transform.transform
        x = torch.randn(5, 4)
        expected, log_det = x, torch.zeros(5)
        for part, least in ((three, 3), (two, 2), (mirror, 0), (one, 1)):
            if num_layers >= least:
                expected, step = part.inverse(expected)
                log_det = log_det + step
        found = flow.from_base(num_layers)
        torch.testing.assert_close(found.encode(x), expected)
        torch.testing.assert_close(found.log_prob(x), flow.base.log_prob(expected) + log_det)
        assert [step.name for step in found.steps(x)] == ["three", "two", "mirror", "one"]

    def test_too_many_layers_are_refused_with_their_number(self) -> None:
        with pytest.raises(ValueError, match="num_layers, of the learned steps, must be an integer from 0 to 3; got 4"):
            self.flow().from_base(4)

    def test_twice_is_the_other_way_round_again(self) -> None:
        inner = Compose([Shift(1.0), Elementwise(4, Affine())])
        assert [name for name, _ in Inverse(Inverse(inner)).in_sequence()] == list(inner.names)


def test_a_base_says_where_its_density_is() -> None:
    assert StandardNormal(2).support == ""
    assert "inside [low, high]" in Box(2).support
    exponential = FromTorch(torch.distributions.Exponential(1.0), 1)
    assert Joint([StandardNormal(1), exponential]).support == exponential.support != ""
