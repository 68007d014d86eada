"""The options of `fit`, each written once, and what a loss says it needs of the model."""

import functools
import inspect
from dataclasses import fields

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.errors import InputError
from pushforward.training import fit
from pushforward.training.options import Options

X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))


def flow(context_features=0):
    return pf.recipes.realnvp(2, num_layers=1, hidden_features=(4,), context_features=context_features)


def try_fit(model, loss, data=X):
    return fit(model, data, loss=loss, num_steps=1, progress=False)


def test_every_argument_of_fit_is_explained_and_every_option_is_one_of_them():
    arguments = inspect.signature(fit).parameters
    text = inspect.getdoc(fit)
    assert all(f"\n    {name}: " in text for name in arguments)
    assert {field.name for field in fields(Options)} <= set(arguments)


def test_options_have_no_defaults_beside_those_of_fit():
    with pytest.raises(TypeError, match="missing"):
        Options()


@pytest.mark.parametrize("changed", [{"seed": 1}, {"loss": functools.partial(pf.losses.nll)}, {"optimizer": "adamw"}])
def test_another_option_is_another_digest(changed):
    arguments = {name: parameter.default for name, parameter in inspect.signature(fit).parameters.items()}
    assert Options.among(arguments).digest() != Options.among({**arguments, **changed}).digest()


def wrapped(loss):
    @functools.wraps(loss)
    def outer(*args, **options):
        return loss(*args, **options)

    return outer


class WithOwnNeed:
    needs = "terms"

    def __call__(self, model, batch, generator):
        return model.terms(batch.x)


@pytest.mark.parametrize(
    "loss",
    [
        pf.losses.elbo,
        functools.partial(pf.losses.elbo, num_samples=2),
        functools.partial(functools.partial(pf.losses.elbo, binarize="none"), num_samples=2),
        torch.compile(pf.losses.elbo, backend="eager"),
        functools.partial(torch.compile(pf.losses.elbo, backend="eager"), num_samples=2),
        wrapped(pf.losses.elbo),
        WithOwnNeed(),
    ],
)
def test_a_loss_keeps_what_it_needs_when_it_is_wrapped(loss):
    message = r"the loss (elbo|WithOwnNeed) needs a model with terms; Flow has none: give loss=pf.losses.nll\.$"
    with pytest.raises(InputError, match=message):
        try_fit(flow(), loss)


def test_a_partial_may_say_for_itself_what_it_needs():
    loss = functools.partial(pf.losses.nll)
    loss.needs = "energy"
    with pytest.raises(InputError, match="needs a model with energy; Flow has none"):
        try_fit(flow(), loss)


def test_a_need_is_the_name_of_a_method():
    loss = functools.partial(pf.losses.nll)
    loss.needs = ("log_prob", "encode")
    with pytest.raises(InputError, match=r"loss.needs must be the name of a method; got \('log_prob', 'encode'\)"):
        try_fit(flow(), loss)


def test_a_loss_that_says_nothing_is_taken_at_its_word():
    assert try_fit(flow(), lambda model, batch, generator: -model.log_prob(batch.x)).steps == 1


@pytest.mark.parametrize(
    ("make", "loss", "suited"),
    [
        (flow, pf.losses.dequantized_nll, "nll"),
        (lambda: pf.vae.mlp_vae(2, latent_features=1), pf.losses.nll, "elbo"),
        (lambda: pf.VariationalDequantization(flow(), flow(2), levels=4), pf.losses.nll, "dequantized_nll"),
    ],
)
def test_the_remedy_is_the_loss_that_suits_the_model(make, loss, suited):
    model = make()
    with pytest.raises(InputError, match=rf"{type(model).__name__} has none: give loss=pf.losses.{suited}\.$"):
        try_fit(model, loss, torch.randint(4, (40, 2)))


def test_a_model_that_suits_no_loss_is_told_so():
    with pytest.raises(InputError, match="needs a model with log_prob; Linear has none: give a loss that suits"):
        try_fit(nn.Linear(2, 2), pf.losses.nll)


@pytest.mark.parametrize("loss", [pf.losses.bottleneck, pf.losses.reverse_kl])
def test_losses_of_flows_are_refused_for_a_model_that_is_none(loss):
    with pytest.raises(InputError, match=f"the loss {loss.__name__} needs a model with .*VAE has none"):
        try_fit(pf.vae.mlp_vae(2, latent_features=1), loss)


# ---- options that would not be used, or not work ---------------------------------------------------------------------


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": sgd, "learning_rate": 0.1}, "learning_rate=0.1 would not be used: .*set it there"),
        ({"optimizer": sgd, "weight_decay": 0.0}, "weight_decay=0.0 would not be used: .*set it there"),
        ({"patience": 3, "validation": None}, "patience= counts reports .*: give validation="),
        (
            {"optimizer": torch.optim.LBFGS},
            "LBFGS evaluates the loss several times a step, .*: use an optimizer",
        ),
    ],
)
def test_what_would_be_ignored_or_fail_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        pf.fit(pf.recipes.nice(2), torch.randn(50, 2), num_steps=1, progress=False, **options)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fit_trains_where_gradients_are_switched_off(mode):
    flow, free = pf.recipes.nice(2), pf.recipes.nice(2)
    free.load_state_dict(flow.state_dict())
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    with mode():
        inside = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        history = pf.fit(flow, inside, num_steps=5, progress=False)
        assert not torch.is_grad_enabled()
    assert history.rows[-1] | {"seconds": 0} == pf.fit(free, x, num_steps=5, progress=False).rows[-1] | {"seconds": 0}


def test_a_distribution_is_a_log_density():
    target = torch.distributions.MultivariateNormal(torch.tensor([1.0, -1.0]), torch.eye(2))
    found = []
    for log_density in (target, target.log_prob):
        torch.manual_seed(0)
        flow = pf.recipes.nice(2)
        loss = functools.partial(pf.losses.reverse_kl, log_density=log_density)
        found.append(pf.fit(flow, None, loss=loss, num_steps=3, progress=False).rows[-1]["train_loss"])
    assert found[0] == found[1]
