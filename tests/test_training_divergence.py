"""A training that breaks: rolled back, slowed down, explained."""

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.errors import InputError, RunError
from pushforward.training import fit
from pushforward.training.guard import Guard

X = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))


def box_flow(num_layers=2):
    torch.manual_seed(0)
    return pf.recipes.realnvp(2, num_layers=num_layers, hidden_features=(8,), base=pf.bases.Box(2))


class Location(nn.Module):
    """A normal density with a learned mean; `break_at` steps of training give a bad loss."""

    def __init__(self, break_at=(), bad=float("nan")):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.break_at, self.bad, self.calls = set(break_at), bad, 0

    def log_prob(self, x, context=None):
        losses = -0.5 * ((x - self.mean) ** 2).sum(-1)
        if self.training:
            self.calls += 1
            if self.calls in self.break_at:
                return losses * self.bad
        return losses


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_a_run_recovers_from_some_bad_steps(bad):
    model = Location(range(150, 160 if bad != 1e9 else 170), bad)
    history = fit(model, X + 3, num_steps=800, learning_rate=0.1, clip_norm=None, progress=False)
    assert 1 <= len(history.rollbacks) <= 3
    assert all(150 <= step <= 180 for step in history.rollbacks)
    torch.testing.assert_close(model.mean.detach(), torch.tensor([3.5, 3.5]), atol=0.05, rtol=0)
    assert history.stopped_because == "finished"


def test_a_rollback_halves_the_learning_rate():
    history = fit(Location([150]), X, num_steps=200, schedule="constant", learning_rate=0.01, progress=False)
    assert history.rows[0]["learning_rate"] == 0.01
    assert history.rows[-1]["learning_rate"] == 0.005


def test_the_steps_after_a_rollback_are_taken_at_half_the_rate():
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    options = {"num_steps": 200, "schedule": "constant", "validation": None, "progress": False}
    history = fit(Location([150]), X, optimizer=lambda parameters: Spy(parameters, lr=0.01), **options)
    (broken,) = history.rollbacks
    assert rates == [0.01] * broken + [0.005] * (200 - broken)


def test_a_run_goes_back_to_the_older_of_two_snapshots():
    seen = []

    def loss(model, batch, generator):
        if model.training:
            seen.append(model.mean.detach().clone())
        return pf.losses.nll(model, batch)

    history = fit(Location([250]), X + 3, loss=loss, num_steps=300, learning_rate=0.01, validation=None, progress=False)
    (broken,) = history.rollbacks
    # Snapshots lie behind steps 100 and 200; the newer one may hold what broke the run later.
    assert torch.equal(seen[broken], seen[100])
    assert not torch.equal(seen[200], seen[100])


def test_a_second_rollback_does_not_go_back_to_what_the_first_one_left():
    start, good, sick = ({"weights": name} for name in ("start", "good", "sick"))
    guard = Guard.at_start(3.0, start)
    guard.keep(100, good)
    guard.keep(200, sick)
    assert guard.back(210) is good
    assert guard.back(220) is good
    guard.keep(320, sick)
    assert guard.back(330) is good


def test_a_run_that_breaks_again_and_again_stops_with_its_last_good_weights():
    model = Location(range(150, 10_000))
    with pytest.raises(
        RunError, match=r"diverged: the loss was nan at step \d+; going back 5 times .* to 1.6e-03 did not"
    ):
        fit(model, X + 3, num_steps=1000, learning_rate=0.05, progress=False)
    assert torch.isfinite(model.mean).all()
    assert model.mean.detach().mean() > 2
    assert not model.training


def test_an_infinite_gradient_is_noticed():
    class Kink(Location):
        def log_prob(self, x, context=None):
            bad = torch.sqrt((self.mean - self.mean.detach()).abs()) if self.training else 0 * self.mean
            return super().log_prob(x) - bad.sum()

    with pytest.raises(RunError, match="the gradient was not finite at step|the loss was nan"):
        fit(Kink(), X, num_steps=500, progress=False)


def test_an_explosion_is_told_from_an_honest_outlier():
    guard = Guard.at_start(3.0, {})
    assert not guard.is_broken(torch.tensor([2.0, 1e12, 2.5, 1.0, 2.0] * 4), True, 20)
    assert not guard.is_broken(torch.tensor([1e3] * 6), True, 26)
    assert guard.is_broken(torch.tensor([1e3] * 5), True, 31)
    assert guard.reason == "the loss exploded to 1e+03 before step 31"


def test_training_on_a_box_base_ends_in_an_explanation_that_names_base_and_remedy():
    corner = X**3  # density rises towards the corner: the flow would have to push rows over the edge
    with pytest.raises(RunError, match=r"a Box base gives density only inside \[low, high\].*base=StandardNormal"):
        fit(box_flow(), corner, num_steps=3000, learning_rate=0.02, progress=False)


def test_a_box_beside_another_base_is_named_too():
    flow = pf.recipes.realnvp(2, num_layers=2, base=pf.bases.Joint([pf.bases.Box(1), pf.bases.StandardNormal(1)]))
    with pytest.raises(InputError, match="a Box base gives density only inside"):
        fit(flow, X + 2, num_steps=10, validation=None, progress=False)


def test_rows_outside_the_support_are_counted_before_the_first_step():
    x = X.clone()
    x[[7, 11, 150]] += 2
    with pytest.raises(InputError, match=r"data: 3 of 200 rows \(first: 7, 11, 150\) have no finite loss.*a Box base"):
        fit(box_flow(), x, num_steps=10, validation=None, progress=False)


def test_validation_rows_outside_the_support_are_counted_too():
    with pytest.raises(InputError, match=r"validation: 2 of 2 rows \(first: 0, 1\) have no finite loss"):
        fit(box_flow(), X, num_steps=10, validation=torch.full((2, 2), 5.0), progress=False)


def test_a_model_that_gives_nan_at_the_start_is_told_from_one_without_support():
    model = Location()
    model.mean.data[0] = torch.nan
    with pytest.raises(InputError, match=r"200 of 200 rows .* NaN comes from the model itself"):
        fit(model, X, num_steps=10, validation=None, progress=False)
