"""The same flows in pushforward: in a bare training loop, and through `pf.fit`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

import pushforward as pf
from continuous import TOLERANCE
from peers import BOUND, LEARNING_RATE, Case, TorchModel, log_target


def flow(case: Case) -> pf.Flow:
    """Couplings of halves that take turns, or what else the case asks for."""
    if case.kind == "continuous":
        return pf.recipes.cnf(case.features, hidden_features=(case.hidden, case.hidden), tolerance=TOLERANCE)
    if case.kind == "planar":
        return pf.recipes.planar(case.features, num_layers=case.num_layers, inverted=True)
    sizes = {"num_layers": case.num_layers, "hidden_features": (case.hidden, case.hidden)}
    if case.bins:
        return pf.recipes.nsf(case.features, bins=case.bins, bound=BOUND, **sizes)
    return pf.recipes.realnvp(case.features, **sizes)


def loop(case: Case, batches: np.ndarray) -> TorchModel:
    """The loop that the torch peers run."""
    model = flow(case)
    loss = partial(reverse_kl, model) if case.kind == "planar" else None
    return TorchModel(model, batches, log_prob=model.log_prob, sample=model.sample, loss=loss)


def reverse_kl(model: pf.Flow, batch: Tensor) -> Tensor:
    """Mean of log q - log p over as many samples of the flow as the batch has rows."""
    x, log_q = model.sample_and_log_prob(len(batch))
    return (log_q - log_target(x)).mean()


class Fit:
    """`pf.fit` as users call it, timed from its first report to its last: set-up and compiling are left out.

    Validation and clipping are left out too, since the peers have none. A `Fit` only trains: its flow scores and
    samples as the loop's does.
    """

    measures = ()

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


def fitted(case: Case, batches: np.ndarray) -> Fit | None:
    """`pf.fit` by maximum likelihood."""
    return None if case.kind == "planar" else Fit(case, batches, compile=False)


def compiled(case: Case, batches: np.ndarray) -> Fit | None:
    """The same with compiled steps; adaptive steps of a solver do not compile."""
    return Fit(case, batches, compile=True) if case.kind == "coupling" else None


BUILDERS: dict[str, Callable[[Case, np.ndarray], Any]] = {
    "pushforward loop": loop,
    "pushforward fit": fitted,
    "pushforward fit, compiled": compiled,
}
