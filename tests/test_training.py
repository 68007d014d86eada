"""The training loop: what it learns, what it leaves behind, and when it ends."""

import functools
import math
import random
import re
import time

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward import losses
from pushforward.errors import InputError
from pushforward.training import fit
from pushforward.training.data import batches
from pushforward.training.learning_rate import rate_factor
from pushforward.training.plan import Plan
from pushforward.training.train_loss import TrainLoss


class Normal(nn.Module):
    """A normal density with learned mean and log-scale, the context added to the mean."""

    def __init__(self, features=2, context_features=0, dropout=0.0):
        super().__init__()
        self.context_features = context_features
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.slope = nn.Parameter(torch.zeros(context_features, features))
        self.dropout = nn.Dropout(dropout)
        self.seen = []

    def log_prob(self, x, context=None):
        self.seen.append((x.dtype, len(x), self.training))
        mean = self.dropout(self.mean) if context is None else self.mean + context @ self.slope
        z = (x - mean) * torch.exp(-self.log_scale)
        return (-0.5 * z**2 - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


def data(num_rows=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, 2, generator=generator) * torch.tensor([0.5, 2.0]) + torch.tensor([1.0, -1.0])


def quick(model, x, *args, **options):
    rate = {} if callable(options.get("optimizer")) else {"learning_rate": 0.05}
    return fit(model, x, *args, **{"num_steps": 300, "progress": False, **rate, **options})


def numbers(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)])
def test_fit_finds_the_maximum_of_the_likelihood(optimizer):
    model, x = Normal(), data()
    decay = None if callable(optimizer) else 0.0
    quick(model, x, optimizer=optimizer, validation=None, batch_size=400, weight_decay=decay)
    torch.testing.assert_close(model.mean.detach(), x.mean(0), atol=5e-3, rtol=0)
    torch.testing.assert_close(model.log_scale.detach().exp(), x.std(0, correction=0), atol=5e-3, rtol=0)


class Weight(nn.Module):
    """Two numbers, and no opinion of the data."""

    def __init__(self, start=(0.0, 0.0)):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start))


def one_step(model, slope, **options):
    """Take one step of learning rate 1 down the gradient `slope`; return the weight."""

    def loss(model, batch, generator):
        return (batch.x * torch.tensor(slope)) @ model.weight

    options = {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=1.0), **options}
    quick(model, torch.ones(4, 2), loss=loss, num_steps=1, schedule="constant", validation=None, **options)
    return model.weight.detach()


@pytest.mark.parametrize(
    ("clip_norm", "compile", "expected"),
    [
        (1.0, False, (-0.6, -0.8)),
        (1.0, True, (-0.6, -0.8)),
        (5.5, False, (-3.0, -4.0)),
        (5.5, True, (-3.0, -4.0)),
        (None, False, (-3.0, -4.0)),
    ],
)
def test_a_gradient_longer_than_the_clip_norm_is_cut_to_it_and_a_shorter_one_stays(
    clip_norm, compile, expected, monkeypatch
):
    compiled = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled(function, **options))
    moved = one_step(Weight(), (3.0, 4.0), clip_norm=clip_norm, compile=compile)
    torch.testing.assert_close(moved, torch.tensor(expected))


@pytest.mark.parametrize(
    ("optimizer", "weight_decay", "left"),
    [("adam", None, 1.0), ("adamw", None, 0.999), ("adamw", 0.5, 0.95), ("adamw", 0.0, 1.0)],
)
def test_without_a_gradient_the_weights_decay_by_rate_times_decay(optimizer, weight_decay, left):
    options = {"optimizer": optimizer, "weight_decay": weight_decay, "learning_rate": 0.1}
    moved = one_step(Weight((2.0, -4.0)), (0.0, 0.0), **options)
    torch.testing.assert_close(moved, left * torch.tensor([2.0, -4.0]))


