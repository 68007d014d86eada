"""The study three-sets counts evaluations, adds up stages, and finds when a mark is reached."""

import pytest
import torch

import pushforward as pf
from pushforward.studies.continuous import models as three_models
from pushforward.studies.continuous import three_sets
from pushforward.studies.continuous.models import Model, Trained
from pushforward.studies.kit.record import Record
from pushforward.training import History


@pytest.fixture
def record(tmp_path):
    return Record("three-sets", "title", "source", tmp_path)


def history(rows):
    table = [{"epoch": epoch, "seconds": seconds, "train_loss": loss} for epoch, seconds, loss in rows]
    return History(table, seconds=rows[-1][1], steps=len(rows))


def trained(*stages):
    models = [Model(f"stage {i}", lambda: pf.recipes.realnvp(2), options) for i, (options, _) in enumerate(stages)]
    return Trained([(m, history(rows)) for m, (_, rows) in zip(models, stages, strict=True)], models[0].make(), None)


def test_a_later_stage_goes_on_from_the_one_before(record):
    x = torch.randn(40, 2)
    matching = {"num_steps": 3, "batch_size": 16, "loss": pf.losses.flow_matching, "validation": None}
    first = Model("matching", lambda: pf.recipes.cnf(2, hidden_features=(8,), train_steps=2), matching)
    second = Model("more", first.make, {"num_steps": 2, "batch_size": 16, "validation": None}, start="matching")
    before = first.train(record, x, "here", 0, None)
    after = second.train(record, x, "here", 0, before)
    assert before.evaluations == 3 + 1  # one a step, nothing is solved; and `fit` looks at the initial losses
    assert after.evaluations - before.evaluations > 2 * 2 * 6  # steps, solver steps, stages of dopri5
    assert [model.name for model, _ in after.stages] == ["matching", "more"]
    assert after.seconds > before.seconds
    assert after.steps == 5
    assert after.flow is not before.flow
    assert "forward" not in vars(after.flow.transform.velocity)  # the counter is gone


def test_the_curve_counts_the_epochs_of_stages_without_likelihood(record):
    found = trained(({"loss": pf.losses.flow_matching}, [(5, 2.0, 9.0)]), ({}, [(1, 0.5, 3.0), (2, 1.0, 2.0)]))
    assert found.curve == [(6, 2.5, 3.0), (7, 3.0, 2.0)]
    assert three_sets._reached(found, 2.5) == (7, 3.0)
    assert three_sets._reached(found, 1.0) is None


def test_the_mark_is_what_the_weakest_model_reached_in_its_median_seed():
    def run(*lowest):
        return [three_sets.Run(trained(({}, [(1, 1.0, 9.0), (2, 2.0, nll)])), 0.0, None) for nll in lowest]

    assert three_sets._mark({"good": run(1.0, 1.1, 1.2), "weak": run(2.0, 2.5, 4.0)}) == 2.5


def test_every_start_is_a_model_that_comes_before():
    names = [model.name for model in three_models.OURS]
    for index, model in enumerate(three_models.OURS):
        assert not model.start or model.start in names[:index]
