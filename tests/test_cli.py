"""The command line: what each command writes and prints, what it refuses in one line, and how it ends."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import pushforward as pf
from pushforward.__main__ import main
from pushforward.cli import fit_command
from pushforward.errors import RunError
from pushforward.model_file import read_metadata
from pushforward.tables import built_in_data, flow_for_table

pytestmark = pytest.mark.usefixtures("undrawn")  # but for the models that tests share, which are made before
RNG = np.random.default_rng(0)
WRITTEN = {"checkpoint.safetensors", "history.jsonl", "model.safetensors", "report.html", "samples.csv"}


def quick_fit(folder, frame, *options):
    frame.write_csv(folder / "t.csv")
    arguments = [
        "fit",
        folder / "t.csv",
        "--out",
        folder / "out",
        "--recipe",
        "realnvp",
        "--max-seconds",
        0.5,
        *options,
    ]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of a fit without context: t.csv and out."""
    frame = pl.DataFrame(RNG.normal(size=(200, 2)) * [1.0, 1000.0], schema=["age", "income"])
    return quick_fit(tmp_path_factory.mktemp("plain"), frame)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """The folder of a fit of y given label and x3."""
    label = RNG.integers(2, size=200)
    frame = pl.DataFrame({"label": label, "y": RNG.normal(size=200) + 5 * label, "x3": RNG.normal(size=200)})
    return quick_fit(tmp_path_factory.mktemp("conditional"), frame, "--context", "label,x3")


def one_line(err, *parts):
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    for part in parts:
        assert part in err, err


# ---- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "fit", "sample", "score", "evaluate", "verify"])
def test_help_is_shown_for_every_command(run, command):
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: pushforward")
    assert max(len(line) for line in out.splitlines()) <= 80