@pytest.mark.parametrize(("num_rows", "size"), [(20, 20), (100, 32), (1000, 100), (10_000, 512)])
def test_a_batch_is_a_tenth_of_the_rows_but_from_32_to_512(num_rows, size):
    sizes = set()

    def spy(model, batch, generator):
        sizes.add((model.training, batch.size))
        return losses.nll(model, batch)

    quick(Normal(), data(num_rows), loss=spy, num_steps=2, validation=None)
    assert {size for training, size in sizes if training} == {size}


def test_a_run_ends_with_the_first_of_epochs_and_steps_and_without_either_after_100_epochs():
    options = {"batch_size": 10, "validation": None}
    assert quick(Normal(), data(20), num_steps=5, epochs=4, **options).steps == 5
    assert quick(Normal(), data(20), num_steps=50, epochs=4, **options).steps == 8
    assert quick(Normal(), data(20), num_steps=None, **options).steps == 200


def test_a_row_of_weight_two_counts_as_two_rows():
    x = data(60)
    weighted, repeated = Normal(), Normal()
    quick(weighted, x, weight=torch.tensor([2.0, 1.0, 0.0]).repeat(20), validation=None, batch_size=40)
    kept = [row for index, row in enumerate(x) for _ in range([2, 1, 0][index % 3])]
    quick(repeated, torch.stack(kept), validation=None, batch_size=60)
    torch.testing.assert_close(numbers(weighted), numbers(repeated), atol=5e-3, rtol=0)


def test_weights_count_relative_to_their_mean():
    x, weight = data(100), torch.linspace(0.1, 2, 100)
    held = (data(50, seed=1), None, torch.linspace(2, 0.1, 50))
    models = [Normal(), Normal()]
    histories = [
        quick(model, x, weight=scale * weight, validation=(*held[:2], scale * held[2]), num_steps=50)
        for model, scale in zip(models, (1, 8), strict=True)
    ]
    assert torch.equal(numbers(models[0]), numbers(models[1]))
    for name in ("train_loss", "validation_loss"):
        assert histories[0].to_numpy()[name].tolist() == histories[1].to_numpy()[name].tolist()


def test_the_gradient_of_a_step_is_that_of_the_weighted_mean():
    x, weight = data(20), torch.linspace(0.1, 2, 20)
    model, free = Normal(), Normal()
    options = {"num_steps": 1, "batch_size": 20, "validation": None, "clip_norm": None, "schedule": "constant"}
    quick(model, x, weight=weight, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0), **options)
    (weight * -free.log_prob(x)).sum().div(weight.sum()).backward()
    torch.testing.assert_close(model.mean, -free.mean.grad)


def test_a_validation_row_of_weight_two_counts_as_two_rows():
    held = data(30, seed=1)
    weight = torch.tensor([2.0, 1.0, 0.0]).repeat(10)
    repeated = torch.stack([row for index, row in enumerate(held) for _ in range([2, 1, 0][index % 3])])
    weighted = quick(Normal(), data(), validation=(held, None, weight), num_steps=5)
    expected = quick(Normal(), data(), validation=repeated, num_steps=5)
    for row in (0, -1):
        assert weighted.rows[row]["validation_loss"] == pytest.approx(expected.rows[row]["validation_loss"], rel=1e-6)


def test_context_is_learned_from():
    context = torch.linspace(-1, 1, 300)
    x = data(300) + torch.stack([3 * context, -2 * context], -1)
    model = Normal(context_features=1)
    quick(model, x, context, batch_size=100)
    torch.testing.assert_close(model.slope.detach(), torch.tensor([[3.0, -2.0]]), atol=0.35, rtol=0)


def test_y_is_context_for_a_model_that_takes_one_and_ignored_otherwise():
    x, y = data(100), torch.arange(100) % 3
    quick(Normal(), (x, y), num_steps=2)
    with_y, with_context = Normal(context_features=1), Normal(context_features=1)
    quick(with_y, (x, y), num_steps=20)
    quick(with_context, x, y[:, None].float(), num_steps=20)
    assert torch.equal(numbers(with_y), numbers(with_context))


