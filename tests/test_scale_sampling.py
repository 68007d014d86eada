"""Long samples, drawn block by block: the same rows however many processes draw them, and nothing lost in a kill."""

import json
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from long_tables import command, fit, read_back
from pushforward.errors import InputError
from pushforward.scale.samples import Samples
from pushforward.tables import sample_blocks
from pushforward.tables.from_anything import read_cells
from pushforward.tables.sample_blocks import SampleBlocks, seed_at


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the file of a model of mixed columns."""
    return fit(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def of_reals(tmp_path_factory):
    """Return the file of a flow of two columns given a third."""
    file = tmp_path_factory.mktemp("flow") / "model.safetensors"
    values = np.random.default_rng(0).normal(size=(300, 3))
    frame = pl.DataFrame(values, schema=["x", "y", "t"])
    pf.TableModel.fit(frame, context="t", recipe="flow", num_steps=10, progress=False, notify=lambda line: None).save(
        file
    )
    return file


@pytest.fixture
def small(monkeypatch):
    """Let blocks be small."""
    monkeypatch.setattr(sample_blocks, "ROWS", 50)


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_shards_together_draw_the_rows_of_one_process(tmp_path, monkeypatch, small, fitted, shards):
    monkeypatch.chdir(tmp_path)
    command("sample", fitted, "--num", 230, "--seed", 3, "--out", "alone.parquet")
    for shard in range(shards, 0, -1):
        command("sample", fitted, "--num", 230, "--seed", 3, "--out", "shared", "--shard", f"{shard}/{shards}")
    alone = pl.read_parquet("alone.parquet")
    assert alone.height == 230
    assert read_back(Path("shared")).equals(alone)
    assert not Path(".alone.parquet.parts").exists()


def test_blocks_are_unlike_one_another_and_the_first_is_a_short_sample(small, fitted):
    law = pf.TableModel.load(fitted).law
    blocks = SampleBlocks(law, 120, seed=5)
    first, second, last = (blocks.draw(k) for k in range(len(blocks)))
    assert (first.height, second.height, last.height) == (50, 50, 20)
    assert not first.head(20).equals(second.head(20))
    assert first.equals(law.sample(50, None, complete=False, temperature=1.0, seed=5))


def test_the_seeds_of_all_blocks_differ_in_the_bits_that_torch_reads():
    seeds = {seed_at(0, k) % 2**32 for k in range(100_000)} | {seed_at(1, k) % 2**32 for k in range(100_000)}
    assert len(seeds) > 199_990  # those of two samples may meet by chance
    assert len({seed_at(0, k) % 2**32 for k in range(100_000)}) == 100_000
    assert seed_at(2**40, 0) == 2**40


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".jsonl"])
def test_a_file_of_many_blocks_is_the_sample_that_python_draws(tmp_path, small, fitted, suffix):
    out = tmp_path / f"samples{suffix}"
    command("sample", fitted, "--num", 130, "--seed", 2, "--out", out)
    drawn = pf.TableModel.load(fitted).sample(130, seed=2)
    found = read_cells(out).frame
    assert found.height == 130
    assert found["size"].cast(pl.Float64).equals(drawn["size"])
    assert found["kind"].cast(pl.String).equals(drawn["kind"].cast(pl.String))


def test_text_of_many_blocks_is_that_of_one(tmp_path, monkeypatch, fitted):
    texts = []
    for rows in (40, 1000):
        monkeypatch.setattr(sample_blocks, "ROWS", rows)
        command("sample", fitted, "--num", 40, "--out", tmp_path / f"{rows}.csv")
        texts.append((tmp_path / f"{rows}.csv").read_bytes())
    command("sample", fitted, "--num", 40, "--out", tmp_path / "folder")
    assert texts[0] == texts[1]
    assert read_back(tmp_path / "folder").height == 40


@pytest.mark.parametrize("given", ["t=0.5", "given.csv"])
def test_draws_of_rows_that_are_given_follow_one_another_over_blocks(tmp_path, monkeypatch, small, of_reals, given):
    monkeypatch.chdir(tmp_path)
    context = [0.5] if "=" in given else [0.1, 0.2, 0.3]
    pl.DataFrame({"t": context}).write_csv("given.csv")
    num = 130 if "=" in given else 70
    command("sample", of_reals, "--num", num, "--given", given, "--out", "alone.parquet")
    for shard in ("2/2", "1/2"):
        command("sample", of_reals, "--num", num, "--given", given, "--out", "shared", "--shard", shard)
    found = pl.read_parquet("alone.parquet")
    assert found["t"].to_list() == [value for value in context for _ in range(num)]
    assert found["x"].n_unique() == found.height
    assert read_back(Path("shared")).equals(found)
    drawn = pf.TableModel.load(of_reals).sample(num, given={"t": 0.5} if "=" in given else "given.csv", seed=0)
    assert drawn.select(found.columns).equals(found)


def test_cells_of_modelled_columns_may_be_given_in_many_blocks(tmp_path, small, fitted):
    command("sample", fitted, "--num", 120, "--given", "kind=van", "--out", tmp_path / "vans.parquet")
    found = pl.read_parquet(tmp_path / "vans.parquet")
    assert found.height == 120
    assert set(found["kind"]) == {"van"}
    assert found["size"].n_unique() > 60


def test_a_sample_that_was_begun_goes_on_with_the_blocks_that_are_missing(tmp_path, small, fitted, capsys):
    arguments = ("sample", fitted, "--num", 230, "--out", tmp_path / "drawn")
    command(*arguments)
    whole = read_back(tmp_path / "drawn")
    for number in (1, 3):
        (tmp_path / "drawn" / f"part-{number:06d}.parquet").unlink()
    command(*arguments)
    assert "100 samples of 3 columns; 3 pieces were there already" in capsys.readouterr().out
    assert read_back(tmp_path / "drawn").equals(whole)
    for other in (("--seed", 1), ("--temperature", 0.5), ("--complete",), ("--given", "kind=van")):
        with pytest.raises(InputError, match="another run: its options differ"):
            command(*arguments, *other)
    assert json.loads((tmp_path / "drawn" / "_run.json").read_text())["pieces"] == 5


def test_a_block_that_cannot_be_drawn_leaves_those_before_it(tmp_path, monkeypatch, small, fitted):
    draw = SampleBlocks.draw

    def broken(blocks, block):
        if block == 2:
            raise KeyboardInterrupt
        return draw(blocks, block)

    arguments = ("sample", fitted, "--num", 230, "--out", tmp_path / "drawn.csv")
    with monkeypatch.context() as patch:
        patch.setattr(SampleBlocks, "draw", broken)
        with pytest.raises(KeyboardInterrupt):
            command(*arguments)
    assert not (tmp_path / "drawn.csv").exists()
    assert len(list((tmp_path / ".drawn.csv.parts").glob("part-*"))) == 2
    command(*arguments)
    command("sample", fitted, "--num", 230, "--out", tmp_path / "whole.csv")
    assert (tmp_path / "drawn.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_shards_of_a_sample_write_folders_and_replace_nothing(tmp_path, small, fitted):
    with pytest.raises(InputError, match="name a folder with --out"):
        command("sample", fitted, "--num", 230, "--out", tmp_path / "drawn.csv", "--shard", "1/2")
    with pytest.raises(InputError, match="other shards' parts"):
        command("sample", fitted, "--num", 230, "--out", tmp_path / "drawn", "--shard", "1/2", "--overwrite")
    assert list(tmp_path.iterdir()) == []


def test_rows_drawn_without_a_seed_differ_each_time(small, fitted):
    model = pf.TableModel.load(fitted)
    assert not model.sample(120).equals(model.sample(120))


def test_what_draws_goes_to_other_processes_as_its_arguments(tmp_path, fitted, of_reals):
    for file, given in ((fitted, {"kind": "van"}), (of_reals, {"t": "0.5"})):
        out = tmp_path / file.parent.name
        out.mkdir()
        one = Samples(file, out, 30, given, complete=True, temperature=0.5, seed=1)
        assert len(pickle.dumps(one)) < 1000
        one(0)
        drawn = read_back(out)
        assert pickle.loads(pickle.dumps(one))(0).rows == 30
        assert read_back(out).equals(drawn)