def test_help_loads_nothing_heavy_and_takes_less_than_four_tenths_of_a_second():
    heavy = ("torch", "numpy", "polars", "pyarrow", "sklearn", "scipy", "matplotlib")
    code = (
        "import sys; from pushforward.__main__ import main; main(['fit', '--help']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert out.endswith("\n[]\n")
    # The processor's time, which other work on the machine does not lengthen much.
    assert usage.ru_utime + usage.ru_stime < 0.4


# ---- fit -------------------------------------------------------------------------------------------------------------


def test_fit_writes_model_history_samples_and_report(plain):
    assert {path.name for path in (plain / "out").iterdir()} == WRITTEN
    samples = pl.read_csv(plain / "out" / "samples.csv")
    assert samples.columns == ["age", "income"]
    assert len(samples) == 10_000
    assert 500 < samples["income"].std() < 2000
    stored = read_metadata(plain / "out" / "model.safetensors")
    assert stored["schema"] == {"columns": ["age", "income"], "context": []}
    assert stored["summary"]["rows"] == {"train": 160, "test": 20}


def test_fit_prints_the_held_out_nll_beside_the_baselines(run, plain):
    code, out, err = run("fit", plain / "t.csv", "--recipe", "nice", "--max-seconds", 0.3)
    assert code == 0, err
    for part in ("20 held-out rows, nats", "this flow", "Gaussian, asinh scaling", "kernel density", "±"):
        assert part in out
    assert "next: pushforward sample pushforward-out --num 1000" in out
    assert "│" not in out  # plain where the output is no terminal
    assert "\x1b" not in out + err


def test_a_run_of_so_many_steps_is_decided_by_its_seed_alone(run, plain):
    written = []
    for _ in range(2):
        code, out, err = run("fit", plain / "t.csv", "--recipe", "realnvp", "--steps", 30, "--overwrite")
        assert code == 0, err
        assert ", 30 steps" in out
        written.append(Path("pushforward-out", "samples.csv").read_text())
    assert written[0] == written[1]
    run("fit", plain / "t.csv", "--recipe", "realnvp", "--steps", 30, "--overwrite", "--seed", 1)
    assert Path("pushforward-out", "samples.csv").read_text() != written[0]


def test_without_data_it_is_two_moons_beside_the_exact_entropy(run, monkeypatch):
    monkeypatch.setattr(built_in_data, "TOY_POINTS", 3000)
    monkeypatch.setattr(flow_for_table, "FRESH_POINTS", 3000)
    code, out, err = run("fit", "--max-seconds", 0.3, "--recipe", "realnvp")
    assert code == 0, err
    assert out.startswith("two-moons: 3,000 rows, 2 columns")
    assert "exact entropy" in out
    assert "1.0076" in out
    z_scored = next(line for line in out.splitlines() if "exact entropy" in line).split()[-1]
    truth = pf.data.two_moons(3000, standardize=True).density
    assert float(z_scored.replace("−", "-")) == pytest.approx(truth.entropy(), abs=0.1)
    assert "excess over the exact density:" in out


def test_the_seed_decides_the_rows_of_a_built_in_data_set_too(run, monkeypatch):
    def stop(data, *, seed, **columns):
        raise RunError(f"asked for {data} of seed {seed}")

    monkeypatch.setattr(fit_command, "table_to_fit", stop)
    assert "asked for hexagon of seed 7" in run("fit", "hexagon", "--seed", 7)[2]


@pytest.mark.parametrize("command", ["sample", "score"])
def test_no_file_is_replaced_unasked(run, plain, command):
    arguments = [command, plain / "out", *(["--num", 5] if command == "sample" else [plain / "t.csv"])]
    Path("kept.csv").write_text("of the user")
    code, _, err = run(*arguments, "--out", "kept.csv")
    assert code == 2
    one_line(err, "kept.csv: exists already (--overwrite replaces it, --out names another file)")
    assert Path("kept.csv").read_text() == "of the user"
    assert run(*arguments, "--out", "kept.csv", "--overwrite")[0] == 0
    assert Path("kept.csv").read_text() != "of the user"


def test_a_low_temperature_draws_samples_nearer_the_mode(run, plain):
    spreads = []
    for temperature in (1, 0.1):
        code, _, err = run("sample", plain / "out", "--num", 500, "--temperature", temperature, "--overwrite")
        assert code == 0, err
        spreads.append(pl.read_csv("samples.csv")["income"].std())
    assert spreads[1] < 0.3 * spreads[0]


def test_the_hint_after_a_conditional_fit_can_be_pasted(run):
    table = pl.DataFrame({"y": RNG.normal(size=100), "the label": RNG.choice([3.0, 7.5], size=100)})
    table.write_csv("t.csv")
    code, out, err = run("fit", "t.csv", "--context", "the label", "--recipe", "realnvp", "--steps", 5)
    assert code == 0, err
    hint = shlex.split(out.splitlines()[-1].removeprefix("next: pushforward "))
    assert hint[:4] == ["sample", "pushforward-out", "--num", "1000"]
    assert hint[-1] in ("the label=3", "the label=7.5")
    assert run(*hint)[0] == 0


def test_a_missing_context_is_shown_as_the_shell_takes_it(run):
    table = pl.DataFrame({"y": RNG.normal(size=100), "a,b": RNG.normal(size=100)})
    table.write_csv("t.csv")
    assert run("fit", "t.csv", "--context", '"a,b"', "--recipe", "realnvp", "--steps", 5)[0] == 0
    code, _, err = run("sample", "pushforward-out", "--num", 5)
    assert code == 2
    one_line(err, "the model needs context (--given: '\"a,b=0\"', or rows of it)")


def test_the_label_of_a_built_in_data_set_can_be_the_context(run, monkeypatch):
    monkeypatch.setattr(built_in_data, "TOY_POINTS", 1000)
    monkeypatch.setattr(flow_for_table, "FRESH_POINTS", 1000)
    code, out, err = run("fit", "hexagon", "--context", "label", "--max-seconds", 0.3, "--recipe", "realnvp")
    assert code == 0, err
    assert "-1.7673" in out
    assert "Gaussian, linear in the context" in out
    code, out, err = run("evaluate", "pushforward-out", "hexagon")
    assert code == 0, err
    assert "-1.7673" in out


def test_warnings_come_before_the_training(run):
    pl.DataFrame({"a": RNG.normal(size=100), "b": RNG.integers(2, size=100)}).write_csv("t.csv")
    code, _, err = run("fit", "t.csv", "--max-seconds", 0.3, "--recipe", "realnvp")
    assert code == 0
    assert err.startswith('warning: few distinct values in "b" (2)')


def test_a_used_folder_is_refused_without_resume_or_overwrite(run, plain):
    before = (plain / "out" / "model.safetensors").read_bytes()
    code, _, err = run("fit", plain / "t.csv", "--out", plain / "out")
    assert code == 2
    one_line(err, "holds a model already (--resume goes on with it, --overwrite replaces it")
    assert (plain / "out" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["samples.csv", "report.html", "history.jsonl"])
def test_a_folder_with_files_that_the_results_would_replace_is_refused(run, plain, name):
    Path(name).write_text("of the user")
    code, _, err = run("fit", plain / "t.csv", "--out", ".")
    assert code == 2
    one_line(err, f".: holds {name} already (--overwrite replaces it, --out names another folder)")
    assert Path(name).read_text() == "of the user"


@pytest.mark.parametrize("option", [[], ["--overwrite"], ["--resume"]])
def test_a_fit_never_replaces_its_own_table(run, plain, option):
    content = (plain / "t.csv").read_bytes()
    Path("samples.csv").write_bytes(content)
    code, _, err = run("fit", "samples.csv", "--steps", 2, "--out", ".", *option)
    assert code == 2
    one_line(err, "samples.csv: is the table itself, and the results would replace it (name another folder with --out)")
    assert Path("samples.csv").read_bytes() == content


def test_overwrite_replaces_the_run_and_resume_gives_a_finished_one_again(run):
    pl.DataFrame(RNG.normal(size=(60, 2)), schema=["a", "b"]).write_csv("t.csv")
    arguments = ["fit", "t.csv", "--recipe", "realnvp", "--max-seconds", 0.3]
    assert run(*arguments)[0] == 0
    assert run(*arguments, "--seed", 1, "--overwrite")[0] == 0
    model = Path("pushforward-out/model.safetensors")
    assert read_metadata(model)["seed"] == 1
    repeats = "pushforward fit t.csv --recipe realnvp --max-seconds 0.3 --seed 1"
    assert read_metadata(model)["summary"]["command"] == repeats
    first = pf.load(model).state_dict()
    code, _, err = run(*arguments, "--seed", 1, "--resume")
    assert code == 0, err
    for name, value in pf.load(model).state_dict().items():
        assert torch.equal(value, first[name]), name


def test_resuming_with_other_options_is_refused(run, plain):
    code, _, err = run(
        "fit", plain / "t.csv", "--recipe", "realnvp", "--max-seconds", 7, "--resume", "--out", plain / "out"
    )
    assert code == 2
    one_line(err, "belongs to another run: max_seconds was 0.5, is 7.0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--recipe", "glw"],
            'there is no recipe "glw" (recipes: auto, flow, nice, realnvp, maf, iaf, nsf, planar, cnf)',
        ),
        (["--context", "incme"], 't.csv: there is no column "incme"; did you mean "income"?'),
        (["--context", "age,income"], "every column is context, none is left to fit"),
        (["--max-seconds", "0"], "--max-seconds must be positive; got 0"),
        (["--max-seconds", "nan"], "--max-seconds must be positive; got nan"),
        (["--steps", "0"], "--steps must be an integer of at least 1; got 0"),
        (["--max-seconds", "soon"], 'unable to convert "soon" into float'),
        (["--seed", "-1"], "--seed must be at least 0; got -1"),
        (["--device", "mars"], "device 'mars' cannot be used here"),
        (["--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--rceipe", "nsf"], "Unknown option: --rceipe"),
        (["--out", "t.csv/out"], "t.csv/out: cannot be written to: Not a directory (name another folder with --out)"),
        (["--out", "t.csv"], "t.csv: cannot be written to: File exists"),
    ],
)
def test_bad_options_are_refused_in_one_line_and_leave_nothing(run, options, message):
    pl.DataFrame(RNG.normal(size=(60, 2)), schema=["age", "income"]).write_csv("t.csv")
    code, _, err = run("fit", "t.csv", *options)
    assert code == 2
    one_line(err, message)
    assert os.listdir() == ["t.csv"]


