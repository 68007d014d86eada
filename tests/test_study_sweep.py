"""The sweep: its plan, and a journal that survives killed workers and is shared by several processes."""

import json
import os
import signal
import threading
import time

import pytest

from pushforward.errors import RunError
from pushforward.studies.kit.record import Record
from pushforward.studies.sweep import journal as sweep_journal
from pushforward.studies.sweep import study as sweep
from pushforward.studies.sweep.cells import FIRST, LEVELS, MOST, SETTINGS, Cell, planned, random_settings
from pushforward.studies.sweep.journal import finished, open_journal, plan, run_cells

TINY = {"points": 128, "epochs": 1, "learning_rate": 1e-3, "width": 4, "blocks": 1}


def cell(name, seed=0, **settings):
    return Cell(name, "effect", seed, {**TINY, **settings}, "points", test_points=200, compared=50)


def names(study, state):
    return [trial.user_attrs.get("name") for trial in study.get_trials() if trial.state.name == state]


def silent(line):
    pass


# ---- the plan --------------------------------------------------------------------------------------------------------


def test_the_first_cell_is_the_sources_start():
    first = planned([0, 1, 2], num_random=1, num_guided=1)[0]
    assert (first.settings, first.recipe) == (FIRST, "RealNVP")
    assert [FIRST[name] for name in ("points", "epochs", "learning_rate", "blocks")] == [1_000, 10, 1e-3, 2]


def test_every_effect_differs_from_the_centre_in_its_own_setting_alone():
    cells = planned([0], num_random=0, num_guided=0)
    centre = next(cell for cell in cells if cell.kind == "centre").settings
    for one in cells:
        if one.kind == "effect":
            assert [name for name in SETTINGS if one.settings[name] != centre[name]] == [one.setting]
    assert {one.setting for one in cells if one.kind == "effect"} == set(LEVELS)


def test_no_two_cells_share_a_name():
    cells = planned([0, 1, 2], num_random=9, num_guided=9)
    assert len({one.name for one in cells}) == len(cells)


def test_random_settings_depend_on_the_seed_alone_and_keep_to_their_ranges():
    assert random_settings(3) == random_settings(3) != random_settings(4)
    for seed in range(50):
        for name, value in random_settings(seed).items():
            assert SETTINGS[name][0] <= value <= MOST[name]


# ---- the journal, in one process -------------------------------------------------------------------------------------


def test_what_is_finished_is_not_repeated(tmp_path):
    journal, cells = tmp_path / "journal", [cell("a"), cell("b")]
    run_cells(journal, cells[:1], 0, silent)
    before = finished(open_journal(journal))[0]
    run_cells(journal, cells, 0, silent)
    after = finished(open_journal(journal))
    assert [trial.user_attrs["name"] for trial in after] == ["a", "b"]
    assert after[0].datetime_complete == before.datetime_complete


def test_the_run_of_a_worker_that_is_gone_is_queued_anew(tmp_path):
    journal, cells = tmp_path / "journal", [cell("a")]
    study = open_journal(journal)
    plan(study, journal, cells)
    study.ask().set_user_attr("worker", "nobody")
    run_cells(journal, cells, 0, silent)
    assert (names(study, "FAIL"), names(study, "COMPLETE")) == (["a"], ["a"])


def test_the_run_of_a_worker_that_lives_is_left_to_it(tmp_path):
    journal, cells = tmp_path / "journal", [cell("a")]
    study = open_journal(journal)
    plan(study, journal, cells)
    study.ask().set_user_attr("worker", "somebody")
    with sweep_journal._beating(sweep_journal._beat_file(journal, "somebody")):
        assert plan(study, journal, cells) == 1
    assert names(study, "RUNNING") == ["a"]


def test_a_line_torn_by_a_kill_costs_nothing_else(tmp_path):
    journal = tmp_path / "journal"
    run_cells(journal, [cell("a")], 0, silent)
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"torn')
    run_cells(journal, [cell("a"), cell("b")], 0, silent)
    assert names(open_journal(journal), "COMPLETE") == ["a", "b"]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_training_that_fails_with_a_reason_is_not_repeated(tmp_path, monkeypatch):
    def fail(settings, **options):
        raise RunError("it diverged")

    monkeypatch.setattr(sweep_journal, "measure", fail)
    run_cells(tmp_path / "journal", [cell("a")], 0, silent)
    (trial,) = open_journal(tmp_path / "journal").get_trials()
    assert (trial.state.name, trial.user_attrs["failure"]) == ("FAIL", "it diverged")