@pytest.mark.parametrize("with_y", [False, True])
def test_a_loader_trains_like_an_array(with_y):
    x = data()
    columns = (x, torch.zeros(400, dtype=torch.long)) if with_y else (x,)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*columns), batch_size=100, shuffle=True)
    model = Normal()
    history = quick(model, loader, num_steps=None, epochs=80)
    assert history.num_steps == 320
    assert "a loader cannot be split" in history.notes[0]
    torch.testing.assert_close(model.mean.detach(), x.mean(0), atol=0.02, rtol=0)


def test_a_generator_that_ends_too_early_says_so():
    with pytest.raises(InputError, match="data is a generator and has ended before num_steps"):
        quick(Normal(), (data(10, seed) for seed in range(5)), num_steps=20)


def test_a_loss_without_data_is_minimised_from_its_own_samples():
    def reverse_kl(model, batch, generator, mean):
        z = torch.randn(batch.size, 2, generator=generator)
        x = model.mean + z * model.log_scale.exp()
        return model.log_prob(x) + 0.5 * ((x - mean) ** 2).sum(-1)

    model = Normal()
    history = quick(model, None, loss=functools.partial(reverse_kl, mean=torch.tensor([2.0, -3.0])), batch_size=64)
    torch.testing.assert_close(model.mean.detach(), torch.tensor([2.0, -3.0]), atol=0.03, rtol=0)
    assert history.best_validation is not None


def test_all_batches_have_one_size_and_an_epoch_repeats_no_row():
    x = torch.arange(107.0)[:, None].expand(-1, 2)
    batches = []

    def spy(model, batch, generator):
        if model.training:
            batches.append(batch.x[:, 0].tolist())
        return losses.nll(model, batch)

    quick(Normal(), x, loss=spy, num_steps=None, epochs=3, batch_size=25, validation=None)
    assert [len(batch) for batch in batches] == [25] * 12
    for epoch in (batches[:4], batches[4:8], batches[8:]):
        assert len({row for batch in epoch for row in batch}) == 100
    assert batches[:4] != batches[4:8]


def test_the_best_weights_by_validation_loss_are_kept():
    train, held = data(20, 1), data(2000, 2)
    model = Normal()
    history = quick(model, train, validation=held, schedule="constant", num_steps=400)
    column = history.to_numpy()["validation_loss"]
    assert history.best_validation == column.min()
    assert history.best_step == history.rows[int(column.argmin())]["step"] < 400
    nll = -model.log_prob(held).double().mean().item()
    assert nll == pytest.approx(history.best_validation, abs=1e-6)


def test_validation_uses_the_same_noise_each_time():
    def noisy(model, batch, generator):
        return (
            losses.nll(model, batch)
            + 100 * torch.randn(batch.size, generator=generator)
            + 100 * torch.randn(batch.size)
        )

    history = quick(Normal(), data(), loss=noisy, learning_rate=1e-12, clip_norm=None)
    assert np.ptp(history.to_numpy()["validation_loss"]) < 1e-4


def test_validation_draws_the_same_probes_each_time():
    flow = pf.recipes.cnf(2, trace="hutchinson", method="rk4", num_steps=1, hidden_features=(4,))
    with torch.no_grad():
        flow.transform.velocity.last.weight.normal_()
    history = quick(flow, data(50), num_steps=20, learning_rate=1e-30)
    assert len(set(history.to_numpy()["validation_loss"])) == 1


def test_a_validation_loss_that_stays_the_same_is_no_improvement():
    history = quick(Normal(), data(), num_steps=300, learning_rate=1e-30, patience=4)
    assert (history.stopped_because, history.best_step, len(history)) == ("no improvement", 0, 5)


