"""Training steps in C against the same steps in torch: what is learned, how a run goes on, and what stays in torch."""

import pytest
import torch

import pushforward as pf
import zoo
from pushforward.kernels.chain import _Map
from pushforward.kernels.native.library import compiled
from pushforward.kernels.switch import kernels
from pushforward.kernels.training_steps import Adam, SeenRows, TrainingSteps
from pushforward.training import run, ways
from pushforward.training.flat_weights import Weights
from pushforward.transforms import Asinh
from pushforward.transforms.fused import chain_of

X = pf.data.two_moons(600, seed=0).x.double()
CONTEXT = (X[:, :1] > 0).double()


def make(context=0, shared=False, **options):
    torch.manual_seed(0)
    if shared:
        couplings = list(pf.recipes.nsf(2, num_layers=2).transform)
        return pf.Flow(pf.transforms.Compose([*couplings, *couplings]), pf.bases.StandardNormal(2)).double()
    sizes = {"num_layers": 3, "hidden_features": (12, 12), "context_features": context}
    return pf.recipes.nsf(2, **{**sizes, **options}).double()


def fitted(flow, *, on, x=X, context=None, steps=60, **options):
    with kernels(on):
        history = pf.fit(flow, x, context, num_steps=steps, progress=False, **options)
    return torch.cat([value.detach().flatten() for value in flow.parameters()]), history


@pytest.fixture
def calls(monkeypatch):
    """Count the steps taken in C."""
    if compiled(torch.float64) is None:
        pytest.skip("there is no C compiler")
    taken = []
    inner = ways.InC._run

    def counted(self, indices, rates):
        taken.append(len(indices))
        return inner(self, indices, rates)

    monkeypatch.setattr(ways.InC, "_run", counted)
    return taken


CASES = {
    "adam": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "decay in adam": {"weight_decay": 0.1},
    "much clipping": {"clip_norm": 0.01},
    "no clipping": {"clip_norm": None},
    "weights": {"weight": torch.linspace(0.1, 2, len(X))},
    "constant rate, no validation": {"schedule": "constant", "validation": None},
    "odd batches": {"batch_size": 77},
}


MASKED = {"autoregressive": True, "mixing": "lu", "activation": "silu"}


PLAIN, LU, PERMUTED = {}, {"mixing": "lu", "preprocessing": [Asinh(2)]}, {"mixing": "permute"}


@pytest.mark.parametrize(
    ("flow", "case"),
    [
        *((PLAIN, case) for case in CASES),
        *((flow, case) for flow in (LU, PERMUTED, MASKED) for case in ("adam", "much clipping")),
        (LU, "weights"),
        (PERMUTED, "odd batches"),
        *((MASKED, case) for case in ("adamw", "constant rate, no validation")),
    ],
)
def test_a_run_in_c_learns_what_the_run_in_torch_learns(case, flow, calls):
    found, history = fitted(make(**flow), on=True, **CASES[case])
    assert sum(calls) >= 60
    assert history.steps_by == "C"
    assert max(calls) > 1 or history.best_validation is None  # without validation each of so few steps is reported
    number = len(calls)
    wanted, other = fitted(make(**flow), on=False, **CASES[case])
    assert len(calls) == number
    assert other.steps_by == "plain torch"
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    for row, same in zip(history.rows, other.rows, strict=True):
        assert row["step"] == same["step"]
        assert row["learning_rate"] == same["learning_rate"]
        assert row["train_loss"] == pytest.approx(same["train_loss"], abs=1e-7)


