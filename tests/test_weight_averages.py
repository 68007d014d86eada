"""Weights averaged over the latest steps: which ones, that they are judged and come back, and that they are saved."""

import signal
from statistics import fmean

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.errors import InputError
from pushforward.training import learner
from test_training_resume import Model, X, interrupted, run, send


class Mean(nn.Module):
    """A normal density with a mean to learn, which remembers where it has been."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.visited = []

    def log_prob(self, x, context=None):
        if self.training:
            self.visited.append(self.mean.detach().clone())
        return -0.5 * ((x - self.mean) ** 2).sum(-1)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5)


def trained(num_steps, **options):
    model, rows = Mean(), torch.randn(64, 2, generator=torch.Generator().manual_seed(1)) + 3
    options = {"batch_size": 4, "optimizer": sgd, "schedule": "constant", "validation": None, **options}
    history = pf.fit(model, rows, num_steps=num_steps, progress=False, **options)
    return model, history


def test_the_average_over_all_steps_is_that_of_every_tenth():
    after = torch.stack(trained(61)[0].visited[1:])  # the weights before the second step are those after the first
    model, _ = trained(60, average=1.0)
    assert torch.allclose(model.mean, after[9::10].mean(0), atol=1e-5)
    few, _ = trained(9, average=1.0)
    assert torch.allclose(few.mean, after[:9].mean(0), atol=1e-5)


def test_a_share_reaches_back_over_the_latest_steps_alone():
    after = torch.stack(trained(2001)[0].visited[1:])
    model, _ = trained(2000, average=0.1)
    # a weight of 10 / (0.1 s) at step s, for ten: of what is older than half of the run 2 ** -10 is left
    shares, left = torch.zeros(2000), 1.0
    for step in range(2000, 0, -10):
        shares[step - 1] = left * min(10 / (0.1 * step), 1)
        left -= shares[step - 1].item()
    assert shares[:1000].sum() < 2e-3
    assert torch.allclose(model.mean, (shares[:, None] * after).sum(0), atol=1e-4)


def test_noise_of_the_steps_goes_and_held_out_rows_judge_the_average():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(2)) + 3
    losses = {}
    for average in (None, 0.3):
        _, history = trained(400, average=average, validation=x, batch_size=1)
        losses[average] = fmean(row["validation_loss"] for row in history.rows[len(history) // 2 :])
    best = 0.5 * x.var(0, correction=0).sum().item()
    assert 2 * (losses[0.3] - best) < losses[None] - best


@pytest.mark.parametrize("validation", [0.1, None])
def test_an_interrupted_run_goes_on_with_its_average(tmp_path, validation):
    options = {"average": 0.2, "validation": validation}
    whole, part, rest = Model(), Model(57, send(signal.SIGINT)), Model()
    run(whole, tmp_path / "whole", **options)
    interrupted(part, tmp_path / "part", **options)
    run(rest, tmp_path / "part", resume=True, **options)
    assert torch.equal(rest.mean, whole.mean)


def in_c(**options):
    torch.manual_seed(0)
    flow = pf.recipes.realnvp(2, num_layers=2, hidden_features=(16,))
    history = pf.fit(flow, X, num_steps=205, validation=None, progress=False, **options)
    return torch.cat([value.flatten() for value in flow.parameters()]).detach(), history.steps_by


def test_steps_in_c_have_the_average_of_steps_one_by_one(monkeypatch):
    together, by = in_c(average=0.3)
    watched, _ = in_c(average=0.3, watch=lambda step: 7)
    assert by == in_c()[1]
    assert torch.equal(watched, together)
    assert not torch.equal(in_c()[0], together)
    monkeypatch.setattr(learner, "native_steps", lambda *arguments: None)
    one_by_one, by = in_c(average=0.3)
    assert by == "plain torch"
    assert torch.allclose(one_by_one, together, atol=2e-3)


@pytest.mark.parametrize("share", [0, 1.5, "much"])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InputError, match="average"):
        pf.fit(Mean(), X, num_steps=1, average=share, progress=False)