GOOD = "a,b\n" + "".join(f"{a},{b}\n" for a, b in RNG.normal(size=(20, 2)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", GOOD + "inf,1\n", 'column "a", row 21: "inf" is not a finite number'),
        ("t.csv", "a\n" + "7\n" * 9, "no column is left to fit"),
        ("t.csv", "", "the file is empty"),
        ("t.csv", "a,b\n", "has a header but no rows"),
        ("t.csv", "a,b\n1,2\n", "1 row cannot show a density (give 3 or more)"),
        ("t.csv", "a,b\n1,2\n3,4\n", "2 rows cannot show a density"),
        ("t.csv", GOOD + "1,2,3\n", "line 22 has 3 cells, line 1 has 2"),
        ("t.csv", GOOD.encode("utf-16-le"), "(save it as CSV in UTF-8)"),
        ("t.parquet", b"PAR1 and no more", "is damaged, cut short or of another type"),
        ("t.pdf", "x", 'files of type ".pdf" are not tables'),
        ("t.csv", None, "there is no such file"),
        ("two-mons", None, "is neither a file nor a built-in data set (built in: two-moons, circles"),
    ],
)
def test_bad_tables_are_refused_in_one_line_and_leave_nothing(run, name, content, message):
    if content is not None:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = os.listdir()
    code, _, err = run("fit", name, "--out", "deep/out")
    assert code == 2
    one_line(err, name, message)
    assert os.listdir() == before


