"""`fit` on a GPU: the recorded step learns what the same operations learn one by one, and goes on where it stopped."""

import functools

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.training import learner

DATA = pf.data.two_moons(2000, seed=0).x


def small(seed=0, **options):
    torch.manual_seed(seed)
    return pf.recipes.nsf(2, num_layers=2, hidden_features=(16, 16), **options)


def fit(flow, data=DATA, *, steps=60, **options):
    return pf.fit(flow, data, num_steps=steps, device="cuda", progress=False, **options)


def unrecorded(monkeypatch):
    monkeypatch.setattr(learner, "obstacle", lambda *parts: "a test")


def weights(flow):
    return torch.cat([value.detach().flatten().cpu() for value in flow.parameters()])


@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw"}, {"clip_norm": None}, {"weight": torch.rand(2000)}])
def test_a_recorded_step_learns_what_the_plain_one_learns(options, monkeypatch):
    recorded, plain = small(), small()
    history = fit(recorded, **options)
    assert history.notes == []
    unrecorded(monkeypatch)
    other = fit(plain, **options)
    assert "CUDA graph" in other.notes[0]
    torch.testing.assert_close(weights(recorded), weights(plain), rtol=1e-3, atol=1e-4)
    assert history.rows[-1]["validation_loss"] == pytest.approx(other.rows[-1]["validation_loss"], abs=1e-3)


def test_a_compiled_step_is_recorded_too():
    compiled, plain = small(), small()
    history = fit(compiled, compile=True)
    assert history.notes == []
    assert history.compile_seconds > 0
    fit(plain)
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=1e-3, atol=1e-3)


def test_two_recorded_runs_are_bit_equal():
    first, second = small(), small()
    fit(first)
    fit(second)
    assert torch.equal(weights(first), weights(second))


def noisy():
    torch.manual_seed(0)
    return pf.recipes.realnvp(4, num_layers=2, hidden_features=(16,), dropout=0.3)


def test_dropout_and_dequantization_noise_are_drawn_anew_at_each_replay():
    x = torch.randint(8, (500, 4))
    flow = noisy()
    history = fit(flow, x, steps=40, dequantize=8, batch_size=500, validation=None, learning_rate=1e-30)
    assert history.notes == []
    losses = {round(row["train_loss"], 6) for row in history.rows[1:]}
    assert len(losses) > 10  # the weights stand still: only the noise changes


@pytest.mark.parametrize("make", [small, noisy])
def test_a_run_goes_on_bit_for_bit(make, tmp_path):
    x = torch.randint(8, (500, 4)) if make is noisy else DATA
    options = {"dequantize": 8} if make is noisy else {}
    whole, halves = make(), make()
    fit(whole, x, steps=60, **options)

    class Stop(Exception):
        pass

    def stopping(model, batch, generator):
        return pf.losses.nll(model, batch, generator)

    stopping.capturable = True
    from pushforward.training import run

    save, calls = run.Run._look, []

    def look(self):
        save(self)
        calls.append(self.step)
        if self.step == 40:
            self._save()
            raise Stop

    run.Run._look = look
    try:
        with pytest.raises(Stop):
            fit(halves, x, steps=60, out=tmp_path, **options)
    finally:
        run.Run._look = save
    resumed = make()
    fit(resumed, x, steps=60, out=tmp_path, resume=True, **options)
    assert torch.equal(weights(resumed), weights(whole))


def test_raised_dropout_is_recorded_anew():
    torch.manual_seed(0)
    flow = pf.recipes.nsf(2, num_layers=4, hidden_features=(128, 128), dropout=0.0)
    history = fit(flow, DATA[:150], steps=600, batch_size=64, raise_dropout=True)
    assert any("dropout raised" in note for note in history.notes)
    assert all("CUDA graph" not in note for note in history.notes)


def test_a_run_that_breaks_is_rolled_back():
    flow = small()
    history = fit(flow, steps=300, learning_rate=3.0, clip_norm=None, optimizer="adam")
    assert torch.isfinite(weights(flow)).all()
    assert history.notes == [] or "CUDA graph" not in history.notes[0]


def reads_values(model, batch, generator):
    losses = pf.losses.nll(model, batch, generator)
    return losses * (1.0 if losses.mean().item() > 0 else 0.5)


reads_values.capturable = True


def own(model, batch, generator):
    return pf.losses.nll(model, batch, generator)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"loss": reads_values}, "synchroniz"),
        ({"loss": own}, "the loss is your own"),
        ({"optimizer": lambda some: torch.optim.SGD(some, 1e-3)}, "function of your own"),
    ],
)
def test_what_cannot_be_recorded_runs_and_is_noted_once(options, reason):
    flow = small(dropout=0.1)
    history = fit(flow, **options)
    assert len(history.notes) == 1
    assert reason in history.notes[0]
    assert history.best_validation < history.rows[0]["validation_loss"]
    assert torch.randn(3, device="cuda").isfinite().all()  # the global generator draws as before


def test_a_loader_and_an_adaptive_solver_run_unrecorded():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(DATA), batch_size=100)
    assert "loader" in fit(small(), [batch[0] for batch in loader], validation=DATA[:50]).notes[0]
    flow = pf.recipes.cnf(2, hidden_features=(16,), method="dopri5")
    assert "CUDA graph" in fit(flow, DATA[:200], steps=5, batch_size=64).notes[0]


@pytest.mark.parametrize(
    ("make", "loss", "data"),
    [
        (lambda: pf.recipes.realnvp(2), pf.losses.nll, DATA),
        (lambda: pf.recipes.maf(2, num_layers=2), pf.losses.nll, DATA),
        (lambda: pf.recipes.planar(2, num_layers=4), pf.losses.nll, DATA),
        (lambda: pf.recipes.cnf(2, hidden_features=(16,)), pf.losses.flow_matching, DATA),
        (lambda: pf.recipes.glow((1, 4, 4), num_layers=1), pf.losses.nll, torch.rand(400, 16)),
        (
            lambda: pf.recipes.planar(2, num_layers=4, inverted=True),
            functools.partial(pf.losses.reverse_kl, log_density=lambda x: -x.square().sum(-1)),
            None,
        ),
    ],
)
def test_recipes_and_losses_are_recorded(make, loss, data):
    flow = make()
    history = fit(flow, data, loss=loss, steps=100)
    print(type(flow).__name__, loss, history.notes)
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]


@pytest.mark.parametrize("precision", ["high", "bf16"])
def test_less_exact_networks_learn_the_same(precision):
    exact, rounded = small(), small()
    best = fit(exact, steps=300).best_validation
    assert fit(rounded, steps=300, precision=precision).best_validation == pytest.approx(best, abs=0.1)
    assert {value.dtype for value in rounded.parameters()} == {torch.float32}


def test_a_user_module_with_a_counter_is_not_recorded():
    class Counting(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.flow = small()

        def log_prob(self, x, context=None):
            self.calls += 1
            return self.flow.log_prob(x, context)

    assert "numbers of Python's" in fit(Counting(), steps=5).notes[0]


def test_memory_does_not_grow_from_run_to_run():
    fit(small())
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        fit(small())
    assert torch.cuda.memory_allocated() <= before + 2**20
