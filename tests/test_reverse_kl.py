"""The gradient of KL(flow || density) is right whatever the base: with and without gradients through its samples."""

from functools import partial

import pytest
import torch
from torch import Tensor, distributions, nn
from torch.testing import assert_close

import pushforward as pf
from pushforward.bases import Base, Box, DiagonalNormal, FromTorch, GaussianMixture, Joint, StandardNormal
from pushforward.losses import Batch, reverse_kl
from pushforward.transforms import Elementwise, RationalQuadratic, Scale


class Exponential(Base):
    """A user's own that says that its samples carry no gradients."""

    features = 1
    has_rsample = False

    def __init__(self) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.tensor(0.3))

    def log_prob(self, z, context=None):  # noqa: ANN001, ANN201
        return torch.where(z >= 0, self.log_rate - z * self.log_rate.exp(), -torch.inf).squeeze(-1)

    @torch.no_grad()
    def sample(self, shape, *, context=None, temperature=1.0, generator=None):  # noqa: ANN001, ANN201
        uniform = torch.rand(*shape, 1, generator=generator, dtype=self.log_rate.dtype)
        return -torch.log1p(-uniform) / self.log_rate.exp()


def mixture() -> GaussianMixture:
    base = GaussianMixture(1, 3)
    with torch.no_grad():
        base.logits.copy_(torch.tensor([0.3, -0.5, 0.1]))
        base.mean.copy_(torch.tensor([[-1.0], [0.4], [2.0]]))
        base.log_std.copy_(torch.tensor([[0.1], [-0.4], [0.2]]))
    return base


BASES = {
    "standard normal": lambda: StandardNormal(1),
    "diagonal normal": lambda: DiagonalNormal(1),
    "mixture": mixture,
    "joint of a mixture": lambda: Joint([mixture()]),
    "fixed, by icdf": lambda: FromTorch(distributions.Laplace(0.2, 0.9), 1),
    "fixed, drawn": lambda: FromTorch(distributions.StudentT(9.0), 1),
    "a user's": Exponential,
}


def log_density(x: Tensor) -> Tensor:
    return -0.5 * ((x[..., 0] - 0.5) / 1.1).square()


@pytest.mark.parametrize("name", BASES)
def test_its_gradient_is_that_of_the_integral(name):
    flow = pf.Flow(Scale(torch.tensor([1.3]), learned=True), BASES[name]()).double()
    x = torch.linspace(-40, 40, 400_001, dtype=torch.float64)[:, None]
    log_q = flow.log_prob(x).clamp(min=-600)
    integral = ((log_q.exp() * (log_q - log_density(x))).sum() * (x[1] - x[0])).squeeze()
    parameters = list(flow.parameters())
    expected = torch.autograd.grad(integral, parameters)
    generator = torch.Generator().manual_seed(0)
    losses = reverse_kl(flow, Batch(None, None, None, 200_000), generator, log_density=log_density)
    got = torch.autograd.grad(losses.mean(), parameters)
    assert_close(losses.mean(), integral, rtol=0, atol=0.02)
    for have, want in zip(got, expected, strict=True):
        assert_close(have, want, rtol=0, atol=0.02)
        assert have.abs().max() > 0 or want.abs().max() < 1e-6


def test_a_mixture_base_finds_the_weights_of_separate_modes():
    torch.manual_seed(0)
    shares, places = torch.tensor([0.9, 0.1]), torch.tensor([-3.0, 3.0])
    law = distributions.MixtureSameFamily(
        distributions.Categorical(shares), distributions.Normal(places, torch.ones(2))
    )
    base = GaussianMixture(1, 2)
    with torch.no_grad():
        base.mean.copy_(torch.tensor([[-2.0], [2.0]]))
    loss = partial(reverse_kl, log_density=lambda x: law.log_prob(x[:, 0]))
    pf.fit(pf.Flow(Scale(1.0), base), None, loss=loss, num_steps=400, learning_rate=0.03, progress=False)
    assert_close(base.logits.softmax(-1), shares, rtol=0, atol=0.01)
    assert_close(base.mean.flatten(), places, rtol=0, atol=0.05)


def test_a_context_has_one_choice_a_row():
    net = pf.nets.MLP(0, 11, hidden_features=8, context_features=2)
    flow = pf.Flow(Elementwise(1, RationalQuadratic(4, 3.0), net), mixture())
    batch = Batch(None, torch.randn(50, 2), None, 50)
    losses = reverse_kl(flow, batch, torch.Generator().manual_seed(0), log_density=log_density)
    assert losses.shape == (50,)
    losses.mean().backward()
    assert flow.base.logits.grad.abs().sum() > 0


def test_one_row_and_rows_of_no_density_give_no_nan():
    flow = pf.Flow(Scale(1.0), mixture())
    losses = reverse_kl(flow, Batch(None, None, None, 1), log_density=log_density)
    assert losses.shape == (1,)
    losses = reverse_kl(
        flow, Batch(None, None, None, 400), log_density=lambda x: torch.where(x[:, 0] > 0, 0.0, -torch.inf)
    )
    assert losses.isposinf().any()
    assert not losses.isnan().any()


def test_what_is_chosen_without_a_gradient():
    assert StandardNormal(2).sample_with_choice(3)[1] is None
    assert Box(2).sample_with_choice(3)[1] is None
    base = GaussianMixture(2, 4)
    z, choice = base.sample_with_choice((3, 5), generator=torch.Generator().manual_seed(0))
    assert torch.equal(z, base.sample((3, 5), generator=torch.Generator().manual_seed(0)))
    assert choice.shape == (3, 5)
    z, choice = Joint([base, StandardNormal(1), base]).sample_with_choice(4)
    assert (z.shape, choice.shape) == ((4, 5), (4,))
    with torch.no_grad():
        assert Exponential().sample_with_choice((3,))[1] is None
    z, choice = Exponential().sample_with_choice((3,))
    assert not z.requires_grad
    assert choice.requires_grad
    with pytest.raises(pf.InputError, match="temperature must be"):
        base.sample_with_choice(3, temperature=-1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda weight: distributions.Normal(weight, 1.0),
        lambda weight: distributions.MixtureSameFamily(
            distributions.Categorical(torch.stack((weight, -weight)).exp()),
            distributions.Normal(torch.tensor([-1.0, 1.0]), 1.0),
        ),
    ],
)
def test_a_fixed_base_refuses_numbers_that_want_gradients(make):
    with pytest.raises(pf.InputError, match="a FromTorch base does not learn: give them detached"):
        FromTorch(make(torch.tensor(0.3, requires_grad=True)), 2)
    base = FromTorch(make(torch.tensor(0.3)), 2)
    assert base.sample(3).shape == (3, 2)
