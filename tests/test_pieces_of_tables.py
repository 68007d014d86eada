"""Tables in pieces are read as they are whole: marks of numbers, types, rows and their places, what is no data."""

import functools
import threading

import numpy as np
import polars as pl
import pyarrow.parquet as parquet
import pytest

import pushforward as pf
from pushforward.errors import InputError
from pushforward.tables.for_fitting import for_fitting
from pushforward.tables.in_pieces import pieces, row_stream, sample, text_blocks
from pushforward.tables.in_pieces.pieces import Pieces
from pushforward.tables.row_networks import encoded_stream, new_answers

N = 1200


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let pieces, sample and buffers be small."""
    for module in (pieces, sample):
        monkeypatch.setattr(module, "ROWS", 50)
    monkeypatch.setattr(row_stream, "BUFFER_ROWS", 200)
    monkeypatch.setattr(text_blocks, "BLOCK", 4000)
    for name, number in (("SAMPLE_CELLS", 300), ("FEWEST_ROWS", 150), ("MOST_ROWS", 150)):
        monkeypatch.setattr(sample, name, number)


def learned(rows):
    """Return x and context of all rows of a pass."""
    buffers = list(rows.buffers(0, 0, 0))
    x = np.concatenate([one.x for one in buffers])
    context = None if buffers[0].context is None else np.concatenate([one.context for one in buffers])
    return x, context, {what: told for one in buffers for what, told in one.left_out.items()}


def rows_of(file, names, context=()):
    """Return all rows of a table that is read as what it is."""
    table = for_fitting(file, context=context, stream=True)
    learnable = functools.partial(row_stream.numbers_to_learn, names, context)
    return row_stream.RowStream(table, np.arange(5), np.empty(0, dtype=int), learnable)


def values(seed=0):
    return np.random.default_rng(seed).normal(size=N) * 1000 + 5000


def test_numbers_are_read_with_the_marks_that_the_sample_shows(tmp_path):
    x = values()
    lines = [f"{round(one)};a" if k < 100 else f"{one:.1f}".replace(".", ",") + ";b" for k, one in enumerate(x)]
    (tmp_path / "rows.csv").write_text("\n".join(["x;y", *lines]) + "\n")
    rows = pf.scale.stream_rows(tmp_path / "rows.csv", columns=["x"])
    found, _, left_out = learned(rows)
    assert len(rows._pieces) > 2
    assert left_out == {}
    expected = np.sort([*np.round(x[:100]), *np.round(x[100:], 1)])
    both = np.sort(np.concatenate([found[:, 0], rows.validation[0][:, 0]]))
    np.testing.assert_allclose(both, expected)


def test_numbers_with_marks_between_thousands_are_not_a_thousandth(tmp_path):
    x = np.round(values())
    for part in range(4):
        some = x[300 * part : 300 * part + 300]
        text = [f"{one:,.0f}".replace(",", ".") + (",5" if part == 0 and k < 40 else "") for k, one in enumerate(some)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["x;y", *(f"{one};{k}.5" for k, one in enumerate(text))]))
    rows = pf.scale.stream_rows(str(tmp_path / "*.csv"), columns=["x"])
    assert learned(rows)[0].min() > 1000


def test_a_sample_that_does_not_show_what_the_table_is_ends_the_run(tmp_path):
    late = pl.int_range(N) % 120 > 30
    frame = pl.DataFrame({"a": values(), "b": values(1), "c": values(2).round(1)})
    frame = frame.with_columns(c=pl.when(late).then(pl.lit("a word")).otherwise(pl.col("c").cast(pl.String)))
    parquet.write_table(frame.to_arrow(), tmp_path / "rows.parquet", row_group_size=120)
    with pytest.raises(InputError, match=r'are not like the sample: in \d+ column "c" is no number'):
        learned(rows_of(tmp_path / "rows.parquet", ["a", "b"]))


def test_types_that_differ_by_file_are_one_type_as_in_memory(tmp_path):
    a, b = np.arange(600) % 37, values()[:600]
    frames = [pl.DataFrame({"a": a, "b": b}), pl.DataFrame({"a": a + 0.25, "b": b.astype(np.float32)})]
    frames.append(pl.DataFrame({"a": a.astype(np.int16), "b": b.astype(int)}))
    for part, frame in enumerate(frames):
        frame.write_parquet(tmp_path / f"{part}.parquet")
    rows = pf.scale.stream_rows(tmp_path)
    found = np.concatenate([learned(rows)[0], rows.validation[0]])
    whole = np.concatenate([frame.cast(pl.Float64).to_numpy() for frame in frames])
    np.testing.assert_array_equal(np.sort(found, 0), np.sort(whole, 0))


def test_reads_of_dictionaries_are_as_long_as_others_though_they_end_at_row_groups(tmp_path):
    frame = pl.DataFrame({"k": np.random.default_rng(0).choice(["x", "y"], N), "v": values()})
    table = frame.with_columns(pl.col("k").cast(pl.Categorical)).to_arrow()
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=33)
    lengths = [[cells.frame.height for cells in piece.read()] for piece in Pieces(tmp_path / "rows.parquet")]
    assert all(set(some[:-1]) <= {50} for some in lengths)
    assert sum(map(sum, lengths)) == N
    assert for_fitting(tmp_path / "rows.parquet", stream=True).sample.numbers.max() < N


def test_a_category_of_the_context_that_the_sample_never_had_is_left_out(tmp_path):
    zone = pl.when(pl.int_range(N) == 1139).then(7).otherwise(1 + pl.int_range(N) % 2)
    frame = pl.DataFrame({"a": values(), "b": values(1)}).with_columns(zone=zone)
    parquet.write_table(frame.to_arrow(), tmp_path / "rows.parquet", row_group_size=120)
    table = for_fitting(tmp_path / "rows.parquet", context="zone", stream=True)
    rows = row_stream.RowStream(
        table,
        np.arange(5),
        np.empty(0, dtype=int),
        lambda some: row_stream.numbers_to_learn(["a", "b"], ["zone"], some),
    )
    _, context, left_out = learned(rows)
    assert set(context[:, 0]) == {1, 2}
    assert left_out == {'column "zone" is a category that the sample never had': [1, "7 in row 1,140"]}


def test_a_number_beyond_float32_is_left_out_where_the_sample_has_none(tmp_path):
    a = pl.when(pl.int_range(N) == 1139).then(1e39).otherwise(pl.Series(values()))
    parquet.write_table(pl.DataFrame({"b": values()}).with_columns(a=a).to_arrow(), tmp_path / "a.parquet")
    x, _, left_out = learned(pf.scale.stream_rows(tmp_path / "a.parquet"))
    assert np.abs(x).max() < 1e5
    assert left_out == {'column "a" is beyond 3.4e38, as in no row of the sample': [1, "1e+39 in row 1,140"]}


def test_a_time_of_day_among_dates_is_left_out(tmp_path):
    day = pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2030, 1, 1), "1d", eager=True)[:N]
    frame = pl.DataFrame({"day": day, "a": values()}).with_columns(
        day=pl.when(pl.int_range(N) == 1139).then(pl.col("day").dt.offset_by("3h")).otherwise("day")
    )
    parquet.write_table(frame.to_arrow(), tmp_path / "rows.parquet", row_group_size=120)
    table = for_fitting(tmp_path / "rows.parquet", stream=True)
    options = pf.tables.fit_options.FitOptions(1.0, None, 0, 0.1, None, False, "cpu", False, print)
    positions = (np.arange(100), np.arange(100, 110), np.arange(110, 120))
    answers = new_answers(table, positions[0], options)
    x, _, left_out = learned(encoded_stream(table, positions, answers.encoder))
    assert len(x) == N - 21
    assert list(left_out) == ['column "day" is no date']


def test_a_column_that_counts_the_rows_of_the_table_is_left_out(tmp_path):
    frame = pl.DataFrame({"a": values(), "count": np.arange(N), "b": values(1)})
    parquet.write_table(frame.to_arrow(), tmp_path / "rows.parquet", row_group_size=120)
    frame.write_csv(tmp_path / "rows.csv")
    for name in ("rows.csv", "rows.parquet"):
        table = for_fitting(tmp_path / name, stream=True)
        assert [one.name for one in table.columns] == ["a", "b"]
        assert "counts the rows" in table.left_out[0].why
    assert len(for_fitting(tmp_path / "rows.parquet", columns=["a", "count"], stream=True).columns) == 2
    with pytest.raises(InputError, match="--strict leaves nothing out"):
        for_fitting(tmp_path / "rows.parquet", stream=True, strict=True)


def test_small_files_make_buffers_and_samples_of_many(tmp_path):
    for part in range(100):
        pl.DataFrame({"a": values()[:12], "b": values(part)[:12]}).write_parquet(tmp_path / f"{part:03}.parquet")
    rows = pf.scale.stream_rows(tmp_path)
    assert rows._sample.cells.frame.height == 144
    assert min(len(one.x) for one in list(rows.buffers(0, 0, 0))[:-1]) > 150


def test_rows_of_a_text_are_counted_outside_its_quotes(tmp_path):
    x = values()
    lines = [f'{one!r},"a\n{k}"' if k % 3 == 0 else f"{one!r},b" for k, one in enumerate(x)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,note", *lines]))
    found = Pieces(tmp_path / "rows.csv")
    assert sum(piece.rows for piece in found) == N
    for piece in found:
        cells = next(piece.read())
        assert cells.frame.height == piece.rows
        before = sum(one.rows for one in list(found)[: piece.number])
        assert piece.number == 0 or cells.place(1) == f"row {before + 1:,}"
    (tmp_path / "plain.csv").write_text("\n".join(["x,note", *(f"{one!r},b" for one in x)]))
    last = list(Pieces(tmp_path / "plain.csv"))[-1]
    assert next(last.read()).place(last.rows) == f"line {N + 1:,}"


def test_a_run_does_not_go_on_with_other_columns_as_context(tmp_path):
    frame = pl.DataFrame({"a": values(), "b": values(1), "c": values(2)})
    frame.write_parquet(tmp_path / "rows.parquet")
    flow, options = pf.recipes.nsf(2, context_features=1), {"num_steps": 3, "progress": False, "out": tmp_path / "out"}
    pf.fit(flow, pf.scale.stream_rows(tmp_path / "rows.parquet", context="a"), **options)
    with pytest.raises(InputError, match="belongs to another run"):
        pf.fit(flow, pf.scale.stream_rows(tmp_path / "rows.parquet", context="b"), resume=True, **options)


def test_scales_are_those_of_the_sample_whichever_pieces_come_first(tmp_path):
    frame = pl.DataFrame({"a": np.sort(values()), "b": values(1)})
    parquet.write_table(frame.to_arrow(), tmp_path / "rows.parquet", row_group_size=60)
    medians = []
    for seed in (0, 1):
        flow = pf.recipes.realnvp(2, num_layers=2, preprocessing=[pf.transforms.Asinh(2)])
        rows = pf.scale.stream_rows(tmp_path / "rows.parquet")
        pf.fit(flow, rows, num_steps=1, seed=seed, progress=False)
        medians.append(flow.preprocessing[0].median[0].item())
    assert medians[0] == medians[1]
    assert abs(medians[0] - np.median(frame["a"])) < 400


def test_nothing_of_a_stream_outlives_its_run(tmp_path):
    pl.DataFrame({"a": values(), "b": values(1)}).write_parquet(tmp_path / "rows.parquet")
    rows = pf.scale.stream_rows(tmp_path / "rows.parquet")
    before = {one.name for one in threading.enumerate()}
    pf.fit(pf.recipes.nsf(2), rows, num_steps=3, progress=False)
    left = [one for one in threading.enumerate() if one.name not in before]
    for one in left:
        one.join(10)
    assert not any(one.is_alive() for one in left)


def test_columns_that_are_not_needed_are_not_read(tmp_path, monkeypatch):
    frame = pl.DataFrame({"a": values(), "b": values(1), "note": ["a word"] * N})
    frame.write_parquet(tmp_path / "rows.parquet")
    rows, seen, read = pf.scale.stream_rows(tmp_path / "rows.parquet", columns=["b", "a"]), [], pieces.cells_of_arrow

    def reads(table, source):
        seen.append(sorted(table.column_names))
        return read(table, source=source)

    monkeypatch.setattr(pieces, "cells_of_arrow", reads)
    x, _, _ = learned(rows)
    assert all(names == ["a", "b"] for names in seen)
    assert set(x[:, 0]) <= set(values())
