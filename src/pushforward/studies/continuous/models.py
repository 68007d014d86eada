"""The flows of the study three-sets: the source's RealNVP and continuous flow, and ours, each with its training."""

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pushforward import losses, recipes
from pushforward.flows import Flow
from pushforward.studies.kit.record import Record
from pushforward.training import History
from pushforward.transforms import Continuous, Standardize

BATCH = 32  # the source's
SOURCE_EPOCHS = {"realnvp": 200, "continuous": 100}


@dataclass(frozen=True)
class Model:
    """A flow and how it is trained.

    Attributes:
        name: As the tables call it.
        make: Seedless constructor; torch's generator decides the weights.
        options: Those of `fit`.
        seeds: Number of seeds.
        start: The model whose trained flow this one goes on from, "" for a new flow.
    """

    name: str
    make: Callable[[], Flow]
    options: dict[str, Any]
    seeds: int = 5
    start: str = ""

    def train(self, record: Record, x: Tensor, place: str, seed: int, before: "Trained | None") -> "Trained":
        """Return the trained flow and what training took, that of `before`, where it starts, included."""
        torch.manual_seed(seed)
        flow = copy.deepcopy(before.flow) if before else self.make()
        options = {**self.options, **({"epochs": None, "num_steps": 10} if record.quick else {})}
        with _counted(flow) as count:
            history = record.fit(f"{place}: {self.name}, seed {seed}", flow, x, seed=seed, **options)
            evaluations = count() if count else None
        if before is None or evaluations is None or before.evaluations is None:
            return Trained([(self, history)], flow, evaluations)
        return Trained([*before.stages, (self, history)], flow, before.evaluations + evaluations)


@dataclass(frozen=True)
class Trained:
    """A flow after training.

    Attributes:
        stages: Each model trained on the way, the last one included, and its history.
        flow: The flow, with its best weights.
        evaluations: How often training evaluated the velocity on a batch, None where there is none.
    """

    stages: list[tuple[Model, History]]
    flow: Flow
    evaluations: int | None

    @property
    def seconds(self) -> float:
        """Seconds of training, all stages."""
        return sum(history.seconds for _, history in self.stages)

    @property
    def steps(self) -> int:
        """Steps of training, all stages."""
        return sum(history.steps for _, history in self.stages)

    @property
    def curve(self) -> list[tuple[float, float, float]]:
        """Epochs and seconds so far and the training NLL, of the stages trained by maximum likelihood."""
        epochs = seconds = 0.0
        points = []
        for model, history in self.stages:
            if "loss" not in model.options:
                points += [(epochs + r["epoch"], seconds + r["seconds"], r["train_loss"]) for r in history.rows]
            epochs, seconds = epochs + history.rows[-1]["epoch"], seconds + history.seconds
        return points


@contextmanager
def _counted(flow: Flow) -> Iterator[Callable[[], int] | None]:
    """Count the calls of a continuous flow's velocity, with and without its divergence."""
    if not isinstance(flow.transform, Continuous):
        yield None
        return
    calls = itertools.count()
    velocity: Any = flow.transform.velocity
    plain, with_divergence = velocity.forward, velocity.with_divergence

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            next(calls)
            return function(*arguments)

        return called

    velocity.forward, velocity.with_divergence = counting(plain), counting(with_divergence)
    try:
        yield lambda: next(calls)
    finally:
        del velocity.forward, velocity.with_divergence


def _ours(make: Callable[[], Flow]) -> Callable[[], Flow]:
    """Return a constructor of the same flow with the data standardized inside."""

    def made() -> Flow:
        flow = make()
        return Flow(flow.transform, flow.base, [Standardize(2)])

    return made


def _continuous() -> Flow:
    return recipes.cnf(2, hidden_features=(64, 64, 64), train_steps=4)


_PLAIN = {"batch_size": 64, "num_steps": 1_500, "validation": 0.2}  # the best of the validation chooses the weights
_AS_SOURCE: dict[str, Any] = {"batch_size": BATCH, "schedule": "constant", "validation": None, "clip_norm": None}
# Of few points, pairs drawn at random hardly repeat: optimal ones let the velocity settle.
MATCHING = {
    **_PLAIN,
    "num_steps": 4_000,
    "batch_size": 128,
    "learning_rate": 1e-2,
    "loss": partial(losses.flow_matching, pairing="optimal"),
}

SOURCES = (
    Model(
        "RealNVP (source)",
        lambda: recipes.realnvp(
            2, num_layers=5, hidden_features=(32, 32), activation="gelu", log_scale="plain", mixing="flip"
        ),
        {**_AS_SOURCE, "epochs": SOURCE_EPOCHS["realnvp"], "learning_rate": 1e-3},
        seeds=1,
    ),
    Model(
        "continuous (source)",
        lambda: recipes.cnf(2, hidden_features=(32, 64), velocity="hypernetwork", adjoint=True),
        {**_AS_SOURCE, "epochs": SOURCE_EPOCHS["continuous"], "learning_rate": 3e-3},
        seeds=1,
    ),
)
OURS = (
    Model("planar", _ours(lambda: recipes.planar(2, num_layers=16)), _PLAIN),
    Model("radial", _ours(lambda: recipes.planar(2, num_layers=16, kind="radial")), _PLAIN),
    Model("Sylvester", _ours(lambda: recipes.planar(2, num_layers=8, kind="sylvester")), _PLAIN),
    Model("RealNVP", _ours(lambda: recipes.realnvp(2, num_layers=6, hidden_features=(32, 32))), _PLAIN),
    Model("spline", _ours(lambda: recipes.nsf(2, num_layers=4, hidden_features=(32, 32), dropout=0.1)), _PLAIN),
    Model(
        "continuous, likelihood",
        _ours(lambda: recipes.cnf(2, hidden_features=(32, 64), velocity="hypernetwork", train_steps=4)),
        {**_PLAIN, "num_steps": 600, "learning_rate": 1e-2},
    ),
    Model("continuous, matching", _ours(_continuous), MATCHING),
    Model(
        "continuous, matching then likelihood",
        _ours(_continuous),
        {**_PLAIN, "num_steps": 150, "learning_rate": 1e-3},
        start="continuous, matching",
    ),
)
