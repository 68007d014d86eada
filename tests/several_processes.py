"""Processes that share a run, for test_training_ranks.py: started from one that has imported torch, so in no time."""

import contextlib
import io
import multiprocessing
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import torch
from torch import distributed as group
from torch import nn
from torch.distributed.launcher import api as launcher

import pushforward as pf
from pushforward.__main__ import main
from pushforward.cli import app, fit_command  # noqa: F401 (what is imported here no child has to import)
from pushforward.errors import InputError, RunError
from pushforward.tables.in_pieces import pieces, sample
from pushforward.tables.table_model import TableModel
from pushforward.training import checkpoint, run_folder
from pushforward.training.interrupt import Interrupted

torch.optim.SGD([nn.Parameter(torch.zeros(()))])  # imports much of torch
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["several_processes"])
MANY_STEPS = 400  # of a run that is killed on the way
SECONDS = 60  # after which processes that should have ended count as stuck


def start_server():
    """Start the process from which others are forked; up to Python 3.12 it looks for what it imports in PYTHONPATH."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({} if before is None else {"PYTHONPATH": before})


class Together:
    """Processes that call `task(rank, *arguments)` in one group, and what each of them returned or raised."""

    def __init__(self, size, task, *arguments, grouped=True):
        self.folder = Path(tempfile.mkdtemp())
        start_server()
        self.processes = [
            CONTEXT.Process(target=_child, args=(self.folder, rank, size if grouped else 1, task, arguments))
            for rank in range(size)
        ]
        for process in self.processes:
            process.start()

    def have_met(self):
        return len(list(self.folder.glob("* met"))) == len(self.processes)

    def kill(self, rank, number=signal.SIGKILL):
        if self.processes[rank].is_alive():
            os.kill(self.processes[rank].pid, number)

    def ended(self):
        """Wait for all; return what each returned, or the exception that it raised, or None where it was killed."""
        until = time.monotonic() + SECONDS
        for process in self.processes:
            process.join(max(until - time.monotonic(), 0))
        stuck = [process for process in self.processes if process.is_alive()]
        for process in stuck:
            process.kill()
        assert not stuck, "processes wait for others for ever"
        files = [self.folder / str(rank) for rank in range(len(self.processes))]
        return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]


def together(size, task, *arguments):
    """Return what each process returned; the exception that one raised is raised here."""
    results = Together(size, task, *arguments).ended()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _child(folder, rank, size, task, arguments):
    torch.set_num_threads(1)
    if size > 1:
        group.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    (folder / f"{rank} met").touch()
    try:
        result = task(rank, *arguments)
    except (InputError, RunError, KeyboardInterrupt) as error:
        result = error
    (folder / f"{rank} unfinished").write_bytes(pickle.dumps(result))
    (folder / f"{rank} unfinished").rename(folder / str(rank))
    os._exit(0)


# ---- what they do ----------------------------------------------------------------------------------------------------

X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHT = torch.rand(200, generator=torch.Generator().manual_seed(1)) + 0.1
PIXELS = torch.randint(0, 8, (100, 2), generator=torch.Generator().manual_seed(2))

WAYS = {
    "weights of rows": {},
    "uneven shares": {"batch_size": 31, "clip_norm": 0.5},
    "fewer rows than processes": {"batch_size": 2, "num_steps": 40},
    "an average": {"average": 0.1, "weight": None},
    "an optimizer of one's own": {"optimizer": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)},
    "noise of the batch": {"x": PIXELS, "weight": None, "dequantize": 8, "batch_size": 7},
    "patience": {"learning_rate": 0.5, "patience": 3, "num_steps": 400},
}


class Watched(nn.Module):
    """A flow whose training calls `at_step(number of losses so far)` before each loss."""

    def __init__(self, at_step):
        super().__init__()
        self.flow = pf.recipes.realnvp(2, num_layers=2, hidden_features=8).double()
        for value in self.flow.parameters():  # not the identity, so that other weights at the start are told
            nn.init.normal_(value, std=0.3)
        self.at_step, self.losses = at_step, 0

    def log_prob(self, x, context=None):
        if self.training:
            self.losses += 1
            self.at_step(self.losses)
        return self.flow.log_prob(x)


def numbers(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def train(rank, options, at_step=None):
    """Return weights and history of a run; other processes begin with other weights, which must not matter."""
    torch.manual_seed(rank)
    model = Watched(lambda step: at_step and at_step(rank, step))
    given = {"num_steps": 40, "batch_size": 32, "weight": WEIGHT, "progress": False, **options}
    history = pf.fit(model, given.pop("x", X), **given)
    return numbers(model), history


def train_in_ways(rank, ways):
    return [train(rank, options) for options in map(WAYS.get, ways)]


def train_on_a_file(rank, file):
    """Train on rows that are read piece by piece."""
    with (
        mock.patch.object(sample, "ROWS", 50), mock.patch.object(pieces, "ROWS", 50),
        mock.patch.object(sample, "FEWEST_ROWS", 80), mock.patch.object(sample, "MOST_ROWS", 80),
    ):  # fmt: skip
        return train(rank, {"x": pf.scale.stream_rows(file), "weight": None})


def late(rank, step):
    """Let one process be late now and then."""
    if rank == 1 and step % 20 == 0:
        time.sleep(0.1)


def interrupt_last(rank, step):
    """Send Ctrl-C to one process at step 57, and what a launcher may send after it."""
    if rank == group.get_world_size() - 1 and step == 57:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)


def interrupt_last_later(rank, step):
    """The same at step 70, of which 57 were taken before."""
    if rank == group.get_world_size() - 1 and step == 70 - 57:
        os.kill(os.getpid(), signal.SIGINT)


class Interrupting(torch.optim.SGD):
    """Sends Ctrl-C to the last process after the gradients of step 30 have been summed."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        if self.steps == 30 and group.get_rank() == group.get_world_size() - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(closure)