def test_a_column_constant_in_the_training_rows_is_refused_and_the_folder_taken_away(run):
    b = np.zeros(100)
    b[np.random.default_rng(0).permutation(100)[-1]] = 1.0
    pl.DataFrame({"a": np.arange(100.0), "b": b}).write_csv("t.csv")
    code, _, err = run("fit", "t.csv", "--recipe", "nice", "--out", "deep/out")
    assert code == 2
    one_line(err, 'column "b" is constant in the 80 rows drawn for training')
    assert os.listdir() == ["t.csv"]


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(run, plain, monkeypatch):
    def touch(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", touch)
    monkeypatch.setattr(pf.TableModel, "fit", None)
    code, _, err = run("fit", plain / "t.csv", "--out", "out")
    assert code == 2
    one_line(err, "out: cannot be written to: Permission denied (name another folder with --out)")


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "model.safetensors", "samples.csv", "report.html"])
def test_a_full_disk_ends_in_one_line_and_nothing_half_written(run, plain, monkeypatch, name):
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    code, _, err = run("fit", plain / "t.csv", "--recipe", "realnvp", "--max-seconds", 0.3)
    assert code == 1
    assert name in err.splitlines()[-1]
    assert "No space left on device" in err.splitlines()[-1]
    folder = Path("pushforward-out")
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert name not in there
    assert there < WRITTEN  # no temporary file


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(run, tmp_path):
    pl.DataFrame(RNG.normal(size=(300, 2)), schema=["a", "b"]).write_csv("my table.csv")
    arguments = ["fit", "my table.csv", "--recipe", "realnvp", "--max-seconds", "3"]
    command = [sys.executable, "-m", "pushforward", *arguments]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not (tmp_path / "pushforward-out/checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.splitlines()[-1]
    how = "pushforward fit 'my table.csv' --recipe realnvp --max-seconds 3 --resume"
    assert last == f"interrupted; go on with: {how}"
    assert not (tmp_path / "pushforward-out/model.safetensors").exists()

    code, _, err = run(*arguments)
    assert code == 2
    one_line(err, "pushforward-out: holds an unfinished run already (--resume")

    code, _, err = run(*arguments, "--resume")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "pushforward-out").iterdir()} == WRITTEN


# ---- sample ----------------------------------------------------------------------------------------------------------


def test_sample_writes_the_columns_names_and_repeats_with_the_seed(run, plain):
    code, out, _ = run("sample", plain / "out", "--num", 50)
    assert (code, out) == (0, "samples.csv: 50 samples of 2 columns\n")
    first = pl.read_csv("samples.csv")
    assert first.columns == ["age", "income"]
    run("sample", plain / "out" / "model.safetensors", "--num", 50, "--out", "again.parquet")
    assert first.equals(pl.read_parquet("again.parquet"))
    run("sample", plain / "out", "--num", 50, "--seed", 1, "--out", "other.csv")
    assert not first.equals(pl.read_csv("other.csv"))


def test_samples_of_columns_of_very_different_scales_keep_their_digits(run):
    values = RNG.normal(size=(200, 2)) * [1.0, 1e-9] + [0.0, 1.0]  # in float32 the second has two dozen values
    pl.DataFrame(values, schema=["a", "b"]).write_csv("t.csv")
    assert run("fit", "t.csv", "--recipe", "realnvp", "--max-seconds", 0.3)[0] == 0
    samples = pl.read_csv("pushforward-out/samples.csv")
    assert samples["b"].n_unique() > 9000


def test_fit_writes_the_context_beside_its_samples_too(conditional):
    frame = pl.read_csv(conditional / "out" / "samples.csv")
    assert frame.columns == ["y", "label", "x3"]
    assert set(frame["label"]) == {0.0, 1.0}


