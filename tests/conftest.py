"""Every test starts from the same random state; torch keeps to one thread, since tests run in parallel."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
