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


class Fit:
    """`pf.fit` as users call it, timed from its first report to its last: set-up and compiling are left out.

    Validation and clipping are left out too, since the peers have none. A `Fit` only trains: its flow scores and
    samples as the loop's does.
    """

    def __init__(self, case: Case, batches: np.ndarray, *, compile: bool) -> None:
        self._flow, self._batch_size, self._compile = flow(case), case.batch_size, compile
        self._data = batches.reshape(-1, case.features)
        self.num_parameters = sum(p.numel() for p in self._flow.parameters())
        self.training_seconds = 0.0

    def train(self, num_steps: int) -> int:
        """Run a fit of so many steps; return how many of them were timed."""
        history = pf.fit(
            self._flow,
            self._data,
            num_steps=num_steps,
            batch_size=self._batch_size,
            learning_rate=LEARNING_RATE,
            schedule="constant",
            validation=None,
            clip_norm=None,
            compile=self._compile,
            progress=False,
        )
        first, last = history.rows[0], history.rows[-1]
        self.training_seconds = last["seconds"] - first["seconds"]
        return last["step"] - first["step"]


BUILDERS: dict[str, Callable[[Case, np.ndarray], Any]] = {
    "pushforward loop": loop,
    "pushforward fit": lambda case, batches: Fit(case, batches, compile=False),
    "pushforward fit, compiled": lambda case, batches: Fit(case, batches, compile=True),
}
