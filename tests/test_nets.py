"""Conditioners: their sizes, what each output can see, and that they start at zero."""

import pytest
import torch
from torch.testing import assert_close

import zoo
from pushforward.nets import ACTIVATIONS, MLP, MaskedMLP, ResidualMLP
from pushforward.transforms import autoregressive_adjacency

PLAIN = {
    "mlp": lambda context=0, **options: MLP(3, 4, hidden_features=(8, 6), context_features=context, **options),
    "residual": lambda context=0, **options: ResidualMLP(3, 4, hidden_features=8, context_features=context, **options),
    "masked": lambda context=0, **options: MaskedMLP(
        torch.tensor([[1, 1, 0], [0, 1, 1]]).bool(), 2, hidden_features=(8, 6), context_features=context, **options
    ),
}
every = pytest.mark.parametrize("name", PLAIN)


def connections(net, in_features, context=None):
    """Which output depends on which input, by automatic differentiation at a few points: (outputs, inputs)."""
    x = torch.randn(20, in_features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (torch.func.vmap(torch.func.jacrev(lambda row: net(row, context)))(x) != 0).any(0)


@every
def test_a_fresh_net_returns_zeros(name):
    assert torch.equal(PLAIN[name]()(torch.randn(5, 3)), torch.zeros(5, 4))


@every
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_works_in_any_batch(name, activation):
    net = zoo.perturb(PLAIN[name](context=2, activation=activation))
    for batch in ((), (0,), (7,), (2, 3)):
        assert net(torch.zeros(*batch, 3), torch.ones(2)).shape == (*batch, 4)
        assert net(torch.zeros(*batch, 3), torch.ones(*batch, 2)).shape == (*batch, 4)


@every
def test_context_changes_every_output(name):
    net = zoo.perturb(PLAIN[name](context=2, activation="tanh")).double()
    x = torch.zeros(3, dtype=torch.float64)
    J = torch.func.jacrev(lambda context: net(x, context))(torch.ones(2, dtype=torch.float64))
    assert torch.all(J != 0)


@every
def test_dropout_is_random_in_training_alone(name):
    net, x = zoo.perturb(PLAIN[name](dropout=0.5), size=2), torch.ones(50, 3)
    net.train()
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_the_context_alone_can_decide():
    for net in (MLP(0, 4, context_features=2), ResidualMLP(0, 4, context_features=2)):
        zoo.perturb(net)
        assert net(torch.zeros(5, 0), torch.ones(2)).shape == (5, 4)
        assert_close(net(torch.zeros(5, 0), torch.ones(2))[3], net(torch.zeros(0), torch.ones(2)))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
@pytest.mark.parametrize("hidden", [(8,), (16, 12), (4, 4, 4)])
def test_an_autoregressive_net_sees_exactly_the_features_before(order, hidden):
    adjacency = autoregressive_adjacency(order)
    for place, feature in enumerate(order):
        assert adjacency[feature].nonzero().flatten().tolist() == sorted(order[:place])
    net = zoo.perturb(MaskedMLP(adjacency, 3, hidden_features=hidden, activation="tanh")).double()
    assert torch.equal(connections(net, 4), adjacency.repeat(3, 1))


def test_context_reaches_the_first_feature_of_an_autoregressive_net():
    net = zoo.perturb(MaskedMLP(autoregressive_adjacency([1, 0, 2]), 2, hidden_features=(9, 9), context_features=3))
    net = net.double()
    x = torch.zeros(3, dtype=torch.float64)
    J = torch.func.jacrev(lambda context: net(x, context))(torch.ones(3, dtype=torch.float64))
    assert torch.all((J != 0).any(1))
    assert torch.equal(
        connections(net, 3, torch.ones(3, dtype=torch.float64)),
        autoregressive_adjacency([1, 0, 2]).repeat(2, 1),
    )


def test_any_adjacency_matrix_is_kept_to():
    adjacency = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    adjacency[2] = False
    net = zoo.perturb(MaskedMLP(adjacency, 1, hidden_features=(30, 30), activation="tanh")).double()
    assert torch.equal(connections(net, 5), adjacency)


def test_narrow_nets_lose_connections_but_gain_none():
    adjacency = autoregressive_adjacency(range(10))
    net = zoo.perturb(MaskedMLP(adjacency, 1, hidden_features=(3, 3), activation="tanh")).double()
    seen = connections(net, 10)
    assert not (seen & ~adjacency).any()
    assert seen.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(2, 2, activation="sigmoid"), "activation must be one of relu, gelu, silu, tanh; got 'sigmoid'"),
        (lambda: MLP(2, 2, hidden_features=()), r"hidden_features must name at least one layer: .*; got \(\)"),
        (lambda: MLP(2, 2, hidden_features=(8, 0)), r"hidden_features\[1\] must be an integer of at least 1; got 0"),
        (lambda: MLP(2, 0), "out_features must be an integer of at least 1; got 0"),
        (lambda: MLP(2, 2, context_features=-1), "context_features must be an integer of at least 0; got -1"),
        (lambda: ResidualMLP(2, 2, num_blocks=0), "num_blocks must be an integer of at least 1; got 0"),
        (
            lambda: MaskedMLP(torch.ones(2, 2)),
            r"adjacency must be a boolean matrix; got float32 of shape \(2, 2\)",
        ),
        (
            lambda: MaskedMLP(torch.ones(2, 2).bool(), hidden_features=()),
            "hidden_features must name at least one layer",
        ),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", list(PLAIN))
def test_a_net_made_for_context_asks_for_it(name):
    with pytest.raises(ValueError, match=r"^the network needs context with 3 features; none was given\.$"):
        PLAIN[name](3)(torch.zeros(2, 3))