@pytest.mark.parametrize("num_steps", [300, 4000])
def test_the_train_loss_of_a_report_is_the_mean_since_the_one_before_or_of_20_steps(num_steps):
    steps = []

    def spy(model, batch, generator):
        found = losses.nll(model, batch)
        if model.training:
            steps.append(found.mean().item())
        return found

    table = quick(Normal(), data(), loss=spy, validation=None, num_steps=num_steps).to_numpy()
    first, last = (int(step) for step in table["step"][-2:])
    looked_at = steps[min(first, last - 20) : last]
    assert len(looked_at) == max(20, num_steps // 100)
    assert table["train_loss"][-1] == pytest.approx(np.mean(looked_at), rel=1e-6)
    assert table["train_error"][-1] == pytest.approx(np.std(looked_at, ddof=1) / len(looked_at) ** 0.5, rel=1e-6)


def test_the_train_loss_of_few_steps_and_of_none_is_what_they_say():
    loss = TrainLoss()
    assert all(math.isnan(value) for value in loss.report())
    loss.add([1.0])
    mean, error = loss.report()
    assert mean == 1.0
    assert math.isnan(error)
    loss.add([3.0])
    assert loss.report() == (2.0, pytest.approx(1.0))


def test_patience_ends_a_run_that_no_longer_improves():
    history = quick(Normal(), data(20, 1), validation=data(500, 2), schedule="constant", num_steps=4000, patience=5)
    assert history.stopped_because == "no improvement"
    assert history.steps < 4000
    assert [row["step"] for row in history.rows][-6] == history.best_step


@pytest.mark.parametrize("num_rows", [2, 3])
def test_a_few_rows_are_enough(num_rows):
    history = quick(Normal(), data(num_rows), num_steps=None, epochs=4)
    assert history.steps == 4
    assert history.rows[-1]["validation_loss"] is not None
    assert history.rows[-1]["epoch"] == 4


def test_the_global_generator_is_left_as_found():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    quick(Normal(dropout=0.5), data(), num_steps=20)
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_alone_decides_the_result():
    models = [Normal(dropout=0.5) for _ in range(3)]
    for model, seed, other in zip(models, (1, 1, 2), (7, 8, 9), strict=True):
        torch.manual_seed(other)
        quick(model, data(), num_steps=30, seed=seed)
    assert torch.equal(numbers(models[0]), numbers(models[1]))
    assert not torch.equal(numbers(models[0]), numbers(models[2]))


@pytest.mark.parametrize("training", [True, False])
def test_a_model_in_any_mode_is_trained_and_comes_back_in_eval_with_parameters_of_its_own(training):
    model = Normal().double().train(training)
    parameters = list(model.parameters())
    quick(model, data(), num_steps=5)
    assert not model.training
    assert all(value.dtype == torch.float64 and value.grad is None for value in parameters)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert len({value.untyped_storage().data_ptr() for value in parameters if value.numel()}) == 2
    assert {training for _, _, training in model.seen} == {True, False}


def test_frozen_parameters_stay():
    model = Normal()
    model.mean.requires_grad_(False)
    quick(model, data(), num_steps=20)
    assert torch.equal(model.mean, torch.zeros(2))
    assert not torch.equal(model.log_scale, torch.zeros(2))


def test_float64_data_reach_a_flow_in_float64_and_a_plain_module_in_its_own_dtype():
    plain = Normal()
    quick(plain, data().double().numpy(), num_steps=2)
    assert {dtype for dtype, _, _ in plain.seen} == {torch.float32}
    # Around 1e9 float32 has steps of 64: only float64 keeps the spread of 1.
    x = data().double().numpy() + 1e9
    flow = pf.recipes.realnvp(2, num_layers=2, preprocessing=[pf.transforms.Standardize(2)])
    history = quick(flow, x, num_steps=50)
    assert history.best_validation < 4.5


def test_initialize_is_called_once_before_and_redraw_once_a_step():
    class Hooked(Normal):
        calls = []

        def initialize(self, x, context):
            self.mean.data = x.mean(0)
            self.calls.append("initialize")

        def redraw(self, generator):
            self.calls.append("redraw" if self.training else "validation")

    model = Hooked()
    quick(model, data(), num_steps=7, learning_rate=1e-9)
    assert model.calls[0] == "initialize"
    assert model.calls.count("initialize") == 1
    assert model.calls.count("redraw") == 7
    torch.testing.assert_close(model.mean.detach(), data().mean(0), atol=0.1, rtol=0)


def test_a_start_is_learned_from_rows_drawn_at_random(monkeypatch):
    class Hooked(Normal):
        def initialize(self, x, context):
            self.seen_first = x[:, 0]

    monkeypatch.setattr(batches, "LEARNING_ROWS", 200)
    model = Hooked()
    quick(model, torch.arange(2000.0)[:, None].expand(-1, 2) / 2000, validation=None, num_steps=1)
    assert model.seen_first.shape == (200,)
    assert model.seen_first.mean().item() == pytest.approx(0.5, abs=0.1)


def test_the_learning_rate_depends_on_the_share_of_steps_alone():
    rates = [rate_factor("cosine", (step + 0.5) / 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1, abs=0.02)
    assert rates.index(max(rates)) in range(48, 52)
    assert rates[-1] < 1e-5
    assert rate_factor("constant", 0.99) == 1


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", lambda p: torch.optim.SGD(p, lr=0.3)])
def test_the_history_reports_the_rate_of_the_last_step_taken(optimizer, schedule, compiled, monkeypatch):
    eager = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda function, **options: eager(function, **options))
    flow = pf.recipes.realnvp(2, num_layers=1, hidden_features=(2,))
    history = quick(flow, data(), optimizer=optimizer, schedule=schedule, compile=compiled, num_steps=40)
    largest = 0.05 if optimizer == "adam" else 0.3
    last = [max(row["step"] - 1, 0) for row in history.rows]  # before the first step the first one's stands
    expected = [largest * rate_factor(schedule, (step + 0.5) / 40) for step in last]
    assert history.to_numpy()["learning_rate"].tolist() == pytest.approx(expected)


def test_a_run_limited_by_time_ends_in_time_and_can_be_repeated():
    def noisy(model, batch, generator):
        return losses.nll(model, batch) * torch.rand(batch.size, generator=generator)

    quick(Normal(), data(), num_steps=1)  # imports what torch imports at its first optimizer
    model, again = Normal(dropout=0.1), Normal(dropout=0.1)
    start = time.perf_counter()
    history = quick(model, data(2000), num_steps=None, max_seconds=1.0, loss=noisy)
    assert 0.6 < history.seconds < 1.5
    assert time.perf_counter() - start < 2.0
    assert history.stopped_because == "time is up"
    assert history.steps == history.num_steps == history.rows[-1]["step"]
    repeated = quick(again, data(2000), num_steps=history.plan, loss=noisy)
    assert torch.equal(numbers(model), numbers(again))
    assert repeated.best_step == history.best_step


def test_a_plan_follows_a_machine_that_slows_down_and_stops_when_time_is_up():
    plan = Plan([(0, 1000)], schedule="cosine", max_seconds=10.0)
    step, seconds = 0, 0.0
    while True:
        plan.revise(step, seconds, closing=0.5)
        if step >= plan.num_steps:
            break
        step, seconds = step + 1, seconds + (0.01 if step < 300 else 0.05)
    assert 9.0 < seconds < 9.6
    assert plan.changes[-1][1] == step < 500
    assert len(plan.changes) < 10


@pytest.mark.parametrize(("seconds_a_step", "steps"), [(0.03, 466), (0.0025, 3400)])
def test_a_timed_plan_is_revised_while_there_is_time_so_that_the_rate_ends_at_zero(seconds_a_step, steps):
    plan = Plan([(0, 1000)], schedule="cosine", max_seconds=10.0)
    step, seconds, planned = 0, 0.0, []
    while step < plan.num_steps:
        planned.append(plan.num_steps)
        step, seconds = step + 1, seconds + (0.01 if step < 200 else seconds_a_step)
        plan.revise(step, seconds, closing=0.0)
    assert step == pytest.approx(steps, rel=0.05)
    assert 9.0 < seconds <= 10.1
    assert planned[step // 2 + 50] == pytest.approx(step, rel=0.1)
    assert plan.rate_factor(step - 1) < 1e-3


def test_a_step_is_taken_at_the_rate_of_its_middle():
    plan = Plan([(0, 10)], schedule="cosine")
    assert plan.rate_factor(0) == pytest.approx(1)  # the end of the warm-up
    assert plan.rate_factor(9) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.9 / 0.95)))


