"""The examples in the README and in docs/ run as they stand, with less training."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def test_the_readmes_table_in_python_runs(tmp_path, monkeypatch, capsys, undrawn):
    code, _ = blocks("README.md")
    shorter = code.replace("max_seconds=10", "max_seconds=0.5, progress=False")
    assert shorter != code
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(shorter, "README.md", "exec"), names)
    assert names["table"].columns == ["kind", "trips", "paid", "speed", "load", "log_prob"]
    assert {path.name for path in tmp_path.iterdir()} == {"vans.safetensors", "report.html"}
    assert "NLL, nats" in capsys.readouterr().out


def test_the_readmes_parts_run(tmp_path, monkeypatch, capsys):
    _, code = blocks("README.md")
    shorter = code.replace("1_500", "20")
    assert shorter != code
    monkeypatch.chdir(tmp_path)
    exec(compile(shorter, "README.md", "exec"), {})
    assert (tmp_path / "moons.safetensors").exists()
    assert "nats" in capsys.readouterr().out


def test_the_tutorial_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("docs/tutorial.md"):
        exec(compile(code.replace("epochs=10", "num_steps=30"), "docs/tutorial.md", "exec"), names)
    assert (tmp_path / "moons.safetensors").exists()
    assert "off by" in capsys.readouterr().out


def test_the_page_on_images_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("docs/images.md"):
        exec(compile(code, "docs/images.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "bits/dim" in printed
    assert "torch.Size([2, 784]) True" in printed


def test_the_page_on_continuous_flows_runs(capsys):
    (code,) = blocks("docs/continuous-flows.md")
    shorter = code.replace("max_seconds=20", "num_steps=30").replace("max_seconds=10", "num_steps=3")
    shorter = shorter.replace("20_000", "500")
    assert "max_seconds" not in shorter
    names = {}
    exec(compile(shorter, "docs/continuous-flows.md", "exec"), names)
    assert "evaluations" in capsys.readouterr().out
    assert names["steps"][0].name == "t = 0.125"


def test_the_page_on_scikit_learn_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("docs/scikit-learn.md"):
        shorter = re.sub(r"num_steps=[\d_]+", "num_steps=5", code.replace("[20, 200]", "[1, 2]"))
        shorter = shorter.replace("3_000", "300").replace("2_000", "200")
        shorter = shorter.replace(
            "n_jobs=2", "n_jobs=1"
        )  # test_estimator.py has two processes, which import torch first
        exec(compile(shorter, "docs/scikit-learn.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} == {"detector.joblib", "vans.safetensors"}
    assert "flowdensity__num_steps" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))])
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target
