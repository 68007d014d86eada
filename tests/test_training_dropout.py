"""Dropout that goes up while a run goes on, and stays down where the held-out rows go along."""

import os
import signal

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.errors import InputError
from pushforward.training import fit
from pushforward.training.dropout import LADDER, RisingDropout
from pushforward.training.interrupt import Interrupted


def networks(rate=0.0):
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout(rate), nn.Sequential(nn.Dropout(rate)))


def rates(model):
    return [module.p for module in model.modules() if isinstance(module, nn.Dropout)]


def test_dropout_rises_once_the_median_of_five_gaps_is_above_a_few_hundredths_of_a_nat_a_column():
    model = networks()
    dropout = RisingDropout(model, columns=10)
    assert [dropout.report(gap, 0.1) for gap in (0.71, 9.0, -9.0, 0.71)] == [None] * 4
    assert rates(model) == [0.0, 0.0]
    assert dropout.report(0.71, 0.1) == 0.1
    assert rates(model) == [0.1, 0.1]


def test_a_gap_that_half_of_the_reports_do_not_show_raises_nothing():
    dropout = RisingDropout(networks(), columns=10)
    assert [dropout.report(gap, 0.1) for gap in (9.0, 0.69, 0.69, 9.0, 0.69) * 4] == [None] * 20


def test_each_step_up_waits_for_five_reports_of_its_own_and_the_ladder_ends_at_a_half():
    model = networks()
    dropout = RisingDropout(model, columns=1)
    raised = [dropout.report(1.0, 0.5) for _ in range(60)]
    assert [place for place, rate in enumerate(raised, 1) if rate is not None] == [5, 10, 15, 20]
    assert [rate for rate in raised if rate is not None] == list(LADDER)
    assert rates(model) == [0.5, 0.5]


def test_the_last_part_of_a_run_changes_nothing():
    dropout = RisingDropout(networks(), columns=1)
    assert [dropout.report(1.0, 0.61) for _ in range(20)] == [None] * 20


def test_layers_that_drop_more_keep_their_rate_and_all_get_back_their_own():
    model = networks()
    model[1].p = 0.03
    model[2][0].p = 0.3
    dropout = RisingDropout(model, columns=1)
    assert [dropout.report(1.0, 0.1) for _ in range(5)][-1] == 0.35
    assert rates(model) == [0.35, 0.35]
    dropout.put_back()
    assert rates(model) == [0.03, 0.3]


def few_rows():
    torch.manual_seed(0)
    flow = pf.recipes.nsf(2, num_layers=2, hidden_features=(64, 64))
    return flow, torch.randn(60, 2)


def learn(flow, x, **options):
    settings = {"num_steps": 300, "batch_size": 32, "progress": False, "raise_dropout": True, **options}
    return fit(flow, x, **settings)


def test_rows_learnt_by_heart_raise_dropout_and_the_history_says_when():
    flow, x = few_rows()
    history = learn(flow, x)
    assert len(history.notes) >= 2
    assert "held-out rows fall behind the training rows; dropout raised to 0.1" in history.notes[0]
    assert set(rates(flow)) == {0.0}
    plain, x = few_rows()
    without = learn(plain, x, raise_dropout=False)
    assert without.notes == []
    assert history.rows[-1]["validation_loss"] < without.rows[-1]["validation_loss"] - 0.5


def test_rows_enough_for_the_network_leave_dropout_at_0():
    flow, _ = few_rows()
    assert learn(flow, torch.randn(20_000, 2), batch_size=256).notes == []


class Stopping(nn.Module):
    """A flow that sends Ctrl-C at a training step."""

    def __init__(self, flow, at):
        super().__init__()
        self.flow, self.at, self.calls = flow, at, 0

    def log_prob(self, x, context=None):
        self.calls += self.training
        if self.training and self.calls == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return self.flow.log_prob(x)


def test_a_run_goes_on_with_the_dropout_it_had_reached(tmp_path):
    whole, x = few_rows()
    expected = learn(Stopping(whole, 0), x, out=tmp_path / "whole")
    part, x = few_rows()
    with pytest.raises(Interrupted):
        learn(Stopping(part, 200), x, out=tmp_path / "part")
    assert set(rates(part)) == {0.0}
    rest, x = few_rows()
    history = learn(Stopping(rest, 0), x, out=tmp_path / "part", resume=True)
    assert history.notes == expected.notes
    assert all(torch.equal(a, b) for a, b in zip(rest.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize(
    ("model", "validation", "message"),
    [
        (pf.recipes.nice(2), None, "raise_dropout=True goes by the loss of held-out rows: give validation="),
        (pf.recipes.planar(2), 0.1, "raise_dropout=True needs networks with nn.Dropout layers; the model has none"),
    ],
)
def test_what_could_not_be_told_or_raised_is_refused(model, validation, message):
    with pytest.raises(InputError, match=message):
        learn(model, torch.randn(60, 2), validation=validation)