def simulated(first, budget, seconds_a_step, *, closing=0.1, report=0.0, start=0.0):
    """Run a plan by a clock of its own; return steps, seconds used and the rate factors of the steps taken.

    Args:
        first: Number of steps planned at first.
        seconds_a_step: step, seconds so far -> seconds that the step takes.
        report: Seconds that each hundredth of the run takes besides.
    """
    plan = Plan([(0, first)], schedule="cosine", max_seconds=budget)
    step, seconds, rates = 0, start, []
    plan.revise(step, seconds, closing)
    while step < plan.num_steps:
        rates.append(plan.rate_factor(step))
        seconds += seconds_a_step(step, seconds)
        step += 1
        seconds += report if step % max(math.ceil(plan.num_steps / 100), 1) == 0 else 0.0
        plan.revise(step, seconds, closing)
    return step, seconds, rates


def scattered(mean, spread):
    draw = random.Random(0)
    return lambda step, seconds: mean * draw.lognormvariate(0.0, spread)


@pytest.mark.parametrize(
    ("first", "seconds_a_step", "options"),
    [
        (1000, lambda k, s: 0.01, {}),
        (10_000, lambda k, s: 0.01, {}),
        (100, lambda k, s: 0.01, {}),
        (1, lambda k, s: 0.01, {}),
        (500, lambda k, s: 0.01, {"report": 0.05}),
        (1000, scattered(0.01, 1.0), {}),
        (1000, scattered(0.002, 2.0), {}),
        (50, lambda k, s: 0.2 if s < 2 else 0.01, {}),
        (1000, lambda k, s: 2.0 if k == 400 else 0.01, {}),
        (100, lambda k, s: 0.1 if s < 7 else 0.01, {}),
        (100, lambda k, s: 0.1 if s < 9.3 else 0.01, {}),
        (1000, lambda k, s: 0.01 if s < 7 else 0.1, {}),
        (1000, lambda k, s: 0.01 if s < 9 else 0.1, {}),
        (1000, lambda k, s: 0.1 if int(s) % 2 else 0.01, {}),
    ],
    ids=[
        "steady", "a tenth of the steps fit", "ten times as many fit", "a thousand times as many fit", "slow reports",
        "scattered", "widely scattered", "a slow start", "a stall", "faster late", "faster at the very end",
        "slower late", "slower at the very end", "fast and slow by turns",
    ],
)  # fmt: skip
def test_a_timed_run_uses_its_time_and_no_more_and_ends_at_a_small_rate(first, seconds_a_step, options):
    step, seconds, rates = simulated(first, 10.0, seconds_a_step, **options)
    assert 9.8 <= seconds < 10.1
    assert rates[-1] < 0.01
    assert sum(rates) > 0.3 * step  # not by creeping along at a small rate


