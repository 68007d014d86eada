"""Every test starts from the same random state; torch keeps to one thread, since tests run in parallel."""

import gc
from typing import Any

import pytest
import torch

from pushforward.__main__ import main
from pushforward.numerics.roots import bracketed_root

torch.set_num_threads(1)
# Full collections look at a million objects that stay, and took a tenth of the time.
gc.set_threshold(10_000, 20, 50)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not torch.cuda.is_available():
        terminalreporter.write_line("tests/gpu: not run, there is no CUDA device (make test-gpu, where there is one)")


@pytest.fixture(autouse=True)
def _seeded():
    torch.default_generator.manual_seed(0)  # torch.manual_seed writes the call stack down three times
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


@pytest.fixture
def undrawn(monkeypatch):
    """Of a table's rows no figures are made, and none is drawn: it takes longer than a short fit, and nobody looks."""
    from matplotlib.figure import Figure

    monkeypatch.setattr("pushforward.report.rendering.png", lambda figure, *resolution: b"")
    monkeypatch.setattr("pushforward.report.table_report._comparison", lambda report: Figure())
    for name in ("marginals", "pairs_of_columns", "calibration"):
        monkeypatch.setattr(f"pushforward.report.findings.{name}", lambda found: Figure())


@pytest.fixture
def few_root_steps(monkeypatch):
    """Roots are sought in few steps; for tests of how inverses run, since the compiler unrolls every step."""
    monkeypatch.setitem(bracketed_root.__kwdefaults__, "num_iterations", 3)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in a folder of its own; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run
