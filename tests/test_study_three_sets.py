"""The study three-sets counts evaluations, adds up stages, and finds when a mark is reached."""

from functools import partial

import pytest
import torch

import pushforward as pf
from pushforward.studies.continuous import against_discrete
from pushforward.studies.continuous.candidates import OURS, STARTS, Stage, trained
from pushforward.studies.kit import Candidate, Record
from pushforward.training import History


@pytest.fixture
def record(tmp_path):
    return Record("three-sets", "title", "source", tmp_path)


def test_a_later_stage_goes_on_from_the_one_before(record):
    data = pf.data.Sample(torch.randn(40, 2), torch.randn(10, 2))
    options = {"num_steps": 3, "batch_size": 16, "validation": None}
    make = partial(pf.recipes.cnf, 2, hidden_features=(8,), num_steps=2)
    first = Candidate("matching", make, {**options, "loss": pf.losses.flow_matching})
    second = Candidate("more", make, {**options, "num_steps": 2})
    before = trained(record, "here", first, data, 0)
    after = trained(record, "here", second, data, 0, before)
    alone = trained(record, "alone", second, data, 0)
    assert before.evaluations == 3 + 1  # one a step, nothing is solved; and `fit` looks at the initial losses
    assert alone.evaluations > 2 * 2 * 6  # steps, solver steps, stages of dopri5
    assert after.evaluations == before.evaluations + alone.evaluations
    assert after.seconds > before.seconds
    assert after.steps == 5
    assert after.flow is not before.flow
    assert "forward" not in vars(after.flow.transform.velocity)  # the counter is gone


def test_the_curve_counts_the_epochs_of_stages_without_likelihood(record, monkeypatch):
    def goes(options, *rows):
        table = [{"epoch": epoch, "seconds": seconds, "train_loss": loss} for epoch, seconds, loss in rows]
        history = History(table, seconds=rows[-1][1], steps=len(rows))
        monkeypatch.setattr(Record, "fit", lambda *arguments, **others: history)
        return Candidate("a flow", lambda: pf.recipes.nice(2), options)

    data = pf.data.Sample(torch.randn(40, 2), torch.randn(10, 2))
    before = trained(record, "here", goes({"loss": pf.losses.flow_matching}, (5, 2.0, 9.0)), data, 0)
    found = trained(record, "here", goes({}, (1, 0.5, 3.0), (2, 1.0, 2.0)), data, 0, before)
    assert found.curve == ((6, 2.5, 3.0), (7, 3.0, 2.0))
    assert found.reached(2.5) == (7, 3.0)
    assert found.reached(1.0) is None


def test_the_mark_is_what_the_weakest_model_reached_in_its_median_seed():
    def runs(*lowest):
        return [Stage(pf.recipes.nice(2), curve=((1, 1.0, 9.0), (2, 2.0, nll))) for nll in lowest]

    assert against_discrete._mark({"good": runs(1.0, 1.1, 1.2), "weak": runs(2.0, 2.5, 4.0)}) == 2.5


def test_every_start_is_a_model_that_comes_before():
    names = [candidate.name for candidate in OURS]
    assert all(names.index(start) < names.index(model) for model, start in STARTS.items())