def test_a_run_of_few_planned_steps_finds_that_many_more_fit():
    step, seconds, _ = simulated(11, 35.0, lambda k, s: 0.17, start=9.85)
    assert step == 147
    assert 34.5 < seconds <= 35


def test_a_run_ends_rather_than_begin_a_step_that_does_not_fit():
    step, seconds, _ = simulated(5, 10.0, lambda k, s: 1.5)
    assert (step, seconds) == (6, 9.0)


def test_a_plan_leaves_time_for_the_last_validation():
    step, seconds, _ = simulated(1000, 10.0, lambda k, s: 0.1, closing=2.0)
    assert step == pytest.approx(80, abs=1)
    assert seconds == pytest.approx(8.0, abs=0.1)


def test_a_plan_in_time_never_exceeds_the_most_steps():
    plan = Plan([(0, 50)], schedule="cosine", max_seconds=10.0, most=100)
    plan.revise(0, 0.0, closing=0.0)
    plan.revise(40, 0.1, closing=0.0)  # some 4,000 would fit in
    assert plan.num_steps == 100
    plan.revise(100, 1.0, closing=0.0)
    assert plan.num_steps == 100


def test_a_timed_run_of_few_steps_says_so_with_the_remedy():
    class Slow(Normal):
        def log_prob(self, x, context=None):
            time.sleep(0.05 if self.training else 0.0)
            return super().log_prob(x, context)

    history = quick(Slow(), data(), num_steps=None, max_seconds=1.0)
    assert history.steps < 100
    assert history.notes == [
        f"only {history.steps} steps fitted into 1 s, too few to learn from: give more time (max_seconds, "
        "--max-seconds), fewer or narrower layers, or the number of steps (num_steps, --steps)"
    ]
    assert quick(Normal(), data(), num_steps=20).notes == []
    assert quick(Normal(), data(), num_steps=20, max_seconds=60.0).notes == []


