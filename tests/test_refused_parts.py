"""What cannot be a part is refused where it is given: what was expected, what came, what to use."""

# ruff: noqa: E501 - the messages stand in one piece

import re
from functools import partial

import pytest
import torch
from torch import distributions as D
from torch import nn

import pushforward as pf
from pushforward.errors import InputError

T, NORMAL = pf.transforms, pf.bases.StandardNormal(2)
ROWS = torch.zeros(10, 2)


def mask():
    return torch.tensor([True, False])


def flow():
    return pf.recipes.realnvp(2, num_layers=2, hidden_features=(4,))


class OneWay(T.Transform):
    """A layer of a user who knows no context."""

    def forward(self, x):
        return 2 * x, x.new_zeros(x.shape[:-1])

    def inverse(self, y):
        return y / 2, y.new_zeros(y.shape[:-1])


class Around(T.Transform):
    """A wrapper that does not say whether it takes context."""

    def __init__(self, inner, **stated):
        super().__init__()
        self.inner = inner
        vars(self).update(stated)

    def forward(self, x, context=None):
        return self.inner(x, x[..., :1] if context is None else context)

    def inverse(self, y, context=None):
        return self.inner.inverse(y, context)


class OptimizedModule(nn.Module):
    """What torch.compile makes of a module."""

    _orig_mod = T.Scale(2.0)


def conditional():
    return T.Coupling(mask(), T.Affine(), pf.nets.MLP(1, 2, context_features=1))


