"""Tables longer than memory, answered piece by piece: the same rows whoever reads them, nothing lost in a kill."""

import os
import pickle
import re
import shutil
import sys
from ast import literal_eval
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import pushforward as pf
from long_tables import command, fit, read_back, rows, write_parquet
from pushforward.errors import InputError, RunError
from pushforward.scale import Scorer
from pushforward.scale.making import Done, shard_of
from pushforward.scale.over_pieces import Answered, over_pieces
from pushforward.tables.from_anything import read_cells
from pushforward.tables.in_pieces import pieces, text_blocks
from pushforward.tables.in_pieces.pieces import Pieces
from pushforward.tables.sample_blocks import seed_at


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the file of a model."""
    return fit(tmp_path_factory.mktemp("model"))


@pytest.fixture
def small(monkeypatch):
    """Let pieces be small."""
    monkeypatch.setattr(pieces, "ROWS", 50)
    monkeypatch.setattr(text_blocks, "BLOCK", 1500)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow"])
def test_pieces_together_are_the_table(tmp_path, small, suffix):
    file = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        write_parquet(file, rows(333))
    elif suffix == ".csv":
        rows(333).write_csv(file)
    else:
        with pa.ipc.new_file(file, rows(1).to_arrow().schema) as writer:
            for batch in rows(333).to_arrow().to_batches(40):
                writer.write_batch(batch)
    cut = Pieces(file)
    assert len(cut) > 3
    found = pl.concat([cells.frame for piece in cut for cells in piece.read()])
    assert found.equals(read_cells(file).frame)
    assert sum(piece.weight for piece in cut) == (file.stat().st_size if suffix == ".csv" else 333)


def test_text_is_cut_at_ends_of_lines_outside_quotes(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK", 64)
    file = tmp_path / "notes.csv"
    lines = [f'{k};"a;b\nsecond ""line"" {k}";{k},5\r\n' for k in range(60)]
    file.write_bytes(("id;note;value\r\n" + "".join(lines)).encode())
    cut = Pieces(file)
    parts = [cells for piece in cut for cells in piece.read()]
    assert len(parts) > 10
    assert pl.concat([part.frame for part in parts]).equals(read_cells(file).frame)
    assert {part.style.decimal_comma for part in parts} == {True}
    assert parts[3].place(1) == f"row {sum(part.frame.height for part in parts[:3]) + 1}"


def test_text_that_is_not_plain_is_read_whole(tmp_path, small):
    for head in ("# made by hand\n", "sep=;\n"):
        file = tmp_path / "rows.csv"
        file.write_text(head + "a;b\n" + "1;2\n" * 2000)
        assert len(Pieces(file)) == 1


def test_a_bad_line_far_down_is_named(tmp_path, small):
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n" + "1,2\n" * 2000 + "1,2,3\n")
    with pytest.raises(InputError, match=r"line 2002 has 3 cells"):
        [cells for piece in Pieces(file) for cells in piece.read()]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".jsonl"])
def test_scores_do_not_depend_on_how_a_table_is_cut(tmp_path, small, fitted, suffix, monkeypatch):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    out = tmp_path / f"scores{suffix}"
    command("score", fitted, tmp_path / "rows.parquet", "--out", out)
    monkeypatch.undo()
    whole = tmp_path / f"whole{suffix}"
    rows(333).write_parquet(tmp_path / "one.parquet")
    command("score", fitted, tmp_path / "one.parquet", "--out", whole)
    found, expected = (read_cells(file).frame for file in (out, whole))
    assert found.columns == expected.columns == ["size", "kind", "price", "log_prob"]
    assert found.drop("log_prob").equals(expected.drop("log_prob"))
    np.testing.assert_allclose(*(frame["log_prob"].cast(pl.Float64) for frame in (found, expected)), rtol=1e-6)
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name] == []


def test_one_large_row_group_is_written_whole(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333), group=1000)
    assert len(Pieces(tmp_path / "rows.parquet")) == 1
    for name in ("scores.parquet", "scores.csv"):
        command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / name)
        assert read_back(tmp_path / name)["size"].equals(rows(333)["size"])


def test_shards_share_a_folder_and_make_one_table(tmp_path, small, fitted, capsys):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    for shard in ("3/3", "1/3"):
        command("anomalies", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found", "--shard", shard)
    assert "pieces are other shards', and not there yet" in capsys.readouterr().out
    command("anomalies", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found", "--shard", "2/3")
    assert "not there yet" not in capsys.readouterr().out
    command("anomalies", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "alone.parquet")
    assert read_back(tmp_path / "found").equals(read_back(tmp_path / "alone.parquet"))
    with pytest.raises(InputError, match="name a folder"):
        over_pieces(
            Pieces(tmp_path / "rows.parquet"), None, tmp_path / "x.csv", asked={}, shard=(1, 2), overwrite=False
        )


def test_what_is_drawn_depends_on_the_seed_and_not_on_who_draws_it(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    for shard in ("1/2", "2/2"):
        command("impute", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found", "--shard", shard)
    command("impute", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "alone.parquet")
    found = read_back(tmp_path / "found")
    assert found.equals(read_back(tmp_path / "alone.parquet"))
    assert found["price"].null_count() == 0
    assert len({seed_at(0, piece, batch) for piece in range(9) for batch in range(9)}) == 81
    assert seed_at(7, 0) == 7


def test_what_a_killed_shard_has_left_of_a_part_goes_once_all_parts_are_there(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    left = tmp_path / "found" / ".part-000001.parquet.123.tmp"
    score = ("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found", "--shard")
    command(*score, "1/2")
    left.write_bytes(b"half")
    command(*score, "2/2")
    assert not left.exists()


def test_parts_of_another_run_are_not_taken_for_this_ones(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found")
    write_parquet(tmp_path / "rows.parquet", rows(333, seed=1))
    with pytest.raises(InputError, match="another run: its files differ"):
        command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found")
    command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found", "--overwrite")
    assert read_back(tmp_path / "found")["size"].equals(rows(333, seed=1)["size"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(InputError, match="a folder with other files"):
        command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "mine")


def test_a_file_that_changes_while_it_is_read_ends_the_run(tmp_path, small):
    file = tmp_path / "rows.parquet"
    write_parquet(file, rows(333))
    cut = Pieces(file)

    def answer(cells, place):
        if place.piece == 2:
            os.utime(file, ns=(1, 1))
        return Answered(pl.DataFrame({"n": np.zeros(cells.frame.height)}), cells)

    with pytest.raises(RunError, match="has changed while it was read"):
        over_pieces(cut, answer, tmp_path / "out", asked={}, shard=(1, 1), overwrite=False)
    assert sorted(part.name for part in (tmp_path / "out").glob("part-*")) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]


def test_a_damaged_row_group_is_named_and_what_was_done_stays(tmp_path, small, fitted):
    file = tmp_path / "rows.parquet"
    write_parquet(file, rows(333), group=60)
    offset = parquet.ParquetFile(file).metadata.row_group(2).column(0).data_page_offset
    data = bytearray(file.read_bytes())
    data[offset : offset + 60] = b"\xff" * 60
    file.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"rows.parquet, row group 3: is damaged"):
        command("score", fitted, file, "--out", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("part-*"))) == 2


def test_files_of_other_columns_are_refused(tmp_path, small):
    (tmp_path / "t").mkdir()
    write_parquet(tmp_path / "t" / "a.parquet", rows(60))
    write_parquet(tmp_path / "t" / "b.parquet", rows(60).rename({"size": "width"}))

    def answer(cells, place):
        return Answered(pl.DataFrame({"n": np.zeros(cells.frame.height)}), cells)

    with pytest.raises(InputError, match='column "size", which the first piece has'):
        over_pieces(Pieces(tmp_path / "t"), answer, tmp_path / "out", asked={}, shard=(1, 1), overwrite=False)


def test_a_format_that_is_none_is_refused_and_makes_no_folder(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    for name in ("scores.cvs", "scores.xlsx"):
        with pytest.raises(InputError, match="are not tables"):
            command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / name)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="give 1/4"):
        shard_of(text)
    assert shard_of("2/4") == (2, 4)
    assert Done().in_words == ""


def test_what_is_read_is_never_written(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found")
    before = {file.name: file.read_bytes() for file in (tmp_path / "found").iterdir()}
    pattern = tmp_path / "found" / "*.parquet"
    for out in (tmp_path / "found", tmp_path / "found" / "part-000000.parquet"):
        with pytest.raises(InputError, match="the table is read from there"):
            command("impute", fitted, pattern, "--out", out, "--overwrite")
    assert {file.name: file.read_bytes() for file in (tmp_path / "found").iterdir()} == before


def test_overwriting_does_everything_again_and_no_shard_may(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    arguments = ("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "found")
    command(*arguments)
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "found" / "part-000000.parquet")
    command(*arguments, "--overwrite")
    assert read_back(tmp_path / "found").height == 333
    with pytest.raises(InputError, match="other shards' parts"):
        command(*arguments, "--overwrite", "--shard", "1/2")


@pytest.mark.parametrize("out", ["means.csv", "means.parquet", "means"])
def test_means_have_the_same_columns_in_every_piece(tmp_path, small, fitted, out):
    frame = rows(333).with_columns(pl.when(pl.int_range(333) != 250).then(20.0).alias("price"))
    write_parquet(tmp_path / "rows.parquet", frame)
    command("impute", fitted, tmp_path / "rows.parquet", "--mean", "--out", tmp_path / out)
    found = read_back(tmp_path / out)
    assert found.columns == ["size", "kind", "price", "size_q5", "size_q95", "price_q5", "price_q95"]
    assert found["price"].null_count() == 0
    assert found["price_q5"].null_count() == 332


def test_a_changed_reference_makes_another_run(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    rows(200, seed=5).write_csv(tmp_path / "reference.csv")
    arguments = ("anomalies", fitted, tmp_path / "rows.parquet", "--reference", tmp_path / "reference.csv")
    command(*arguments, "--out", tmp_path / "found")
    rows(100, seed=6).write_csv(tmp_path / "reference.csv")
    with pytest.raises(InputError, match="its options differ"):
        command(*arguments, "--out", tmp_path / "found")


def test_the_suffix_decides_what_separates_cells(tmp_path, small, fitted):
    write_parquet(tmp_path / "rows.parquet", rows(333))
    command("score", fitted, tmp_path / "rows.parquet", "--out", tmp_path / "scores.tsv")
    assert (tmp_path / "scores.tsv").read_text().splitlines()[0] == "size\tkind\tprice\tlog_prob"


def test_row_groups_and_files_without_rows_are_passed_over(tmp_path, small, fitted):
    (tmp_path / "t").mkdir()
    write_parquet(tmp_path / "t" / "a.parquet", rows(1)[:0])
    with parquet.ParquetWriter(tmp_path / "t" / "b.parquet", rows(1).to_arrow().schema) as writer:
        for size in (0, 60, 0, 0, 60, 0):
            writer.write_table(rows(60)[:size].to_arrow())
    command("score", fitted, tmp_path / "t", "--out", tmp_path / "scores.parquet")
    assert read_back(tmp_path / "scores.parquet").height == 120


@pytest.mark.parametrize(
    ("last", "said"), [(pl.Float64, "of type Float64"), (pl.String, "of type String"), (pl.Int32, "")]
)
def test_a_column_of_another_type_is_named_before_anything_is_lost(tmp_path, small, last, said):
    (tmp_path / "t").mkdir()
    write_parquet(tmp_path / "t" / "a.parquet", pl.DataFrame({"n": range(60)}))
    write_parquet(tmp_path / "t" / "b.parquet", pl.DataFrame({"n": range(60)}).cast(last))

    def answer(cells, place):
        return Answered(pl.DataFrame({"m": np.zeros(cells.frame.height)}), cells)

    run = {"asked": {}, "shard": (1, 1), "overwrite": False}
    if said:
        with pytest.raises(InputError, match=said):
            over_pieces(Pieces(tmp_path / "t"), answer, tmp_path / "out.parquet", **run)
    else:
        over_pieces(Pieces(tmp_path / "t"), answer, tmp_path / "out.parquet", **run)
        assert pl.read_parquet(tmp_path / "out.parquet")["n"].to_list() == [*range(60), *range(60)]


@pytest.mark.parametrize("end", ["\n\n", "1\n# a remark\n2\n", "1\n\xe9\n"])
def test_long_text_of_any_form_is_what_short_text_is(tmp_path, small, end):
    file = tmp_path / "rows.csv"
    file.write_bytes(("a\n" + "17\n" * 2000 + end).encode("latin-1"))
    found = pl.concat([cells.frame for piece in Pieces(file) for cells in piece.read()])
    assert found.equals(read_cells(file).frame)


def test_without_ray_one_line_says_what_to_install(run, monkeypatch, small, fitted):
    write_parquet("rows.parquet", rows(333))
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("score", fitted, "rows.parquet", "--out", "found", "--ray", "local")
    assert (code, err) == (2, '--ray needs Ray (pip install "pushforward[scale]")\n')


# ---- as a function of batches ---------------------------------------------------------------------------------------


def test_a_scorer_gives_back_the_kind_of_batch_that_it_was_given(fitted):
    frame, score = rows(40), Scorer(fitted)
    expected = pf.TableModel.load(fitted).log_prob(frame)
    batches = {
        "polars": frame, "arrow": frame.to_arrow(), "batch": frame.to_arrow().to_batches()[0],
        "arrays": {name: frame[name].to_numpy() for name in frame.columns},
    }  # fmt: skip
    for name, batch in batches.items():
        found = score(batch)
        assert type(found) is type(batch), name
        np.testing.assert_allclose(np.asarray(found["log_prob"]), expected, err_msg=name)
        assert len(found["size"]) == 40


def test_text_that_is_missing_in_arrays_is_missing(fitted):
    batch = {"size": np.array([50.0, 60.0]), "kind": np.array(["van", np.nan], object), "price": np.array([1e3, 1e3])}
    frame = pl.DataFrame({"size": [50.0, 60.0], "kind": ["van", None], "price": [1e3, 1e3]})
    np.testing.assert_allclose(Scorer(fitted)(batch)["log_prob"], pf.TableModel.load(fitted).log_prob(frame))
    empty = frame[:0].to_arrow().to_batches() or [pa.RecordBatch.from_pylist([], schema=frame.to_arrow().schema)]
    assert Scorer(fitted)(empty[0]).num_rows == 0


def test_a_scorer_goes_to_other_processes_as_a_name(fitted):
    score = Scorer(fitted, ask="anomalies", level=0.05)
    assert len(pickle.dumps(score)) < 1000
    again = pickle.loads(pickle.dumps(score))
    found, expected = again(rows(40)), score(rows(40))
    assert found.equals(expected)
    assert {"score", "p_value", "why"} <= set(found.columns)


def test_a_scorer_refuses_what_is_no_batch_of_its_model(fitted, tmp_path):
    with pytest.raises(InputError, match="ask must be one of"):
        Scorer(fitted, ask="price")
    with pytest.raises(InputError, match="none.safetensors"):
        Scorer(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match='no column "kind"'):
        Scorer(fitted)(rows(5).drop("kind"))
    with pytest.raises(InputError, match="a batch is a mapping"):
        Scorer(fitted)(np.zeros((3, 3)))
    with pytest.raises(InputError, match='has a column "log_prob"'):
        Scorer(fitted)(rows(5).with_columns(log_prob=pl.lit(1.0)))


def test_the_example_with_duckdb_scores_every_row(tmp_path, monkeypatch, fitted, capsys):
    """Rows with missing cells too, which a function of duckdb's by default is not asked about."""
    pytest.importorskip("duckdb")
    page = (Path(__file__).parent.parent / "docs" / "scale.md").read_text()
    example = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "duckdb" in code)
    monkeypatch.chdir(tmp_path)
    shutil.copy(fitted, "model.safetensors")
    write_parquet(Path("rows.parquet"), rows(333))
    exec(example, {})
    [(mean,)] = literal_eval(capsys.readouterr().out)
    assert mean == pytest.approx(pf.TableModel.load(fitted).log_prob("rows.parquet").mean(), rel=1e-6)
