"""Runs that several processes share: the same as with one, whatever happens to one of them."""

import socket
from pathlib import Path

import polars as pl
import pytest

import pushforward as pf
import several_processes as tasks
from pushforward.errors import InputError
from several_processes import WAYS, Together, together


def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def same(one, other):
    return bool((one == other).all())


def equal(one, other):
    """Whether weights are those of the same run with sums in another order."""
    return bool(((one - other).abs() <= 1e-9 * (1 + other.abs())).all())


@pytest.fixture(scope="module")
def alone():
    return dict(zip(WAYS, tasks.train_in_ways(0, WAYS), strict=True))


@pytest.mark.parametrize("size", [2, 3])
def test_processes_that_share_a_run_do_what_one_does(size, alone):
    results = together(size, tasks.train_in_ways, list(WAYS))
    for place, (way, (weights, history)) in enumerate(alone.items()):
        for shared, told in (result[place] for result in results):
            assert equal(shared, weights), way
            assert same(shared, results[0][place][0]), way
            assert told.num_ranks == size
            assert (told.steps, told.best_step, told.stopped_because) == (
                history.steps, history.best_step, history.stopped_because
            ), way  # fmt: skip
            assert told.best_validation == pytest.approx(history.best_validation, abs=1e-9)
            assert told.rows[-1]["train_loss"] == pytest.approx(history.rows[-1]["train_loss"], abs=1e-9)
            assert told.steps_by == "plain torch"
    assert alone["patience"][1].stopped_because == "no improvement"
    assert str(size) + " processes" in repr(results[0][0][1])


def test_rows_that_are_read_piece_by_piece_are_shared_too(tmp_path):
    file = tmp_path / "rows.parquet"
    pl.DataFrame(tasks.X.numpy(), schema=["a", "b"]).write_parquet(file, row_group_size=50)
    weights, history = tasks.train_on_a_file(0, file)
    for shared, told in together(2, tasks.train_on_a_file, file):
        assert equal(shared, weights)
        assert told.best_validation == pytest.approx(history.best_validation, abs=1e-9)


def test_a_run_is_the_same_each_time_also_where_one_process_is_late():
    first = together(3, tasks.train, {})
    again = together(3, tasks.train, {}, tasks.late)
    assert all(same(weights, first[0][0]) for weights, _ in again)


def test_time_is_turned_into_the_same_steps_by_all():
    (weights, history), (others, told) = together(2, tasks.train, {"max_seconds": 1.0, "num_steps": None}, tasks.late)
    assert same(weights, others)
    assert history.plan == told.plan
    assert history.rows == told.rows
    assert history.seconds == told.seconds
    assert 0.5 < history.seconds < 2
    assert history.stopped_because == "time is up"
    repeated = together(2, tasks.train, {"num_steps": history.plan})
    assert all(same(other, weights) for other, _ in repeated)


def test_a_signal_to_one_process_saves_and_ends_all_and_any_number_of_them_goes_on(tmp_path):
    whole, _ = tasks.train(0, {"num_steps": 90})
    given = {"num_steps": 90, "out": tmp_path, "resume": True}
    ended = Together(2, tasks.train, given, tasks.interrupt_last).ended()
    for one in ended:
        assert str(one) == (
            f"stopped by Ctrl-C at step 57 of 90; saved in {tmp_path}: go on with resume=True (--resume)."
        )
    again = Together(3, tasks.train, given, tasks.interrupt_last_later).ended()
    assert {str(one).split(";")[0] for one in again} == {"stopped by Ctrl-C at step 70 of 90"}
    weights, history = tasks.train(5, given)
    assert equal(weights, whole)
    assert history.num_ranks == 1
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == len(history)


def test_a_signal_that_comes_after_the_sum_is_heard_with_the_next():
    for told in Together(3, tasks.train_and_interrupt_late).ended():
        assert str(told).startswith("stopped by Ctrl-C at step 31 of 40; nothing was saved")


def test_no_process_ends_before_the_first_has_saved(tmp_path):
    found, seen = together(2, tasks.train_until_saved, tmp_path)
    assert found == seen


