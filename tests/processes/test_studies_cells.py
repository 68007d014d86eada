"""Worker processes of the studies, and cells that several of them share: killed ones cost their own cell alone."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from pushforward.errors import InputError, RunError
from pushforward.studies.kit import Record
from pushforward.studies.kit import cells as kit_cells
from pushforward.studies.kit import workers as kit_workers
from pushforward.studies.kit.cells import complete
from pushforward.studies.kit.workers import Workers
from pushforward.training.interrupt import Interrupted

DONE = "done.txt"  # in the study's folder: a line for each cell that was begun
GO = "go"  # in the study's folder: a file for which some cells wait


@dataclass(frozen=True)
class Toy:
    """A cell that notes when and by which process it is begun."""

    name: str
    value: float = 0.5
    seconds: float = 0.0
    waits: bool = False
    ends: str = ""

    def perform(self, scratch):
        with (scratch.parent.parent / DONE).open("a") as file:
            file.write(f"{self.name}:{os.getpid()}\n")
        (scratch / "checkpoint").touch()
        time.sleep(self.seconds)
        end = time.monotonic() + 60
        while self.waits and not (scratch.parent.parent / GO).exists() and time.monotonic() < end:
            time.sleep(0.01)
        if self.ends == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.ends == "failed":
            raise RunError("it diverged")
        return {"double": 2 * self.value, "threads": torch.get_num_threads()}, {"points": torch.tensor([self.value])}


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setattr(kit_workers, "POLL_SECONDS", 0.05)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    return Record("sweep", "A title", "a source", tmp_path / "out")


def begun(record):
    """Return name and process of every cell that was begun, in order."""
    lines = (record.out / DONE).read_text().splitlines() if (record.out / DONE).exists() else []
    return [line.split(":") for line in lines]


def names_begun(record):
    return [name for name, _ in begun(record)]


# ---- workers ---------------------------------------------------------------------------------------------------------


def test_workers_end_with_a_status_and_their_last_words(record):
    with Workers() as workers:
        workers.start("bad", time.sleep, "0")  # which wants a number
        workers.start("none", importlib.import_module, "json")
        ended = {}
        while workers.running:
            ended |= {one.name: one for one in workers.ended()}
    assert (ended["none"].status, ended["none"].last_words) == (0, "it gave no reason")
    assert ended["bad"].status == 1
    assert ended["bad"].last_words.startswith("TypeError")


def test_workers_left_are_stopped(record):
    with Workers() as workers:
        workers.start("waits", subprocess.getoutput, "sleep 60")
        process, _ = workers.running["waits"]
    assert process.returncode == -signal.SIGTERM
    assert not workers.running


def stopped(file):
    """Stop as the training loop does: a signal comes, the checkpoint is saved, and an interrupt is raised."""
    Path(file).touch()
    raise Interrupted("saved")


def test_a_worker_stopped_by_a_signal_has_not_failed(record):
    with Workers() as workers:
        workers.start("a", stopped, record.out / "checkpoint")
        while not (ended := workers.ended()):
            pass
    assert ended[0].status == -signal.SIGTERM
    assert (record.out / "checkpoint").exists()


def test_a_worker_ends_when_the_process_that_started_it_is_killed():
    code = (
        "import time; from pushforward.studies.kit.workers import Workers; workers = Workers(); "
        "workers.start('a', time.sleep, 60); print(workers.running['a'][0].pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with starter:
        worker = int(starter.stdout.readline())
        starter.kill()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and Path(f"/proc/{worker}/cmdline").exists():
        if Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z":
            return  # it has ended, and nobody has asked how
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_a_claim_lasts_until_the_worker_that_holds_it_has_ended(record, tmp_path):
    claim = kit_cells._claim(tmp_path, Toy("a"))
    with Workers() as workers:
        with claim:
            workers.start("a", time.sleep, 1, holding=[claim])
        assert kit_cells._claim(tmp_path, Toy("a")) is None
        while workers.running:
            workers.ended()
    again = kit_cells._claim(tmp_path, Toy("a"))
    assert again is not None
    again.close()


# ---- cells, in this process ------------------------------------------------------------------------------------------


def test_a_finished_cell_is_given_back_and_not_repeated(record):
    cells = [Toy("a", 0.1), Toy("b", 1e300)]
    complete(record, cells[:1], num_workers=0)
    first, second = complete(record, cells, num_workers=0)
    assert (first.cell, first.double, first.points) == (cells[0], 0.2, torch.tensor([0.1]))
    assert second.double == 2e300
    assert names_begun(record) == ["a", "b"]


def test_a_cell_that_is_described_otherwise_is_done_again(record):
    complete(record, [Toy("a", 0.1)], num_workers=0)
    (found,) = complete(record, [Toy("a", 0.2)], num_workers=0)
    assert found.double == 0.4
    assert names_begun(record) == ["a", "a"]


def test_only_the_findings_are_left(record):
    complete(record, [Toy("A cell, seed 0")], num_workers=0)
    assert [path.name for path in (record.out / "runs").iterdir()] == ["a-cell-seed-0.safetensors"]


def test_the_claim_and_checkpoint_of_a_process_that_is_gone_are_taken_over(record):
    with pytest.raises(RunError):
        complete(record, [Toy("a", ends="failed")], num_workers=0)
    assert {path.name for path in (record.out / "runs").iterdir()} == {"a", "a.claim"}
    assert (record.out / "runs" / "a" / "checkpoint").exists()
    (found,) = complete(record, [Toy("a")], num_workers=0)
    assert found.double == 1


def test_a_file_cut_off_is_named_with_the_remedy(record):
    complete(record, [Toy("a")], num_workers=0)
    path = record.out / "runs" / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"a.safetensors: is damaged.*delete it to have the cell done again"):
        complete(record, [Toy("a")], num_workers=0)


def test_a_cell_that_another_process_holds_is_left_to_it(record):
    cells = [Toy("a"), Toy("b")]
    (record.out / "runs").mkdir()
    others = kit_cells._claim(record.out / "runs", cells[0])
    call = threading.Thread(target=complete, args=(record, cells), kwargs={"num_workers": 0})
    call.start()
    end = time.monotonic() + 60
    while not begun(record) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(5 * kit_workers.POLL_SECONDS)
    assert names_begun(record) == ["b"]
    others.close()
    call.join()
    assert names_begun(record) == ["b", "a"]


def test_two_calls_that_share_a_folder_do_every_cell_once(record):
    cells = [Toy(f"cell {n}", n, seconds=0.05) for n in range(12)]
    results = [[], []]
    calls = [
        threading.Thread(target=lambda mine=mine: mine.extend(complete(record, cells, num_workers=0)))
        for mine in results
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert sorted(names_begun(record)) == sorted(one.name for one in cells)
    assert [[one.double for one in mine] for mine in results] == [[2 * n for n in range(12)]] * 2


# ---- cells, in several processes, one of which is killed -------------------------------------------------------------


@pytest.fixture
def killed(record):
    """Kill one of two workers that are at long cells at the same time, another cell being finished.

    Return the cells, what was found, what was said, and the cell of the worker.
    """
    cells = [Toy("short"), *(Toy(f"long {n}", n, waits=True) for n in range(2))]
    said, victims = [], []
    record.say = said.append

    def kill():
        end = time.monotonic() + 60
        while not victims and time.monotonic() < end:
            done = list((record.out / "runs").glob("*.safetensors"))
            long = [one for one in begun(record) if one[0].startswith("long")]
            if done and len(long) == 2:
                os.kill(int(long[-1][1]), signal.SIGKILL)
                victims.append(long[-1][0])
            time.sleep(0.02)
        (record.out / GO).touch()

    watcher = threading.Thread(target=kill)
    watcher.start()
    found = complete(record, cells, num_workers=2)
    watcher.join()
    return cells, found, said, victims[0]


def test_a_killed_workers_cell_alone_is_done_again_beside_the_others(killed, record):
    cells, found, said, victim = killed
    assert [one.cell for one in found] == cells
    assert sorted(names_begun(record)) == sorted([*(one.name for one in cells), victim])
    assert f"  {victim}: its worker was ended by signal 9; it is queued anew" in said
    assert {path.suffix for path in (record.out / "runs").iterdir()} == {".safetensors"}
    assert {one.threads for one in found} == {1}
    quick = [replace(one, waits=False) for one in cells]
    alone = complete(Record("sweep", "", "", record.out / "alone"), quick, num_workers=0)
    assert [one.double for one in alone] == [one.double for one in found]


def test_a_cell_that_ends_its_worker_again_and_again_stops_the_study(record, monkeypatch):
    monkeypatch.setattr(kit_cells, "MOST_KILLS", 2)
    with pytest.raises(RunError, match="the run deadly failed: its worker was ended 2 times"):
        complete(record, [Toy("deadly", ends="killed")], num_workers=1)


def test_a_worker_that_fails_stops_the_study_with_its_reason(record):
    with pytest.raises(RunError, match="the run a failed: .*it diverged"):
        complete(record, [Toy("a", ends="failed")], num_workers=1)