def test_a_cell_that_ends_its_worker_again_and_again_stops_the_sweep(tmp_path):
    journal, cells = tmp_path / "journal", [cell("deadly")]
    study = open_journal(journal)
    for _ in range(3):
        plan(study, journal, cells)
        study.ask().set_user_attr("worker", "nobody")
    with pytest.raises(RunError, match="the cell 'deadly' ended its worker 3 times"):
        plan(study, journal, cells)


# ---- the journal, shared by two processes, one of which is killed ----------------------------------------------------


def kill_a_worker(journal, killed):
    """Kill the first worker that is at a run once another run is finished; note the runs finished by then."""
    study = open_journal(journal)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = finished(study)
        for trial in study.get_trials(deepcopy=False):
            path = sweep_journal._beat_file(journal, trial.user_attrs.get("worker", "nobody"))
            if done and trial.state.name == "RUNNING" and "long" in trial.user_attrs["name"] and path.exists():
                os.kill(int(path.read_text()), signal.SIGKILL)
                killed.append((trial.user_attrs["name"], {one.number: one.datetime_complete for one in done}))
                return
        time.sleep(0.01)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    journal = tmp_path_factory.mktemp("shared") / "journal"
    cells = [cell(f"short {n}") for n in range(2)] + [cell(f"long {n}", points=1_000, epochs=20) for n in range(3)]
    said, killed = [], []
    watcher = threading.Thread(target=kill_a_worker, args=(journal, killed))
    watcher.start()
    run_cells(journal, cells, 2, said.append)
    watcher.join()
    return journal, cells, said, killed


def test_the_sweep_goes_on_when_a_worker_is_killed(shared):
    _, _, said, killed = shared
    assert len(killed) == 1
    assert "  a worker was ended by signal 9; its run is queued anew" in said


def test_every_cell_ends_once_though_two_processes_share_the_journal_and_one_is_killed(shared):
    journal, cells, _, _ = shared
    assert sorted(names(open_journal(journal), "COMPLETE")) == sorted(one.name for one in cells)


def test_the_killed_run_alone_is_repeated(shared):
    journal, _, _, ((name, _),) = shared
    study = open_journal(journal)
    assert names(study, "FAIL") == [name]
    assert [trial.user_attrs["attempt"] for trial in finished(study) if trial.user_attrs["name"] == name] == [2]


def test_runs_finished_before_the_kill_are_kept_as_they_were(shared):
    journal, _, _, ((_, before),) = shared
    after = {trial.number: trial.datetime_complete for trial in finished(open_journal(journal))}
    assert before
    assert before.items() <= after.items()


def test_two_processes_work_at_the_same_time(shared):
    trials = open_journal(shared[0]).get_trials()
    assert any(
        one.user_attrs["worker"] != other.user_attrs["worker"]
        and one.datetime_start < other.datetime_start < one.datetime_complete
        for one in trials
        for other in trials
    )


def test_no_process_leaves_a_file_behind(shared):
    journal = shared[0]
    assert [path.name for path in journal.parent.iterdir()] == ["journal"]


# ---- the study -------------------------------------------------------------------------------------------------------


def test_the_short_form_answers_the_sources_questions(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "run_cells", lambda journal, cells, _, say: run_cells(journal, cells, 0, say))
    record = Record("sweep", sweep.TITLE, sweep.SOURCE, tmp_path, quick=True)
    sweep.run(record)
    assert {block.title for block in record.blocks if block.kind == "question"} >= {
        "What is the effect of the hyperparameters on the quality?",
        "Do visually better results have a smaller MMD?",
        "Is the code distribution standard normal?",
    }
    assert {block.title for block in record.blocks if block.kind == "picture"} == {
        "effects",
        "importances",
        "mmd-against-excess",
        "samples",
        "codes",
    }
