"""The flows of the study three-sets: the source's RealNVP and continuous flow, and ours, each with its training."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pushforward import Flow, losses, metrics, recipes
from pushforward.data import Sample
from pushforward.studies.kit import Candidate, Record
from pushforward.transforms import Standardize


@dataclass(frozen=True)
class Stage:
    """A flow trained once on one set; what that took is told with what the run took that it went on from."""

    flow: Flow
    seconds: float = 0.0
    steps: int = 0
    epochs: float = 0.0
    evaluations: int = 0  # of the velocity on a batch
    curve: tuple[tuple[float, float, float], ...] = ()  # epochs, seconds, training NLL, in training by likelihood
    train: float = math.nan  # NLL of the training points, nats
    test: float = math.nan
    standard_error: float = math.nan  # of the test NLL

    def reached(self, mark: float) -> tuple[float, float] | None:
        """Return epochs and seconds until the training NLL was at the mark, None if it never was."""
        return next(((epochs, seconds) for epochs, seconds, nll in self.curve if nll <= mark), None)


def trained(
    record: Record, place: str, candidate: Candidate, data: Sample, seed: int, before: Stage | None = None
) -> Stage:
    """Train a candidate, or go on training the flow of the run before, and score it."""
    torch.manual_seed(seed)
    untrained: Any = candidate.make()
    before = before or Stage(untrained)
    flow, options = copy.deepcopy(before.flow), candidate.options
    with _counted(flow) as calls:
        label = f"{place}: {candidate.name}, seed {seed}"
        history = record.fit(label, flow, data.train, seed=seed, quick=candidate.quick, **options)
        evaluations = before.evaluations + len(calls)
    curve = [(before.epochs + r["epoch"], before.seconds + r["seconds"], r["train_loss"]) for r in history.rows]
    test = metrics.nll(flow, data.test)
    return Stage(
        flow,
        before.seconds + history.seconds,
        before.steps + history.steps,
        curve[-1][0],
        evaluations,
        (*before.curve, *([] if "loss" in options else curve)),
        metrics.nll(flow, data.train).mean,
        test.mean,
        test.standard_error,
    )


@contextmanager
def _counted(flow: Flow) -> Iterator[list[None]]:
    """Yield a list that grows by one entry with each call of the flow's velocity, where it has one."""
    calls: list[None] = []
    velocity: Any = getattr(flow.transform, "velocity", None)

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            calls.append(None)
            return function(*arguments)

        return called

    if velocity is not None:
        velocity.forward, velocity.with_divergence = counting(velocity.forward), counting(velocity.with_divergence)
    try:
        yield calls
    finally:
        if velocity is not None:
            del velocity.forward, velocity.with_divergence


QUICK = {"num_steps": 10}
_AS_SOURCE = {"batch_size": 32, "schedule": "constant", "validation": None, "clip_norm": None}
_PLAIN = {"batch_size": 64, "num_steps": 1_500, "validation": 0.2}  # the best of the validation chooses the weights
# Of few points, pairs drawn at random hardly repeat: optimal ones let the velocity settle.
_OPTIMAL = partial(losses.flow_matching, pairing="optimal")
_MATCHING = {"num_steps": 4_000, "batch_size": 128, "learning_rate": 1e-2, "loss": _OPTIMAL}
_HYPERNETWORK: dict[str, Any] = {"hidden_features": (32, 64), "velocity": "hypernetwork"}
_MLP: dict[str, Any] = {"hidden_features": (64, 64, 64), "train_steps": 4}


def _source(name: str, recipe: Callable[..., Flow], options: Mapping[str, Any], **sizes: Any) -> Candidate:
    return Candidate(name, partial(recipe, 2, **sizes), {**_AS_SOURCE, **options}, QUICK)


def _ours(name: str, recipe: Callable[..., Flow], options: Mapping[str, Any] = _PLAIN, **sizes: Any) -> Candidate:
    def make() -> Flow:
        return recipe(2, preprocessing=[Standardize(2)], **sizes)

    return Candidate(name, make, {**_PLAIN, **options}, QUICK)


_REALNVP = {"num_layers": 5, "hidden_features": (32, 32), "activation": "gelu", "log_scale": "plain", "mixing": "flip"}
SOURCES = (
    _source("RealNVP (source)", recipes.realnvp, {"epochs": 200, "learning_rate": 1e-3}, **_REALNVP),
    _source("continuous (source)", recipes.cnf, {"epochs": 100, "learning_rate": 3e-3}, adjoint=True, **_HYPERNETWORK),
)
_LONG, _SHORT = {"num_steps": 600, "learning_rate": 1e-2}, {"num_steps": 150, "learning_rate": 1e-3}
OURS = (
    _ours("planar", recipes.planar, num_layers=16),
    _ours("radial", recipes.planar, num_layers=16, kind="radial"),
    _ours("Sylvester", recipes.planar, num_layers=8, kind="sylvester"),
    _ours("RealNVP", recipes.realnvp, num_layers=6, hidden_features=(32, 32)),
    _ours("spline", recipes.nsf, num_layers=4, hidden_features=(32, 32), dropout=0.1),
    _ours("continuous, likelihood", recipes.cnf, _LONG, train_steps=4, **_HYPERNETWORK),
    _ours("continuous, matching", recipes.cnf, _MATCHING, **_MLP),
    _ours("continuous, matching then likelihood", recipes.cnf, _SHORT, **_MLP),
)
STARTS = {"continuous, matching then likelihood": "continuous, matching"}  # model -> the one whose flow it goes on from
