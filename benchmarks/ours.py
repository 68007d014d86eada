"""The same coupling flow in pushforward: in a bare training loop, and through `pf.fit`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pushforward as pf
from peers import BOUND, LEARNING_RATE, Case, TorchModel


def flow(case: Case) -> pf.Flow:
    """Couplings of halves that take turns."""
    sizes = {"num_layers": case.num_layers, "hidden_features": (case.hidden, case.hidden)}
    if case.bins:
        return pf.recipes.nsf(case.features, bins=case.bins, bound=BOUND, **sizes)
    return pf.recipes.realnvp(case.features, **sizes)


def loop(case: Case, batches: np.ndarray) -> TorchModel:
    """The loop that the torch peers run."""
    model = flow(case)
    return TorchModel(model, batches, log_prob=model.log_prob, sample=model.sample)


BUILDERS: dict[str, Callable[[Case, np.ndarray], Any]] = {"pushforward": loop}
