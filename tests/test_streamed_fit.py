"""Tables longer than memory, fitted piece by piece: every row once in a pass, the weights of a run in memory."""

import itertools
import os

import numpy as np
import polars as pl
import pyarrow.parquet as parquet
import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError, RunError
from pushforward.tables.for_fitting import for_fitting
from pushforward.tables.in_pieces import pieces, row_stream, sample
from pushforward.training import native_steps, run_folder
from pushforward.training.data import stream as streams
from pushforward.training.run import Run


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let pieces, sample and buffers be small."""
    for module in (pieces, sample):
        monkeypatch.setattr(module, "ROWS", 50)
    monkeypatch.setattr(row_stream, "BUFFER_ROWS", 200)
    for name, number in (("SAMPLE_CELLS", 600), ("FEWEST_ROWS", 200), ("MOST_ROWS", 200)):
        monkeypatch.setattr(sample, name, number)


def numbered(n, seed=0):
    """Return rows whose first column says which they are."""
    noise = np.random.default_rng(seed).normal(size=(n, 2))
    return pl.DataFrame({"row": np.arange(n) + 0.5, "a": noise[:, 0], "b": noise[:, 0] + noise[:, 1]})


def mixed(n, seed=0):
    random = np.random.default_rng(seed)
    size = random.normal(50, 9, n).round(2)
    return pl.DataFrame({
        "size": size, "kind": random.choice(["van", "car", "bus"], n),
        "price": (20 * size + random.normal(0, 40, n)).round(1),
    })  # fmt: skip


def written(folder, frame, group=120):
    """Return a Parquet file of row groups that make pieces of 120 rows, in three reads each."""
    file = folder / "rows.parquet"
    parquet.write_table(frame.to_arrow(), file, row_group_size=group)
    return file


@pytest.fixture
def file(tmp_path):
    return written(tmp_path, numbered(2000))


def rows_in(batches, number):
    return [np.floor(batches.next().x[:, 0].numpy()) for _ in range(number)]


def batches_of(rows, size=30, seed=0):
    form = pf.training.data.form.Form(torch.float64, torch.device("cpu"), True, False, None)
    return streams.StreamBatches(rows, size, form, torch.Generator().manual_seed(seed))


def test_a_pass_has_every_row_but_those_held_out_once_and_the_next_one_has_another_order(file):
    rows = pf.scale.stream_rows(file)
    held = set(np.floor(rows.validation[0][:, 0]))
    passes = [np.concatenate([np.floor(one.x[:, 0]) for one in rows.buffers(3, number, 0)]) for number in (0, 1, 0)]
    for each in passes:
        assert sorted(each) == sorted(set(range(2000)) - held)
    assert len(held) == 20
    assert rows.num_rows == 1980
    assert not np.array_equal(passes[0], passes[1])
    assert np.array_equal(passes[0], passes[2])


def test_a_buffer_has_rows_of_several_pieces_and_batches_mix_them(file):
    rows = pf.scale.stream_rows(file)
    first = np.floor(next(rows.buffers(0, 0, 0)).x[:, 0]) // 120
    assert len(set(first)) >= 4
    assert min(len(set(batch // 120)) for batch in rows_in(batches_of(rows), 5)) >= 3


def test_rows_left_over_at_the_end_of_a_buffer_come_first_in_the_next(file):
    rows = pf.scale.stream_rows(file)
    batches = batches_of(rows, size=37)
    seen = np.concatenate(rows_in(batches, 53))  # 1,961 of 1,980
    assert len(set(seen)) == len(seen)
    assert set(np.floor(rows.validation[0][:, 0])) & set(seen) == set()
    seen = np.concatenate([seen, *rows_in(batches, 107 - 53)])  # 3,959 of twice 1,980
    assert set(np.unique(seen, return_counts=True)[1]) <= {1, 2}
    assert batches.steps_per_epoch == 53


def test_a_batch_may_be_larger_than_a_buffer(file):
    batches = batches_of(pf.scale.stream_rows(file), size=900)
    assert len(set(np.concatenate(rows_in(batches, 2)))) == 1800


def test_what_comes_after_a_position_is_what_came_there_before(file):
    rows = pf.scale.stream_rows(file)
    batches = batches_of(rows)
    for place in (0, 7, 70, 139):
        fresh = batches_of(rows)
        rows_in(fresh, place)
        position = fresh.position()
        expected = rows_in(fresh, 80)
        other = batches_of(rows)
        other.seek(position)
        assert all(map(np.array_equal, rows_in(other, 80), expected))
    assert not np.array_equal(rows_in(batches, 1)[0], rows_in(batches_of(rows, seed=1), 1)[0])


def a_flow(rows):
    torch.manual_seed(0)
    flow = pf.recipes.realnvp(3, num_layers=2, preprocessing=[pf.transforms.Asinh(3)])
    flow.preprocessing[0].initialize(torch.from_numpy(rows.validation[0]))
    return flow.double()


def weights(flow):
    return torch.cat([value.flatten() for value in flow.parameters()])


@pytest.mark.parametrize("kernels", [False, True])
def test_weights_are_those_of_a_run_in_memory_on_the_same_order_of_rows(file, monkeypatch, kernels):
    monkeypatch.setattr(native_steps, "kernels_are_on", lambda: kernels)
    rows, steps = pf.scale.stream_rows(file), 150
    flow, other = a_flow(rows), a_flow(rows)
    options = {"num_steps": steps, "validation": None, "batch_size": 30, "progress": False}
    history = pf.fit(flow, rows, **options)
    # What `fit` draws from its generator first is the seed of the stream.
    batches = batches_of(rows)
    in_memory = [batches.next().x for _ in range(steps)]
    pf.fit(other, in_memory, **{**options, "batch_size": None})
    assert (history.steps_by == "C") == kernels
    if not kernels:
        assert torch.equal(weights(flow), weights(other))
    assert torch.allclose(weights(flow), weights(other), atol=1e-9)


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("table", [numbered, mixed])
def test_a_run_that_ends_anywhere_goes_on_to_the_same_weights(tmp_path, monkeypatch, table):
    file, quiet = written(tmp_path, table(2000)), {"num_steps": 30, "progress": False, "notify": lambda line: None}
    whole = pf.TableModel.fit(file, stream=True, **quiet)
    monkeypatch.setattr(run_folder, "SAVE_SECONDS", 0.1)
    monkeypatch.setattr(run_folder, "SAVE_SHARE", 1e9)
    once, advance = [], Run._advance

    def ends(run):
        advance(run)
        if run.step >= 21 and not once:
            once.append(run.step)
            raise Stopped

    monkeypatch.setattr(Run, "_advance", ends)
    with pytest.raises(Stopped):
        pf.TableModel.fit(file, stream=True, out=tmp_path / "out", **quiet)
    model = pf.TableModel.fit(file, stream=True, out=tmp_path / "out", resume=True, **quiet)
    for one, other in zip(whole.law.module.parameters(), model.law.module.parameters(), strict=True):
        assert torch.equal(one, other)
    assert model.fitted.history.steps == 30


def said_of(file, **options):
    """Return what is said of a fit."""
    said = []
    model = pf.TableModel.fit(file, stream=True, num_steps=70, progress=False, notify=said.append, **options)
    assert [line for line in said if "left out of the training" in line] == [
        line for line in model.summary["warnings"] if "left out of the training" in line
    ]
    return [line for line in said if "left out of the training" in line]


def test_a_row_without_a_cell_where_the_sample_had_all_is_left_out_counted_and_named(tmp_path):
    frame = numbered(2000).with_columns(
        a=pl.when(pl.int_range(2000).is_in([1130, 1131, 1999])).then(None).otherwise("a"),
        b=pl.when(pl.int_range(2000) == 1132).then(np.inf).otherwise("b"),
    )
    assert said_of(written(tmp_path, frame), recipe="realnvp") == [
        '3 of the 1,960 rows read were left out of the training: column "a" is missing, as in no row of the sample'
        " (such as row 2,000)",
        '1 of the 1,960 rows read were left out of the training: column "b" is no number (such as inf in row 1,133)',
    ]


def test_a_word_among_numbers_and_a_new_category_are_left_out_and_counted(tmp_path):
    frame = mixed(2000).with_columns(
        kind=pl.when(pl.int_range(2000).is_in([1130, 1141])).then(pl.lit("boat")).otherwise("kind"),
        size=pl.when(pl.int_range(2000) == 1135).then(pl.lit("tall")).otherwise(pl.col("size").cast(pl.String)),
    )
    assert said_of(written(tmp_path, frame)) == [
        '1 of the 1,960 rows read were left out of the training: column "size" is no number (such as "tall" in row'
        " 1,136)",
        '2 of the 1,960 rows read were left out of the training: column "kind" is a category that the sample never had'
        ' (such as "boat" in row 1,131)',
    ]


@pytest.mark.parametrize("recipe", ["auto", "realnvp"])
def test_strict_ends_the_run_at_such_a_row(tmp_path, recipe):
    a = pl.when(pl.int_range(2000) == 1130).then(None).otherwise("a")
    with pytest.raises(InputError, match='column "a" is missing, .* such as row 1,131 .--strict'):
        said_of(written(tmp_path, numbered(2000).with_columns(a=a)), strict=True, recipe=recipe)


def test_a_damaged_row_group_ends_the_run_with_one_line_and_leaves_the_checkpoint(tmp_path):
    file = written(tmp_path, numbered(2000))
    rows = pf.scale.stream_rows(file)
    last = rows._plan(batches_of(rows)._seed, 0)[-1][-1][0]
    where = parquet.ParquetFile(file).metadata.row_group(last).column(1)
    data = bytearray(file.read_bytes())
    data[where.data_page_offset : where.data_page_offset + where.total_compressed_size] = bytes(
        where.total_compressed_size
    )
    file.write_bytes(data)
    with pytest.raises(InputError, match=f"row group {last + 1}"):
        pf.TableModel.fit(
            file, stream=True, num_steps=300, recipe="realnvp", out=tmp_path / "out", progress=False,
            notify=lambda line: None,
        )  # fmt: skip
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_file_that_changes_meanwhile_ends_the_run(file):
    rows = pf.scale.stream_rows(file)
    coming = rows.buffers(0, 0, 0)
    next(coming)
    os.utime(file, ns=(1, 1))
    with pytest.raises(RunError, match="has changed while it was read"):
        next(coming)


def test_a_folder_and_a_text_are_read_piece_by_piece_too(tmp_path, monkeypatch):
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(4):
        numbered(2000)[500 * part : 500 * part + 500].write_parquet(folder / f"{part}.parquet")
    text = tmp_path / "rows.csv"
    numbered(2000).write_csv(text)
    monkeypatch.setattr(pf.tables.in_pieces.text_blocks, "BLOCK", 9000)
    for data in (folder, text):
        rows = pf.scale.stream_rows(data)
        held = len(rows.validation[0])
        found = np.concatenate([np.floor(one.x[:, 0]) for one in rows.buffers(0, 0, 0)])
        assert len(set(found)) == len(found) == 2000 - held == rows.num_rows
    assert len(for_fitting(text, stream=True).sample.pieces) > 4


def test_rows_of_the_sample_are_known_by_their_numbers_in_the_table(file):
    table = for_fitting(file, stream=True)
    assert np.array_equal(table.columns[0].values.to_numpy() - 0.5, table.sample.numbers)
    assert table.sample.reads == tuple(itertools.product((0, 2, 5, 7, 9, 11, 14, 16), (0,)))
    assert table.num_rows_in_all == 2000


def test_large_files_are_read_piece_by_piece_unless_told_otherwise(file, monkeypatch):
    assert for_fitting(file).sample is None
    monkeypatch.setattr(sample, "LEAST_BYTES", 0)
    monkeypatch.setattr(sample, "MOST_CELLS", 5999)
    assert for_fitting(file).sample is not None
    assert for_fitting(file, stream=False).sample is None
    monkeypatch.setattr(sample, "MOST_CELLS", 6000)
    assert for_fitting(file).sample is None


def test_only_files_are_read_piece_by_piece():
    with pytest.raises(InputError, match="stream=True reads files; got DataFrame"):
        for_fitting(numbered(200), stream=True)


def test_a_pass_without_a_batch_is_refused(file, monkeypatch):
    rows = pf.scale.stream_rows(file)
    batches = batches_of(rows)
    monkeypatch.setattr(rows, "buffers", lambda seed, number, first: iter([]))
    with pytest.raises(RunError, match="a whole pass has no row to train on"):
        rows_in(batches, 200)


def test_the_command_says_how_the_table_is_read_and_what_it_was_fitted_to(tmp_path, capsys):
    file = written(tmp_path, numbered(2000))
    from pushforward.cli.app import app

    command = ["fit", str(file), "--stream", "--recipe", "realnvp", "--steps", "20", "--out", str(tmp_path / "out")]
    app(command, result_action="return_value")
    told = capsys.readouterr()
    assert "2,000 rows, 3 columns" in told.out
    assert "a sample of 200 rows, from 8 places of 2,000; all others train" in told.err
    summary = pf.TableModel.load(tmp_path / "out").summary
    assert summary["rows"] == {"train": 1960, "test": 20}
    assert "--stream" in summary["command"]
    assert "20 rows of the sample" in (tmp_path / "out" / "report.html").read_text()
