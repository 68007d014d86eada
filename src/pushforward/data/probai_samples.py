"""Three small samples in the plane whose density nobody knows: two moons, two blobs, boomerang, 500 points each."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pushforward.display import shapes
from pushforward.errors import require_choice, require_seed

THREE_SETS = ("two-moons", "two-blobs", "boomerang")
TEST_SHARE = 0.2


class Sample(NamedTuple):
    """Points split at random.

    Attributes:
        train: (400, 2), float32.
        test: (100, 2), float32.
    """

    train: Tensor
    test: Tensor

    def __repr__(self) -> str:
        return shapes(self)


def three_sets(name: str, *, seed: int = 0) -> Sample:
    """Return one of the three data sets of the Nordic Probabilistic AI School 2022, as they are, split 80 : 20.

    They are samples of other laws than the toy densities with the same names, and have no known density.

    Args:
        name: "two-moons", "two-blobs" or "boomerang".
        seed: Seed of the split.

    Raises:
        ValueError: If there is no such set.
    """
    require_choice("name", name, THREE_SETS)
    seed = require_seed(seed)
    file = files("pushforward.data").joinpath("probai", f"{name.replace('-', '_')}.csv")
    with file.open() as lines:
        x = torch.from_numpy(np.loadtxt(lines, delimiter=",", skiprows=1, dtype=np.float32))
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed), device="cpu")]
    num_test = round(TEST_SHARE * len(x))
    return Sample(x[num_test:], x[:num_test])
