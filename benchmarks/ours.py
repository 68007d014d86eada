"""The same flows in pushforward: in a bare training loop and through `pf.fit`; and their matrix products alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pushforward as pf
from continuous import TOLERANCE
from peers import BOUND, LEARNING_RATE, Case, TorchModel, log_target
from pushforward.kernels.switch import kernels


def flow(case: Case) -> pf.Flow:
    """Couplings of halves that take turns, or what else the case asks for."""
    if case.kind == "continuous":
        return pf.recipes.cnf(case.features, hidden_features=(case.hidden, case.hidden), tolerance=TOLERANCE)
    if case.kind == "planar":
        return pf.recipes.planar(case.features, num_layers=case.num_layers, inverted=True)
    sizes = {"num_layers": case.num_layers, "hidden_features": (case.hidden, case.hidden)}
    if case.kind == "autoregressive":
        return pf.recipes.nsf(case.features, bins=case.bins, bound=BOUND, autoregressive=True, **sizes)
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
    return Fit(case, batches, compile=True) if case.kind in ("coupling", "autoregressive") else None


class KernelsOff:
    """One of the models above in plain torch: each call runs with the kernels off."""

    def __init__(self, make: Callable[[Case, np.ndarray], Any], case: Case, batches: np.ndarray) -> None:
        self._model = make(case, batches)
        self.num_parameters, self.measures = self._model.num_parameters, self._model.measures

    @property
    def training_seconds(self) -> float:
        """What the model says its steps alone took, if it does."""
        return self._model.training_seconds

    def train(self, num_steps: int) -> int:  # noqa: D102
        with kernels(False):
            return self._model.train(num_steps)

    def log_prob(self, x: np.ndarray) -> np.ndarray:  # noqa: D102
        with kernels(False):
            return self._model.log_prob(x)

    def sample(self, num_samples: int) -> np.ndarray:  # noqa: D102
        with kernels(False):
            return self._model.sample(num_samples)


def without_kernels(make: Callable[[Case, np.ndarray], Any], case: Case, batches: np.ndarray) -> KernelsOff | None:
    """Return the model in plain torch, for the flows that have kernels."""
    return KernelsOff(make, case, batches) if case.kind in ("coupling", "autoregressive") else None


def matrix_products(case: Case, num_rows: int, device: torch.device | None = None) -> Callable[..., None]:
    """Return what computes the products of the flow's networks and nothing else; told so, those of a training step.

    It takes fewer rows than the most that are given here, too.
    """
    widths = case.widths
    matrices = [torch.randn(a, b, device=device) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    values = [torch.randn(num_rows, width, device=device) for width in widths]

    def once(backward: bool, few: int | None = None) -> None:
        cut = [value[:few] for value in values]
        for _ in range(case.num_layers):
            for matrix, a, b in zip(matrices, cut[:-1], cut[1:], strict=True):
                torch.mm(a, matrix)
                if backward:
                    torch.mm(a.T, b)
                    torch.mm(b, matrix.T)

    return once


class Products:
    """The limit of arithmetic: a coupling flow's matrix products by torch alone, in chunks that fit the cache."""

    measures = ("log_prob_seconds", "sample_seconds")
    CHUNK = 1024  # rows; larger ones are slower on a CPU

    def __init__(self, case: Case, batches: np.ndarray) -> None:
        del batches
        pairs = zip(case.widths[:-1], case.widths[1:], strict=True)
        self.num_parameters = case.num_layers * sum((a + 1) * b for a, b in pairs)
        self._step, self._chunk = matrix_products(case, case.batch_size), matrix_products(case, self.CHUNK)

    def train(self, num_steps: int) -> int:
        """Compute the products of so many steps, forward and backward."""
        for _ in range(num_steps):
            self._step(True)
        return num_steps

    def log_prob(self, x: np.ndarray) -> None:
        """Compute the products that scoring x takes."""
        self.sample(len(x))

    def sample(self, num_samples: int) -> None:
        """Compute the products that so many samples take."""
        for start in range(0, num_samples, self.CHUNK):
            self._chunk(False, num_samples - start)


def limit(case: Case, batches: np.ndarray) -> Products | None:
    """Return the products of a flow that is little else."""
    return Products(case, batches) if case.kind == "coupling" else None


BUILDERS: dict[str, Callable[[Case, np.ndarray], Any]] = {
    "pushforward loop": loop,
    "pushforward loop, kernels off": partial(without_kernels, loop),
    "pushforward fit": fitted,
    "pushforward fit, kernels off": partial(without_kernels, fitted),
    "pushforward fit, compiled": compiled,
}
