"""What `fit` takes as data, and what it refuses, in which words."""

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError
from pushforward.flows.dequantization import dequantized
from pushforward.training import fit
from pushforward.training.data.batches import RowBatches
from pushforward.training.data.form import Form
from pushforward.training.data.rows import Rows
from pushforward.training.data.source import split

FORM = Form(torch.float32, torch.device("cpu"), keeps_float64=False, takes_context=False, dequantize=None)
X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))


def try_fit(data=X, context=None, **options):
    flow = options.pop("model", None) or pf.recipes.realnvp(2, num_layers=1, hidden_features=(4,))
    return fit(flow, data, context, **{"num_steps": 3, "progress": False, **options})


def test_dequantized_integers_keep_their_cell_and_get_fresh_noise():
    generator = torch.Generator().manual_seed(0)
    k = torch.full((200_000, 4), 255, dtype=torch.uint8)
    first, second = dequantized(k, generator), dequantized(k, generator)
    assert first.min() >= 255
    assert first.max() < 256  # in float32 some sums round up to 256
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(255.5, abs=1e-3)


def test_dequantization_never_draws_zero(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape))
    assert dequantized(torch.zeros(1, 1, dtype=torch.uint8), torch.Generator()).item() > 0


def test_the_loss_sees_fresh_noise_on_integers_at_every_step():
    seen = []

    def spy(model, batch, generator):
        if model.training:
            seen.append(batch.x.clone())
        return pf.losses.nll(model, batch)

    k = torch.randint(0, 16, (20, 2))
    try_fit(k, loss=spy, dequantize=16, validation=None, batch_size=20, num_steps=2)
    assert not torch.equal(seen[0].sort(0).values, seen[1].sort(0).values)
    assert torch.equal(seen[0].floor().long().sort(0).values, k.sort(0).values)


