"""Pieces made by Ray's workers: the bytes that one process writes, whoever dies on the way."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from long_tables import command, fit, read_back, rows, write_parquet
from pushforward.errors import InputError, RunError
from pushforward.scale import rate
from pushforward.scale.on_ray import _result
from pushforward.tables.in_pieces import pieces, text_blocks

# Read by Ray when it is imported: a token of the tests' own, and workers no nicer than others.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex, "RAY_worker_niceness": "0"}
ray = pytest.importorskip("ray")

CLUSTER = """
import logging, sys
import ray
options = {"include_dashboard": False, "object_store_memory": 80 * 2**20, "logging_level": logging.CRITICAL}
ray.init(num_cpus=2, **options)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
MARK = "PUSHFORWARD_TEST_OF_RAY"  # in the environment of all processes that a test starts


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the file of a model."""
    return fit(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def cluster():
    """Return the address of a Ray of two workers."""
    environment = {**os.environ, MARK: "cluster"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()
        assert not marked("cluster")


@pytest.fixture
def small(monkeypatch):
    """Let pieces be small, and nothing be said of how far they are."""
    monkeypatch.setattr(pieces, "ROWS", 50)
    monkeypatch.setattr(text_blocks, "BLOCK", 1500)
    monkeypatch.setattr(rate, "LINE_SECONDS", 1e9)


def marked(mark):
    """Return the processes of a test that are still there, with what they are called."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is another user's
            pass
    return found


@contextmanager
def one_worker_killed(folder, killed):
    """Kill a worker with SIGKILL while it makes a piece, once two are there."""
    over = threading.Event()

    def kill():
        while not over.is_set() and not killed:
            busy = [pid for pid, name in marked("cluster").items() if name.startswith("ray::_made")]
            if busy and len(list(folder.glob("part-*"))) >= 2:
                os.kill(busy[0], signal.SIGKILL)
                killed.append(busy[0])
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_worker_killed_on_the_way_loses_nothing(tmp_path, small, fitted, cluster, capfd):
    """The output is that of one process, byte for byte."""
    killed = []
    rows(1200).write_csv(tmp_path / "rows.csv")
    arguments = ("anomalies", fitted, tmp_path / "rows.csv", "--out")
    with one_worker_killed(tmp_path / ".shared.csv.parts", killed):
        command(*arguments, tmp_path / "shared.csv", "--ray", cluster)
    said = capfd.readouterr()
    assert killed
    assert said.err == ""
    command(*arguments, tmp_path / "alone.csv")
    assert said.out.replace("shared", "alone") == capfd.readouterr().out
    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_workers_error_is_the_one_that_it_raised_and_a_dead_workers_one_line():
    def failed(error):
        return SimpleNamespace(get=lambda task: (_ for _ in ()).throw(error), exceptions=ray.exceptions)

    raised = pickle.loads(pickle.dumps(InputError('rows.csv: column "size", line 401: "large" is no number')))
    with pytest.raises(InputError) as found:
        _result(failed(ray.exceptions.RayTaskError("_made", "Traceback ...", raised).as_instanceof_cause()), None)
    assert found.value is raised
    with pytest.raises(RunError, match=r"^Ray lost a piece 4 times: .* \(out of memory\?\)$"):
        _result(failed(ray.exceptions.WorkerCrashedError()), None)


def test_ctrl_c_ends_all_that_was_started_here_and_one_process_goes_on(tmp_path, monkeypatch, fitted, capsys):
    write_parquet(tmp_path / "rows.parquet", rows(1000), group=30)
    code = (
        "import sys; from pushforward.tables.in_pieces import pieces; pieces.ROWS = 30\n"
        "from pushforward.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["anomalies", str(fitted), str(tmp_path / "rows.parquet"), "--out"]
    run = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, str(tmp_path / "found"), "--ray", "local"],
        env={**os.environ, MARK: "local"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while run.poll() is None and len(list((tmp_path / "found").glob("part-*"))) < 3:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()
    assert (run.returncode, out, err.splitlines()[-1:]) == (130, "", ["interrupted"])
    assert not marked("local")
    assert not [file.name for file in (tmp_path / "found").glob(".*")]
    made = len(list((tmp_path / "found").glob("part-*")))
    assert 3 <= made < 34
    monkeypatch.setattr(pieces, "ROWS", 30)
    command(*arguments, tmp_path / "found")
    assert f"{made} pieces were there already" in capsys.readouterr().out
    command(*arguments, tmp_path / "whole.parquet")
    assert read_back(tmp_path / "found").equals(read_back(tmp_path / "whole.parquet"))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--ray", "127.0.0.1:1"], 1, "--ray 127.0.0.1:1: nobody answers: "),
        (["--ray", "yes"], 2, "--ray yes: is no address (give local, auto, or HOST:PORT as ray start prints it)"),
        (["--ray", "local", "--shard", "1/2"], 2, "--ray shares all pieces among its workers (leave --shard out)"),
    ],
)
def test_a_cluster_that_is_none_is_refused_in_one_line(run, small, fitted, options, code, said):
    write_parquet("rows.parquet", rows(333))
    found, out, err = run("score", fitted, "rows.parquet", "--out", "found", *options)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert said in err