def test_a_slow_validation_is_part_of_the_time():
    class Slow(Normal):
        def log_prob(self, x, context=None):
            if not self.training:
                time.sleep(0.01)
            return super().log_prob(x, context)

    history = quick(Slow(), data(4000), num_steps=None, max_seconds=1.5, batch_size=32)
    assert history.seconds < 2.5
    assert history.steps > 50


def test_history_is_a_table():
    history = quick(Normal(), data(), num_steps=200)
    table = history.to_numpy()
    assert len(history) == len(table["step"]) > 10
    assert table["train_loss"][-1] < table["train_loss"][0]
    assert table["step"][-1] == 200
    assert (np.diff(table["seconds"]) >= 0).all()
    assert history.summary()["stopped_because"] == "finished"
    assert len(history.to_jsonl().splitlines()) == len(history)


def test_progress_in_a_log_is_plain_lines_and_can_be_switched_off(capsys):
    quick(Normal(), data(), num_steps=20, progress=True)
    lines = capsys.readouterr()
    assert lines.out == ""
    assert re.match(r"step 20/20  720 rows, [\d,]+ a second, 0 s left  train .* rate .* s$", lines.err.splitlines()[0])
    quick(Normal(), data(), num_steps=20)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    quick(Normal(), data(), num_steps=20, progress=True)
    assert "training" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["adam", "adamw", lambda p: torch.optim.SGD(p, lr=0.05)])
def test_the_compiled_step_learns_what_the_eager_step_learns(optimizer, monkeypatch):
    # The graph is captured whole; compiling it to machine code is left out here, since it takes long.
    compiled = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled(function, **options))
    models = [pf.recipes.realnvp(2, num_layers=2, hidden_features=(8,), dropout=1e-9) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    options = {} if callable(optimizer) else {"learning_rate": 0.01, "weight_decay": 0.1}
    # One compilation a run, whatever was compiled in the runs before: torch refuses an eighth.
    with torch._dynamo.config.patch(recompile_limit=1):
        for model, flag in zip(models, (False, True), strict=True):
            quick(model, data(), num_steps=25, optimizer=optimizer, compile=flag, **options)
    torch.testing.assert_close(numbers(models[1]), numbers(models[0]), atol=2e-4, rtol=1e-3)


def test_a_step_that_cannot_be_compiled_names_the_remedy():
    def unfriendly(model, batch, generator):
        losses = -model.log_prob(batch.x)
        return losses if losses.mean().item() > 0 else losses + 1

    with pytest.raises(InputError, match="the training step cannot be compiled .*: use compile=False"):
        quick(Normal(), data(), loss=unfriendly, compile=True)


def test_a_small_model_trains_on_one_thread_and_the_number_of_threads_is_left_as_found():
    seen = []

    def loss(model, batch, generator):
        seen.append(torch.get_num_threads())
        return pf.losses.nll(model, batch)

    torch.set_num_threads(2)
    try:
        pf.fit(pf.recipes.realnvp(2, num_layers=1), torch.randn(20, 2), loss=loss, num_steps=2, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {1}