def test_context_is_learned_from(calls):
    found, _ = fitted(make(context=1), on=True, context=CONTEXT)
    wanted, _ = fitted(make(context=1), on=False, context=CONTEXT)
    assert sum(calls) >= 60
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_float32_runs_are_bit_equal_and_near_those_of_torch(calls):
    first, _ = fitted(make().float(), on=True, x=X.float())
    again, _ = fitted(make().float(), on=True, x=X.float())
    other, _ = fitted(make().float(), on=False, x=X.float())
    assert torch.equal(first, again)
    torch.testing.assert_close(first, other, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("flow", [{}, MASKED])
def test_dropout_is_drawn_anew_each_step_and_as_the_seed_says(flow, calls):
    data = pf.data.two_moons(60, seed=1).x.double()
    first, history = fitted(make(dropout=0.3, **flow), on=True, x=data, steps=150, schedule="constant")
    assert sum(calls) >= 150
    again, _ = fitted(make(dropout=0.3, **flow), on=True, x=data, steps=150, schedule="constant")
    other, _ = fitted(make(dropout=0.3, **flow), on=True, x=data, steps=150, schedule="constant", seed=1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    _, by_torch = fitted(make(dropout=0.3, **flow), on=False, x=data, steps=150, schedule="constant")
    _, without = fitted(make(dropout=0.0, **flow), on=True, x=data, steps=150, schedule="constant")
    last, theirs, bare = (run.rows[-1]["train_loss"] for run in (history, by_torch, without))
    assert abs(last - theirs) < 0.3 * (theirs - bare)


MASK = (1 << 64) - 1


def mixed(key, number):
    """`mixed` of dropout.h."""
    z = (key + (number + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def taken(flow, rows, dtype, moments=None):
    """Take step number 5 on all rows by Adam, from no moments unless given; return chain, parameters and moments."""
    weights = Weights(flow.to(dtype))
    chain, flat = chain_of(flow.transform), weights.flat.detach()
    moments = moments or (torch.zeros_like(flat), torch.zeros_like(flat))
    adam = Adam((0.9, 0.999), 1e-8, 0.0, False, None, seed=7)
    steps = TrainingSteps(chain, flat, moments, SeenRows(rows.to(dtype), None, None, None), adam, len(rows))
    steps(torch.arange(len(rows))[None], [0.0], 5, 1)
    return chain, weights, moments


@pytest.mark.parametrize("flow", [{}, MASKED])
def test_dropout_is_the_same_on_the_way_back_in_every_block(flow, calls):
    flow = zoo.perturb(make(dropout=0.4, **flow).train(), size=0.5)
    x = X[:300]
    chain, weights, moments = taken(flow, x, torch.float64)
    tensors = [tensor.detach().clone().requires_grad_() for link in chain.links for tensor in link.tensors()]
    struct = chain.struct(torch.float64, tensors)
    struct.point_at(tensors)
    z, log_det = _Map.apply(chain, struct, (False, mixed(7, 5)), x, None, *tensors)
    loss = (0.5 * z.square().sum(-1) - log_det).mean()
    places = [tensor.data_ptr() for link in chain.links for tensor in link.tensors()]
    wanted = dict(zip(places, torch.autograd.grad(loss, tensors), strict=True))
    for name, view in weights.views(moments[0]).items():
        torch.testing.assert_close(view / 0.1, wanted[weights.parameters[name].data_ptr()])


def test_moments_do_not_stay_below_the_normal_range_and_only_there_are_such_numbers_zero(calls):
    flow = make()  # its last layers are zero, so those before them have no gradient
    mean = torch.full((sum(value.numel() for value in flow.parameters()),), 1e-42)
    _, weights, (mean, _) = taken(flow, X[:10], torch.float32, (mean, torch.zeros_like(mean)))
    assert (weights.views(mean)["transform.transforms.0.conditioner.first.weight"] == 0).all()
    assert torch.tensor(1e-40) * torch.tensor(0.5) > 0


def own_loss(model, batch, generator):
    return pf.losses.nll(model, batch, generator)


@pytest.mark.parametrize(
    ("flow", "options"),
    [
        ({}, {"loss": own_loss}),
        ({}, {"optimizer": lambda parameters: torch.optim.SGD(parameters, 1e-3)}),
        ({"base": pf.bases.DiagonalNormal(2)}, {}),
        ({}, {"precision": "bf16"}),
        ({"shared": True}, {}),
    ],
)
def test_what_the_kernel_does_not_know_is_taken_by_torch(flow, options, calls):
    _, history = fitted(make(**flow), on=True, steps=5, **options)
    assert history.steps == 5
    assert not calls


def test_frozen_parameters_stay_and_torch_takes_the_steps(calls):
    flow = make()
    flow.transform[0].requires_grad_(False)
    before = flow.transform[0].conditioner.first.weight.clone()
    fitted(flow, on=True, steps=5)
    assert torch.equal(flow.transform[0].conditioner.first.weight, before)
    assert not calls


def test_so_many_steps_are_taken_at_once_as_a_tenth_of_a_second_holds(calls, monkeypatch):
    large = torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def most(steps, x=large):
        del calls[:]
        fitted(make(), on=True, x=x, validation=None, batch_size=100, steps=steps, schedule="constant")
        return max(calls)

    assert most(2_000, X) == len(X) // 100  # no more than an epoch
    assert most(12_000) == run.SWIFT_LOOK_STEPS
    monkeypatch.setattr(run, "SWIFT_WORK", 0)
    assert most(3_000) == run.LOOK_STEPS
    parameters = sum(value.numel() for value in make().parameters())
    monkeypatch.setattr(run, "MOST_WORK", 250 * parameters)
    assert most(500) == 2


def test_batches_many_at_once_are_those_one_by_one():
    one, many = make(), make()
    found, history = fitted(one, on=True)
    again, _ = fitted(many, on=True)
    assert torch.equal(found, again)
    assert history.steps == 60