REFUSED = [
    (lambda: pf.Flow(T.Scale(2.0), D.Normal(0.0, 1.0)), "base must be a base of pf.bases; got Normal: wrap it, pf.bases.FromTorch(Normal(...), features)."),
    (lambda: pf.Flow(T.Scale(2.0), D.MultivariateNormal(torch.zeros(2), torch.eye(2))), "base must be a base of pf.bases; got MultivariateNormal: use pf.bases.StandardNormal(features) below pf.transforms.LULinear"),
    (lambda: pf.Flow(T.Scale(2.0), D.Independent(D.Laplace(torch.zeros(2), 1.0), 1)), "got Independent: wrap what is inside it, pf.bases.FromTorch(Laplace(...), features)"),
    (lambda: pf.Flow(T.Scale(2.0), D.Dirichlet(torch.ones(2))), "got Dirichlet: pf.bases.FromTorch wraps univariate distributions, one a feature"),
    (lambda: pf.Flow(T.Scale(2.0), pf.bases.StandardNormal), "base must be a base of pf.bases; got the class StandardNormal: make an object of it, StandardNormal(...)"),
    (lambda: pf.Flow(T.Scale(2.0), flow()), "base must be a base of pf.bases; got Flow: chain two flows by pf.transforms.Compose([transform, flow.transform]) over flow.base"),
    (lambda: pf.Flow(T.Scale(2.0), [NORMAL]), "put bases side by side by pf.bases.Joint([...])"),
    (lambda: pf.Flow(flow(), NORMAL), "transform must be a transform; got Flow: use its .transform"),
    (lambda: pf.Flow(NORMAL, T.Scale(2.0)), "transform must be a transform; got StandardNormal"),
    (lambda: pf.Flow([T.Scale(2.0)], NORMAL), "make one of several by pf.transforms.Compose([...])"),
    (lambda: pf.Flow(OptimizedModule(), NORMAL), "got OptimizedModule: compile the whole flow"),
    (lambda: pf.Flow(T.Scale(2.0), NORMAL, T.Scale(2.0)), "preprocessing must be a list of transforms, such as [pf.transforms.Scale(2.0)] or pf.data.pixel_units('logit'); got Scale: put it into a list, [Scale(...)]"),
    (lambda: pf.Flow(T.Scale(2.0), NORMAL, [T.Standardize]), "preprocessing[0] must be a transform; got the class Standardize: make an object of it, Standardize(...)"),
    (lambda: pf.recipes.nsf(2, base=D.Normal(0.0, 1.0)), "base must be a base of pf.bases; got Normal"),
    (lambda: T.Compose([nn.BatchNorm1d(2)]), "transforms[0] must be a transform; got BatchNorm1d: use pf.transforms.ActNorm(features)"),
    (lambda: T.Compose([T.Scale(2.0), nn.Linear(2, 2)]), "transforms[1] must be a transform; got Linear: use pf.transforms.LULinear(features)"),
    (lambda: T.Compose([nn.Sequential()]), "got Sequential: make one of several by pf.transforms.Compose([...])"),
    (lambda: T.Compose([T.Affine()]), "got Affine: put it into pf.transforms.Elementwise, Coupling or Autoregressive"),
    (lambda: T.Compose([D.ExpTransform()]), "got ExpTransform: use one of pf.transforms, or a class of your own that inherits from"),
    (lambda: T.Compose(T.Scale(2.0)), "transforms must be a list of transforms, such as [pf.transforms.Scale(2.0)]"),
    (lambda: T.Compose([T.Scale(2.0), OneWay()]), "transforms[1]: OneWay.forward takes no context: give it an argument context=None, last."),
    (lambda: pf.Flow(OneWay(), NORMAL), "transform: OneWay.forward takes no context"),
    (lambda: T.Inverse(OneWay()), "transform: OneWay.forward takes no context"),
    (lambda: T.Compose([Around(conditional())]), "transforms[0]: Around holds Coupling, which takes 1 features of context, and does not say whether it takes them from outside: set self.context_features = 1 in its constructor, or 0 if it makes the context."),
    (lambda: T.Coupling(mask(), T.Affine, pf.nets.MLP(1, 2)), "univariate must be a family of maps of one variable; got the class Affine: make an object of it"),
    (lambda: T.Coupling(mask(), "affine", pf.nets.MLP(1, 2)), "got 'affine': use one such as pf.transforms.Affine()"),
    (lambda: T.Coupling(mask(), T.Affine(), nn.Sequential(nn.Linear(1, 2))), "conditioner must be a module (kept, context) -> parameters; Sequential takes no context: give its forward an argument context=None, or use pf.nets.MLP."),
    (lambda: T.Continuous(nn.Linear(2, 2)), "Linear needs an integer attribute `features`"),
    (lambda: pf.fit(ROWS, flow()), "model must be a torch.nn.Module with what the loss calls, such as log_prob; got Tensor of shape (10, 2): the model comes first, pf.fit(model, data)"),
    (lambda: pf.fit(pf.recipes.realnvp, ROWS), "got the function realnvp: call it, realnvp(...)"),
    (lambda: pf.fit(pf.Flow, ROWS), "got the class Flow: make an object of it, Flow(...)"),
    (lambda: pf.fit(flow(), ROWS, loss="nll"), "loss must be a function (model, batch, generator) -> one number a row; got 'nll': use loss=pf.losses.nll"),
    (lambda: pf.fit(flow(), ROWS, loss="elbo"), "use loss=pf.losses.elbo"),
    (lambda: pf.fit(flow(), ROWS, loss=nn.MSELoss), "got the class MSELoss"),
    (lambda: pf.fit(flow(), ROWS, loss=nn.MSELoss()), "loss must be callable as loss(model, batch, generator)"),
    (lambda: pf.fit(flow(), ROWS, loss=pf.losses.bottleneck), "loss must be callable as loss(model, batch, generator): missing a required argument: 'k'"),
    (lambda: pf.fit(flow(), ROWS, loss=partial(pf.losses.bottleneck, kk=2)), "loss must be callable as loss(model, batch, generator)"),
    (lambda: pf.fit(flow(), ROWS, optimizer=torch.optim.Adam(flow().parameters())), "got Adam: give what makes it, lambda parameters: torch.optim.Adam(parameters)"),
    (lambda: pf.fit(flow(), ROWS, device=3.5), "device '3.5' cannot be used here"),
    (lambda: pf.fit(flow(), ROWS, out=3), "out must be a path; got 3"),
    (lambda: pf.studies.run("layers", out=3), "out must be a path; got 3"),
    (lambda: pf.studies.run("layers", seed=1.5), "seed must be an integer from 0 to 2**63 - 1; got 1.5"),
    (lambda: pf.studies.run(["layers"]), "there is no study ['layers']"),
    (lambda: pf.metrics.nll(pf.Flow, ROWS), "flow must be an object with log_prob; got the class Flow: make an object of it, Flow(...)"),
    (lambda: pf.metrics.excess(NORMAL.features, pf.data.two_moons(2).density, 5, 0), "flow must be an object with log_prob; got 2"),
    (lambda: pf.metrics.excess(flow(), ROWS, 5, 0), "density must have log_prob and sample"),
    (lambda: flow().sample(5, generator=0), "generator must be a torch.Generator or None; got 0: make one of a seed"),
    (lambda: T.Permutation.random(3, generator=0), "generator must be a torch.Generator or None; got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:70] for _, message in REFUSED])
def test_it_is_refused_with_the_remedy(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("stated", [0, 1])
def test_a_wrapper_that_says_its_context_is_a_part(stated):
    wrapper = Around(conditional(), context_features=stated)
    assert T.Compose([wrapper]).context_features == stated
    assert pf.Flow(wrapper, NORMAL).log_prob(ROWS, torch.zeros(1) if stated else None).shape == (10,)


def test_a_class_may_say_that_it_makes_the_context():
    class Own(Around):
        context_features = 0

    assert pf.Flow(Own(conditional()), NORMAL).context_features == 0


def test_a_study_takes_a_path_as_text(tmp_path):
    record = pf.studies.run("layers", quick=True, out=str(tmp_path / "text"), progress=False)
    assert (tmp_path / "text" / "report.html").exists()
    assert record.quick


@pytest.mark.parametrize(
    "call",
    [
        lambda: pf.save(flow(), 3),
        lambda: pf.load(3),
        lambda: pf.data.images(3),
        lambda: pf.tables.read_table(3),
        lambda: pf.tables.write_table(3, ["a"], ROWS.numpy()[:, :1]),
    ],
)
def test_what_is_no_path_is_refused(call):
    with pytest.raises(InputError, match="path must be a path; got 3"):
        call()
