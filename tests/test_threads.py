"""How many threads work runs on: one where it is small; whatever torch was set to is left as found."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.numerics.chunking import CHUNK_NUMBERS
from pushforward.numerics.threads import available, one_thread_everywhere, threads
from pushforward.training import threads as step_threads
from pushforward.training.threads import StepThreads


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_threads_are_used_inside_and_left_as_found_after_an_error_too():
    def fails():
        with threads(1):
            assert (torch.get_num_threads(), available()) == (1, 2)
            with threads(1):
                assert available() == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (torch.get_num_threads(), available()) == (2, 2)


def test_scikit_learn_and_numpy_get_one_thread_too():
    import threadpoolctl

    np.linalg.inv(np.eye(3))
    with one_thread_everywhere():
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


class Spying(pf.transforms.LULinear):
    """A linear map that notes on how many threads of torch, and in which thread of Python, it runs."""

    seen, workers = set(), set()  # of the class: verify runs a copy

    def __init__(self):
        super().__init__(2)
        self.seen.clear()
        self.workers.clear()

    def _note(self):
        self.seen.add(torch.get_num_threads())
        self.workers.add(threading.get_ident())

    def forward(self, x, context=None):
        self._note()
        return super().forward(x, context)

    def inverse(self, y, context=None):
        self._note()
        return super().inverse(y, context)


def spying():
    transform = Spying()
    return transform, pf.Flow(transform, pf.bases.StandardNormal(2))


X = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
ENTRIES = {
    "log_prob": lambda flow: flow.log_prob(X),
    "encode": lambda flow: flow.encode(X),
    "decode": lambda flow: flow.decode(X),
    "sample": lambda flow: flow.sample(5),
    "verify": lambda flow: pf.verify(flow, X),
    "nll": lambda flow: pf.metrics.nll(flow, X),
    "fit": lambda flow: pf.fit(flow, X, num_steps=2, progress=False),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_small_work_runs_on_one_thread_wherever_it_enters(entry):
    transform, flow = spying()
    with torch.no_grad():
        ENTRIES[entry](flow)
    assert transform.seen == {1}
    assert torch.get_num_threads() == 2


def test_a_loop_of_ones_own_keeps_the_threads_it_has_chosen():
    transform, flow = spying()
    flow.log_prob(X).sum().backward()
    assert transform.seen == {2}


MANY = torch.randn(2 * CHUNK_NUMBERS, 2, generator=torch.Generator().manual_seed(1))


def test_many_rows_run_side_by_side_each_chunk_on_one_thread():
    transform, flow = spying()
    with torch.no_grad():
        flow.log_prob(MANY)
    assert transform.seen == {1}
    assert len(transform.workers) == 2


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_number_of_threads_changes_no_bit_of_a_density_or_sample(mode):
    torch.manual_seed(0)
    flow = pf.recipes.nsf(2, num_layers=2, context_features=1)
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.1)
    context = MANY[:, :1]
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        with mode():
            found.append((flow.log_prob(MANY, context), flow.decode(MANY, context)))
    for densities, rows in found[1:]:
        assert torch.equal(densities, found[0][0])
        assert torch.equal(rows, found[0][1])


def test_an_error_in_a_chunk_reaches_the_caller():
    class Broken(pf.transforms.LULinear):
        def forward(self, x, context=None):
            raise RuntimeError("broken")

    with torch.no_grad(), pytest.raises(RuntimeError, match="broken"):
        pf.Flow(Broken(2), pf.bases.StandardNormal(2)).log_prob(MANY)


# ---- steps of a training run -----------------------------------------------------------------------------------------


def large():
    return nn.Linear(1000, 1000)


@pytest.mark.parametrize(
    ("model", "timed", "number"),
    [(nn.Linear(10, 10), True, 1), (nn.Linear(10, 10), False, 1), (large(), False, 2), (large(), True, 1)],
)
def test_sizes_alone_decide_at_first(model, timed, number):
    chosen = StepThreads(model, 100, timed=timed)
    with chosen.in_use():
        assert torch.get_num_threads() == number
    assert torch.get_num_threads() == 2


class Machine:
    """A clock, and steps that take so long on one thread and on two."""

    def __init__(self, monkeypatch):
        self.now, self.seconds = 0.0, {1: 0.01, 2: 0.01}
        monkeypatch.setattr(step_threads.time, "perf_counter", lambda: self.now)

    def step(self):
        self.now += self.seconds[torch.get_num_threads()]
        return torch.zeros(())

    def run(self, chosen, num_steps):
        used = []
        with chosen.in_use():
            for _ in range(num_steps):
                chosen.take(self.step)
                used.append(torch.get_num_threads())
        return used


def test_a_timed_run_takes_the_faster_number_of_threads_and_looks_again(monkeypatch):
    machine, chosen = Machine(monkeypatch), StepThreads(large(), 100, timed=True)
    machine.seconds = {1: 0.02, 2: 0.01}  # a quiet machine
    assert set(machine.run(chosen, 500)[20:100]) == {2}
    machine.seconds = {1: 0.02, 2: 0.2}  # another program came
    used = machine.run(chosen, 2000)
    assert used[400:].count(1) > 0.95 * len(used[400:])
    machine.seconds = {1: 0.02, 2: 0.01}  # and left
    assert machine.run(chosen, 3000)[-1000:].count(2) > 900


def test_trying_takes_little_time_though_the_other_number_is_much_slower(monkeypatch):
    machine, chosen = Machine(monkeypatch), StepThreads(large(), 100, timed=True)
    machine.seconds = {1: 0.01, 2: 0.3}
    machine.run(chosen, 10_000)
    assert machine.now < 1.05 * 10_000 * 0.01


def test_an_untimed_run_never_changes_its_threads(monkeypatch):
    machine, chosen = Machine(monkeypatch), StepThreads(large(), 100, timed=False)
    machine.seconds = {1: 0.01, 2: 0.3}
    assert set(machine.run(chosen, 1000)) == {2}
