"""What may be recorded as a CUDA graph, as far as that is told without a GPU; the recording itself is in tests/gpu."""

import functools

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.losses import nll, reverse_kl
from pushforward.training.captured_step import obstacle, plain_state
from pushforward.training.data.batches import EmptyBatches, RowBatches
from pushforward.training.data.form import Form
from pushforward.training.data.rows import Rows
from pushforward.training.flat_weights import laid_flat
from pushforward.training.optimizer import copy_state, load_state, make_optimizer


def rows(number=40):
    flow = pf.recipes.realnvp(2)
    return Rows.read(torch.randn(number, 2), None, None, Form.of(flow, None))


def own_loss(model, batch, generator):
    return nll(model, batch, generator)


def same_at_every_step(model, batch, generator):
    return nll(model, batch, generator)


same_at_every_step.capturable = True
BATCHES = RowBatches(rows(), 8, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("loss", "optimizer", "batches", "reason"),
    [
        (nll, "adam", BATCHES, None),
        (functools.partial(reverse_kl, log_density=own_loss), "adamw", EmptyBatches(8, torch.device("cpu")), None),
        (same_at_every_step, "adam", BATCHES, None),
        (functools.partial(same_at_every_step), "adam", BATCHES, None),
        (own_loss, "adam", BATCHES, "the loss is your own"),
        (functools.partial(own_loss), "adam", BATCHES, "capturable = True"),
        (nll, torch.optim.SGD, BATCHES, "the optimizer is a function of your own"),
        (nll, "adam", [torch.zeros(3, 2)], "the batches come from a loader"),
    ],
)
def test_what_forbids_a_recording_is_named(loss, optimizer, batches, reason):
    found = obstacle(pf.recipes.realnvp(2), loss, optimizer, batches)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_forbid_a_recording(register):
    flow = pf.recipes.realnvp(2)
    getattr(flow.transform[0], register)(lambda *parts: None)
    assert "hooks" in obstacle(flow, nll, "adam", BATCHES)


def test_numbers_of_python_that_change_are_seen():
    class Counting(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    model = nn.Sequential(nn.Linear(2, 2), Counting(2, 2))
    before = plain_state(model)
    model(torch.zeros(1, 2))
    assert plain_state(model) != before
    still = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = plain_state(still)
    still(torch.zeros(2, 2))
    assert plain_state(still) == before


def test_the_numbers_of_the_rows_make_the_same_batches():
    first, second = (RowBatches(rows(), 8, torch.Generator().manual_seed(3)) for _ in range(2))
    second.rows = first.rows
    for _ in range(12):
        assert torch.equal(first.next().x, second.batch(second.next_index()).x)
    assert torch.equal(first.batch(first.first_index()).x, first.peek().x)
    empty = EmptyBatches(8, torch.device("cpu"))
    assert empty.batch(empty.next_index()) == empty.next()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_state_of_the_optimizer_is_written_back_in_place(name):
    with laid_flat(pf.recipes.realnvp(2)) as weights:
        optimizer = make_optimizer(name, weights, 0.01, None)
        state = optimizer.state[weights.flat]
        places = {key: value.data_ptr() for key, value in state.items()}
        start = copy_state(optimizer)
        weights.flat.grad.normal_()
        optimizer.step()
        stepped = copy_state(optimizer)
        load_state(optimizer, start)
        assert {key: value.data_ptr() for key, value in optimizer.state[weights.flat].items()} == places
        assert all(torch.equal(value, start[f"0.{key}"]) for key, value in state.items())
        load_state(optimizer, stepped)
        assert state["step"].item() == 1


def test_state_that_an_optimizer_makes_later_is_taken_back():
    with laid_flat(pf.recipes.realnvp(2)) as weights:
        optimizer = make_optimizer(
            lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9), weights, None, None
        )
        start = copy_state(optimizer)
        weights.flat.grad.normal_()
        optimizer.step()
        load_state(optimizer, start)
        assert copy_state(optimizer) == {} == start