def test_sample_given_values_writes_them_beside_the_samples(run, conditional):
    code, out, _ = run("sample", conditional / "out", "--num", 300, "--context", "x3=0.5, label=1")
    assert (code, out) == (0, "samples.csv: 300 samples of 1 column\n")
    frame = pl.read_csv("samples.csv")
    assert frame.columns == ["y", "label", "x3"]
    assert (frame["label"] == 1).all()
    assert (frame["x3"] == 0.5).all()


def test_sample_given_a_file_draws_for_every_row(run, conditional):
    pl.DataFrame({"x3": [0.1, 0.2], "label": [0, 1], "extra": [9, 9]}).write_csv("c.csv")
    assert run("sample", conditional / "out", "--num", 3, "--context", "c.csv")[0] == 0
    frame = pl.read_csv("samples.csv")
    assert frame["x3"].to_list() == [0.1] * 3 + [0.2] * 3
    assert frame["label"].to_list() == [0] * 3 + [1] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the model needs context (--given: label=0,x3=0, or rows of it)"),
        (["--context", "label=1"], "--given: x3 is missing (give label=0,x3=0)"),
        (["--context", "label=1,x4=2"], '--given: "x4" is no context column of the model'),
        (["--context", "label=one,x3=2"], '--given: "one" is not a number'),
        (["--context", "label=inf,x3=2"], "--given: label must be finite; got inf"),
        (["--context", "c.csv"], "c.csv: there is no such file"),
    ],
)
def test_context_that_does_not_fit_is_refused(run, conditional, options, message):
    code, _, err = run("sample", conditional / "out", "--num", 3, *options)
    assert code == 2
    one_line(err, message)
    assert os.listdir() == []


def test_context_that_is_not_wanted_is_refused(run, plain):
    code, _, err = run("sample", plain / "out", "--num", 3, "--context", "age=1")
    assert code == 2
    one_line(err, 'only context can be given (leave --given out; recipe="auto" takes any column)')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "out"], "--num"),
        (["sample", "out", "--num", "0"], "--num must be at least 1; got 0"),
        (["sample", "nowhere", "--num", "3"], "nowhere"),
        (
            ["sample", ".", "--num", "3"],
            "holds no model.safetensors (name a model file, or the folder of a finished fit)",
        ),
        (["sample", "out", "--num", "3", "--out", "s.pdf"], 'files of type ".pdf" are not tables'),
        (["sample", "out", "--num", "3", "--out", "no/s.csv"], "no/s.csv: cannot be written"),
        (["score", "cut.safetensors", "t.csv"], "cut.safetensors"),
        (["nonsense"], 'Unknown command "nonsense"'),
    ],
)
def test_bad_arguments_are_refused_in_one_line(run, plain, arguments, message):
    Path("out").symlink_to(plain / "out")
    Path("t.csv").symlink_to(plain / "t.csv")
    Path("cut.safetensors").write_bytes((plain / "out" / "model.safetensors").read_bytes()[:-10])
    before = os.listdir()
    code, _, err = run(*arguments)
    assert code == 2
    one_line(err, message)
    assert os.listdir() == before


# ---- score, evaluate, verify -----------------------------------------------------------------------------------------


def test_score_appends_the_flows_log_prob_and_keeps_the_table_as_it_is(run, plain):
    code, out, _ = run("score", plain / "out", plain / "t.csv")
    assert code == 0
    assert out.startswith("scores.csv: 200 rows with log_prob in nats, mean -")
    frame, table = pl.read_csv("scores.csv"), pl.read_csv(plain / "t.csv")
    assert frame.columns == ["age", "income", "log_prob"]
    assert frame.drop("log_prob").equals(table)
    with torch.no_grad():
        expected = pf.load(plain / "out" / "model.safetensors").log_prob(table.to_numpy())
    np.testing.assert_allclose(frame["log_prob"], expected, rtol=1e-6)


def test_score_and_evaluate_say_how_many_rows_lie_outside_the_support(run):
    flow = pf.Flow(pf.transforms.Compose([]), pf.bases.Box(1))
    pf.save(flow, "box.safetensors")
    pl.DataFrame({"x1": [0.5, 2.0, 0.1, -1.0]}).write_csv("t.csv")
    code, _, err = run("score", "box.safetensors", "t.csv")
    assert code == 0
    assert "2 of 4 rows are outside the support of the model (log_prob -inf)" in err
    assert pl.read_csv("scores.csv")["log_prob"].to_list() == [0.0, -np.inf, 0.0, -np.inf]
    assert "2 rows are outside the support of the model" in run("evaluate", "box.safetensors", "t.csv")[2]