def test_a_split_is_seeded_and_parts_the_rows():
    rows = Rows.read(torch.arange(50.0)[:, None], None, None, FORM)
    parts = [split(rows, 0.1, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    train, held = parts[0]
    assert (len(train), len(held)) == (45, 5)
    assert sorted(torch.cat([train.index, held.index]).tolist()) == list(range(50))
    assert torch.equal(held.index, parts[1][1].index)
    assert not torch.equal(held.index, parts[2][1].index)


def test_a_split_takes_no_more_than_20_000_rows():
    rows = Rows.read(torch.zeros(300_000, 1), None, None, FORM)
    assert [len(part) for part in split(rows, 0.1, torch.Generator().manual_seed(0))] == [280_000, 20_000]


def test_batches_go_on_from_a_position():
    rows = Rows.read(torch.arange(50.0)[:, None], None, None, FORM)
    generator = torch.Generator().manual_seed(0)
    batches = RowBatches(rows, 8, generator)
    for _ in range(9):
        batches.next()
    position, state = batches.position(), generator.get_state()
    expected = [batches.next().x for _ in range(10)]
    other = torch.Generator().manual_seed(1)
    resumed = RowBatches(rows, 8, other)
    resumed.seek(position)
    other.set_state(state)
    assert all(torch.equal(resumed.next().x, x) for x in expected)


def test_numpy_arrays_of_any_order_and_unsigned_type_are_read():
    assert try_fit(np.asfortranarray(X.numpy())[::-1]).steps == 3
    assert try_fit(np.arange(80, dtype=np.uint16).reshape(40, 2) % 7, dequantize=7).steps == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": torch.zeros(0, 2)}, r"data has no rows"),
        ({"data": X[:, 0]}, r"data must have shape \(rows, features\); got \(40,\): use x\[:, None\]"),
        ({"data": X[:1]}, r"data has 1 row, too few to keep some for validation: use validation=None"),
        (
            {"data": torch.where(X == X.max(), torch.nan, X)},
            r"data: 1 of 40 rows \(first: \d+\) has NaN or infinite values",
        ),
        ({"data": X.numpy().astype(str)}, r"data holds text: give numbers"),
        ({"data": X.long()}, r"data holds integers \(int64\).*dequantize=256.*x.float\(\)"),
        (
            {"data": X.long().abs() + 9, "dequantize": 8},
            r"must hold the integers 0 to 7 for dequantize=8; got values from 9",
        ),
        ({"data": X.abs(), "dequantize": 8}, r"must hold the integers 0 to 7"),
        ({"dequantize": 1}, r"dequantize, the levels, must be an integer from 2 to 65536; got 1"),
        ({"data": 3}, r"data must be an array, a tensor, a loader or None; got int"),
        ({"data": []}, r"data has no batches"),
        ({"data": [{"x": 1.0}]}, r"data must yield batches x or \(x, y\) of tensors or arrays; got dict"),
        ({"data": pf.data.mnist_sample()}, "data is a Digits of train, validation, test: give .* such as data.train"),
        (
            {"data": X, "loss": pf.losses.elbo},
            "loss elbo needs a model with terms; Flow has none: give loss=pf.losses.nll",
        ),
        (
            {"model": pf.vae.mlp_vae(2, latent_features=1), "data": X},
            "loss nll needs a model with log_prob; VAE has none: give loss=pf.losses.elbo",
        ),
        (
            {
                "model": pf.vae.mlp_vae(2, latent_features=1),
                "data": X.byte(),
                "loss": pf.losses.elbo,
                "dequantize": 256,
            },
            "VAE takes integers as they are, without noise: leave dequantize=256 out",
        ),
        ({"data": torch.utils.data.TensorDataset(X)}, r"data is a Dataset.*wrap it in a torch DataLoader"),
        ({"data": [X], "weight": torch.ones(40)}, r"context and weight go with arrays"),
        ({"data": (X, X), "context": X}, r"context was given twice"),
        ({"context": X[:3]}, r"context has 3 rows, data has 40"),
        ({"weight": torch.ones(3)}, r"weight must have shape \(40,\).*got \(3,\)"),
        ({"weight": -torch.ones(40)}, r"weight must not be negative, nor 0 everywhere; its least value is -1"),
        ({"validation": 1.5}, r"validation must be a share from 0 up to 1, or rows; got 1.5"),
        ({"validation": torch.zeros(0, 2)}, r"validation has no rows"),
        (
            {"optimizer": "sgd"},
            r"optimizer, where it is no function.*, must be one of adam, adamw; got 'sgd'",
        ),
        ({"optimizer": lambda p: None}, r"optimizer must make a torch.optim.Optimizer of parameters; got NoneType"),
        ({"schedule": "linear"}, r"schedule must be one of cosine, constant; got 'linear'"),
        ({"learning_rate": 0.0}, r"learning_rate must be above 0; got 0.0"),
        ({"epochs": 0}, r"epochs must be an integer of at least 1; got 0"),
        ({"num_steps": 2.5}, r"num_steps must be an integer of at least 1; got 2.5"),
        ({"max_seconds": -1}, r"max_seconds must be above 0; got -1"),
        ({"max_seconds": 1, "num_steps": [(0, 3)]}, r"a recorded plan in num_steps and max_seconds exclude each other"),
        ({"batch_size": 0}, r"batch_size must be an integer of at least 1; got 0"),
        ({"device": "mars"}, r"device 'mars' cannot be used here"),
        ({"resume": True}, r"resume=True needs out="),
        ({"model": torch.nn.Identity()}, r"the model has no trainable parameters"),
        (
            {"loss": lambda model, batch, generator: model.log_prob(batch.x).mean()},
            r"one number a row, shape \(.*\); got shape \(\)",
        ),
        (
            {"data": None, "num_steps": None, "epochs": 3, "loss": lambda model, batch, generator: None},
            r"no epochs: give num_steps or max_seconds",
        ),
    ],
)
def test_bad_input_is_refused_in_plain_words(options, message):
    with pytest.raises(InputError, match=message):
        try_fit(**options)


def test_parameters_of_two_dtypes_are_refused():
    flow = pf.recipes.realnvp(2, num_layers=2, hidden_features=(4,))
    flow.transform[0].double()
    with pytest.raises(InputError, match=r"must share one dtype and device; got .*float32.*float64.*model.float\(\)"):
        fit(flow, X, num_steps=1, validation=None, progress=False, loss=lambda m, b, g: b.x.sum(-1))


def test_the_likelihood_of_a_wide_inverse_autoregressive_flow_is_refused():
    flow = pf.recipes.iaf(65, num_layers=1, hidden_features=(4,))
    with pytest.raises(InputError, match=r"takes 65 passes a step .*: use recipes.maf"):
        fit(flow, torch.randn(10, 65), num_steps=1, progress=False)