def train_and_interrupt_late(rank):
    return train(rank, {"optimizer": lambda parameters: Interrupting(parameters, lr=0.01)})


def train_until_saved(rank, out):
    """Return the checkpoint that each process finds when it has heard that the run was stopped and saved."""
    write = run_folder.write_checkpoint
    run_folder.write_checkpoint = lambda *given: (time.sleep(0.2), write(*given))
    with contextlib.suppress(Interrupted):
        train(rank, {"out": out, "num_steps": 60}, interrupt_last)
    return (out / checkpoint.NAME).read_bytes()


def train_and_save_often(rank, out):
    run_folder.SAVE_SECONDS, run_folder.SAVE_SHARE = 0.05, 1.0
    return train(rank, {"out": out, "resume": True, "num_steps": MANY_STEPS}, lambda *step: time.sleep(0.002))[0]


def train_until_done(folder, kills, chance=None):
    """Train with 2 or 3 processes, kill one at a random moment, go on with another number, and so on.

    Returns:
        The weights in the end, and what was said by those that were left, a list for each time one was killed.
    """
    chance, said = chance or random.Random(0), []
    for attempt in range(kills):
        size = 2 + attempt % 2
        run = Together(size, train_and_save_often, folder)
        while not (folder / checkpoint.NAME).exists() or not run.have_met():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        last = chance.randrange(size)
        run.kill(last)
        results = run.ended()
        if not isinstance(results[0 if last else 1], RunError):
            return results[0 if last else 1], said
        said.append([str(result) for rank, result in enumerate(results) if rank != last])
    return together(2, train_and_save_often, folder)[0], said


def train_on_a_share(rank):
    return train(rank, {"x": X[rank::2], "weight": None})


def train_on_a_loader(rank):
    return train(rank, {"x": [X[:50], X[50:100]], "weight": None})


def train_with_noise(rank, out, at_step):
    """Return all that a loss drew, from its generator and for dropout, and the weights; after a stop it goes on."""
    drawn = []

    def loss(model, batch, generator):
        if model.training:
            drawn.append((torch.rand(2, generator=generator).tolist(), torch.rand(2).tolist()))
        return -model.log_prob(batch.x)

    options = {"loss": loss, "out": out, "weight": None, "num_steps": 80, "resume": True}
    with contextlib.suppress(Interrupted):
        train(rank, options, at_step)
    weights, _ = train(rank, options)
    return drawn, weights


def watch_training(rank):
    """Return the steps at which this process's watch was called."""
    seen = []

    def watch(step):
        seen.append(step)
        return 25 if step < 50 else 0

    return seen, train(rank, {"watch": watch, "num_steps": 100})[1].steps


def fit_table(rank, table, out):
    """Return log_probs, how often each process warned, and its history."""
    warned = []
    model = TableModel.fit(table, num_steps=15, out=out, progress=False, notify=warned.append)
    return model.log_prob(table), len(warned), model.fitted.history


def run_command(rank, size, port, folder, arguments):
    """Run a command as one of several processes would; return its exit code and what it printed."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    return run_main(folder, arguments)


def torchrun(rank, size, folder, arguments):
    """Do what `torchrun -m pushforward` does, with processes that need not import anything; return what they return."""
    config = launcher.LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=size, run_id="one", rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0", start_method="fork",
    )  # fmt: skip
    return launcher.elastic_launch(config, run_main)(folder, arguments)


def run_main(folder, arguments):
    """Run a command in a folder; return its exit code and what it printed."""
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    sys.stdout.flush()
    return code, out.getvalue(), err.getvalue()