def test_columns_are_found_by_name_whatever_their_order_and_others_are_ignored_aloud(run, conditional):
    table = pl.read_csv(conditional / "t.csv")
    run("score", conditional / "out", conditional / "t.csv")
    other = table.select("x3", pl.lit("oak").alias("tree"), "y", "label")
    other.write_parquet("other.parquet")
    code, out, _ = run("score", conditional / "out", "other.parquet")
    assert code == 0
    assert "columns that the model does not know are ignored: tree\n" in out
    assert pl.read_parquet("scores.parquet")["log_prob"].to_list() == pl.read_csv("scores.csv")["log_prob"].to_list()


def test_a_single_row_can_be_scored(run, plain):
    pl.read_csv(plain / "t.csv").head(1).write_csv("one.csv")
    assert run("score", plain / "out", "one.csv", "--out", "s.csv")[0] == 0
    assert len(pl.read_csv("s.csv")) == 1


@pytest.mark.parametrize("command", ["score", "evaluate"])
def test_a_missing_column_is_named(run, plain, command):
    pl.read_csv(plain / "t.csv").rename({"income": "incom"}).write_csv("other.csv")
    code, _, err = run(command, plain / "out", "other.csv")
    assert code == 2
    one_line(err, 'other.csv: there is no column "income"; did you mean "incom"?')


def test_score_does_not_write_over_the_table(run, plain):
    pl.read_csv(plain / "t.csv").write_csv("t.csv")
    code, _, err = run("score", plain / "out", "t.csv", "--out", "t.csv")
    assert code == 2
    one_line(err, "t.csv: is the table itself (name another file with --out)")


def test_evaluate_prints_the_nll_in_both_units(run, plain):
    code, out, err = run("evaluate", plain / "out", plain / "t.csv")
    assert code == 0, err
    figures = {line.rsplit(None, 2)[0].strip(): line.split()[-2] for line in out.splitlines() if "NLL" in line}
    scale = read_metadata(plain / "out" / "model.safetensors")["summary"]["log_scale"]
    assert float(figures["NLL, nats"]) - float(figures["NLL, z-scored columns"]) == pytest.approx(scale, abs=2e-3)
    assert "round trip in float32" in out
    assert "200 rows" in out


def test_evaluate_refuses_a_single_row(run, plain):
    pl.read_csv(plain / "t.csv").head(1).write_csv("one.csv")
    code, _, err = run("evaluate", plain / "out", "one.csv")
    assert code == 2
    one_line(err, "1 row tells no mean from chance")


@pytest.mark.parametrize("folder", ["plain", "conditional"])
def test_verify_passes_a_fitted_flow(run, folder, request):
    code, out, err = run("verify", request.getfixturevalue(folder) / "out")
    assert code == 0, err
    assert "nothing is wrong" in out


def test_verify_looks_at_other_points_with_another_seed(run, plain):
    first, again, other = (run("verify", plain / "out", "--seed", seed)[1] for seed in (0, 0, 1))
    assert first == again != other


def test_verify_exits_with_1_when_a_check_fails(run, plain, monkeypatch):
    from pushforward import verification

    real = verification.verify

    def broken(flow, x, context=None):
        report = real(flow, x, context)
        report.problems.append("the inverse is off by 1 in row 3")
        return report

    monkeypatch.setattr(verification, "verify", broken)
    code, out, err = run("verify", plain / "out")
    assert code == 1
    assert "off by 1 in row 3" in out
    one_line(err, "1 check failed")


def test_a_model_without_a_schema_has_numbered_columns(run):
    pf.save(pf.recipes.realnvp(2, context_features=1), "m.safetensors")
    assert run("sample", "m.safetensors", "--num", 4, "--context", "c1=0")[0] == 0
    assert pl.read_csv("samples.csv").columns == ["x1", "x2", "c1"]


# ---- ends ------------------------------------------------------------------------------------------------------------


def test_a_failed_run_exits_with_1_in_one_line(run, plain, monkeypatch):
    def fail(*arguments, **options):
        raise RunError("the training diverged\nbeyond repair")

    monkeypatch.setattr(pf.TableModel, "fit", fail)
    code, _, err = run("fit", plain / "t.csv")
    assert (code, err) == (1, "the training diverged beyond repair\n")
    assert os.listdir() == []


