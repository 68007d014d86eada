"""Every test starts from the same random state; torch keeps to one thread, since tests run in parallel."""

from typing import Any

import pytest
import torch

torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not torch.cuda.is_available():
        terminalreporter.write_line("tests/gpu: not run, there is no CUDA device (make test-gpu, where there is one)")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