def test_where_a_process_is_killed_the_others_end_and_the_run_goes_on_with_another_number(tmp_path):
    weights, said = tasks.train_until_done(tmp_path, kills=2)
    assert said
    assert all(one.startswith("another process of this run has ended") for left in said for one in left)
    whole, _ = tasks.train(0, {"num_steps": tasks.MANY_STEPS})
    assert equal(weights, whole)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "history.jsonl"}


def test_each_process_draws_noise_of_its_own_and_the_same_each_time(tmp_path):
    results = together(2, tasks.train_with_noise, tmp_path / "broken", tasks.interrupt_last)
    drawn = [result[0] for result in results]
    assert len({str(one) for draws in drawn for one in draws}) == len(drawn[0]) + len(drawn[1])
    assert same(results[0][1], results[1][1])
    unbroken = together(2, tasks.train_with_noise, tmp_path / "unbroken", None)
    assert [result[0] for result in unbroken] == drawn
    assert same(unbroken[0][1], results[0][1])


def test_what_cannot_be_shared_is_refused_by_all():
    for told in Together(2, tasks.train_on_a_share).ended():
        assert isinstance(told, InputError)
        assert str(told).startswith("process 1 of this run was given another data than process 0: give all of them")
    for told in Together(2, tasks.train_on_a_loader).ended():
        assert str(told).startswith("several processes cannot share the batches of a loader")
    file = Path(__file__)
    for told in Together(2, tasks.train, {"out": file}).ended():
        assert isinstance(told, InputError)
        assert str(told).startswith(f"{file}: cannot be written to")


def test_the_first_process_alone_watches_and_decides_for_all():
    (seen, steps), (others, told) = together(2, tasks.watch_training)
    assert (seen, others) == ([0, 25, 50], [])
    assert steps == told == 50


def test_a_table_fitted_by_several_leads_to_one_folder_and_one_model(tmp_path):
    table = pf.data.mixed_table(300, missing=0.1)[0].with_row_index("number")  # which is left out with a warning
    (scores, warned, history), (others, silent, _) = together(2, tasks.fit_table, table, tmp_path)
    assert (scores == others).all()
    assert history.num_ranks == 2
    assert (warned, silent) == (1, 0)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.safetensors", "history.jsonl", "model.safetensors", "questions"
    }  # fmt: skip
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == len(history)
    assert (pf.TableModel.load(tmp_path).log_prob(table) == scores).all()


def test_the_command_line_says_once_what_is_wrong(tmp_path):
    pl.DataFrame({"a": range(9), "b": ["x", "y", "z"] * 3}).write_csv(tmp_path / "small.csv")
    for arguments, said in (
        (["none.csv"], "none.csv: there is no such file (check the name and the folder)\n"),
        (["small.csv", "--seed", "-1"], "--seed must be at least 0; got -1\n"),
        (
            ["small.csv", "--out", "small.csv"],
            "small.csv: cannot be written to: File exists (name another folder with --out)\n",
        ),
    ):
        ended = Together(2, tasks.run_command, 2, port(), tmp_path, ["fit", *arguments], grouped=False).ended()
        assert [one[0] for one in ended] == [2, 2]
        assert "".join(one[2] for one in ended) == said
        assert not ended[1][1]
    assert [path.name for path in tmp_path.iterdir()] == ["small.csv"]


def test_torchrun_leads_to_one_folder(tmp_path):
    pl.DataFrame(tasks.X[:100].numpy(), schema=["a", "b"]).write_csv(tmp_path / "table.csv")
    arguments = ["fit", "table.csv", "--recipe", "flow", "--steps", "10", "--out", "results"]
    (ended,) = together(1, tasks.torchrun, 2, tmp_path, arguments)
    assert [ended[rank][0] for rank in (0, 1)] == [0, 0]
    assert ended[0][1].count("results go to results") == ended[0][1].count("next: pushforward sample") == 1
    assert ended[1][1:] == ("", "")
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "checkpoint.safetensors", "history.jsonl", "model.safetensors", "report.html", "samples.csv"
    }  # fmt: skip