def test_a_bug_exits_with_1_and_says_how_to_see_the_traceback(run, plain, monkeypatch):
    def bug(*arguments, **options):
        raise KeyError("x")

    monkeypatch.setattr(pf.TableModel, "load", bug)
    code, _, err = run("verify", plain / "out")
    assert code == 1
    one_line(err, "unexpected KeyError: 'x'", "set PUSHFORWARD_TRACEBACK=1")
    monkeypatch.setenv("PUSHFORWARD_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["verify", str(plain / "out")])


def test_an_interrupt_elsewhere_exits_with_130(run, plain, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pf.TableModel, "load", interrupt)
    code, _, err = run("verify", plain / "out")
    assert (code, err) == (130, "interrupted\n")


def test_what_cannot_be_modelled_is_left_out_each_in_one_line_and_strict_refuses_all_at_once(run):
    lines = [
        "id,first name,a,one,b,again",
        *(f"{k},x{k},{k % 7 + k / 100},1,{k * k / 7},{k * k / 7}" for k in range(1, 41)),
    ]
    lines[3] = lines[3].replace("0.42857", "?")
    Path("my table.csv").write_text("\n".join(lines) + "\n")
    code, out, err = run("fit", "my table.csv", "--steps", 2)
    assert code == 0, err
    assert "2 columns; results go to" in out
    assert [line.partition(":")[0] for line in err.splitlines() if "left out" in line] == ["warning"] * 4
    for name, why in (
        ("id", "counts the rows"),
        ("first name", "identifier"),
        ("one", "constant"),
        ("again", 'that of "b"'),
    ):
        assert any(f'"{name}" is left out' in line and why in line for line in err.splitlines())
    code, _, err = run("fit", "my table.csv", "--steps", 2, "--strict", "--out", "other")
    assert code == 2
    assert err.startswith("my table.csv: --strict leaves nothing out")
    assert len(err.splitlines()) == 5
    assert not Path("other").exists()


def test_a_recipe_of_numbers_names_all_problems_at_once_with_a_command_that_can_be_pasted(run):
    lines = ["id,first name,a,one,b", *(f"{k},x{k},{k % 7 + k / 100},1,{k * k}" for k in range(1, 41))]
    lines[3] = lines[3].replace("9", "?")
    Path("my table.csv").write_text("\n".join(lines) + "\n")
    code, _, err = run("fit", "my table.csv", "--recipe", "nice", "--steps", 2)
    assert code == 2
    *problems, remedy = err.splitlines()
    assert problems[0] == "my table.csv: 3 problems"
    assert [line[:2] for line in problems[1:]] == ["  "] * 3
    command = "pushforward fit 'my table.csv' --recipe nice --steps 2 --drop 'first name,b,one'"
    assert remedy == f"to fit the others: {command}"
    code, out, err = run(*shlex.split(remedy.partition("pushforward ")[2]))
    assert code == 0
    assert "1 column;" in out
    assert 'warning: column 1, "id", counts the rows and is left out' in err


def test_columns_are_chosen_and_dropped_by_name(run):
    x = np.random.default_rng(0).normal(size=(60, 3))
    pl.DataFrame(x, schema=["a,b", "c", "d"]).write_csv("t.csv")
    assert run("fit", "t.csv", "--columns", '"a,b"', "--context", "d", "--steps", 2, "--out", "one")[0] == 0
    model = pf.TableModel.load("one")
    assert (model.schema.modelled, model.schema.context) == (("a,b",), ("d",))
    code, out, _ = run("evaluate", "one", "t.csv")
    assert code == 0
    assert "columns that the model does not know are ignored: c" in out
    code, out, _ = run("fit", "t.csv", "--drop", "c,d", "--steps", 2, "--out", "two")
    assert code == 0
    assert pf.TableModel.load("two").schema.columns == ("a,b",)
    code, _, err = run("fit", "t.csv", "--drop", "e", "--steps", 2, "--out", "three")
    assert code == 2
    one_line(err, 'there is no column "e"')


def test_the_hint_quotes_names_with_commas(run):
    pl.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), schema=["a,b", "c"]).write_csv("t.csv")
    code, out, _ = run("fit", "t.csv", "--context", '"a,b"', "--steps", 2)
    assert code == 0
    command = out.splitlines()[-1].partition("pushforward ")[2]
    assert run(*shlex.split(command))[0] == 0
