"""The flows of the study three-sets: the source's RealNVP and continuous flow, and ours, each with its training."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pushforward import losses, recipes
from pushforward.flow import Flow
from pushforward.studies.record import Record
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
        stages: Options of `fit`, one after another.
        seeds: Number of seeds.
    """

    name: str
    make: Callable[[], Flow]
    stages: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    seeds: int = 5

    def train(self, record: Record, x: Tensor, place: str, seed: int) -> "Trained":
        """Return the trained flow and what training took."""
        torch.manual_seed(seed)
        flow = self.make()
        histories = []
        with _counted(flow) as count:
            for number, stage in enumerate(self.stages, 1):
                options = {**stage, **({"epochs": None, "num_steps": 10} if record.quick else {})}
                part = f", stage {number}" if len(self.stages) > 1 else ""
                histories.append(record.fit(f"{place}: {self.name}, seed {seed}{part}", flow, x, seed=seed, **options))
        return Trained(self, flow, histories, count() if count else None)


@dataclass(frozen=True)
class Trained:
    """A flow after training.

    Attributes:
        model: What was trained.
        flow: The flow, with its best weights.
        histories: One for each stage.
        evaluations: How often training evaluated the velocity on a batch, None where there is none.
    """

    model: Model
    flow: Flow
    histories: list[History]
    evaluations: int | None

    @property
    def seconds(self) -> float:
        """Seconds of training, all stages."""
        return sum(history.seconds for history in self.histories)

    @property
    def curve(self) -> list[tuple[float, float, float]]:
        """Epochs and seconds so far and the training NLL, of the stages trained by maximum likelihood."""
        epochs = seconds = 0.0
        points = []
        for stage, history in zip(self.model.stages, self.histories, strict=True):
            if "loss" not in stage:
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
    return recipes.cnf(2, hidden_features=(48, 48), method="rk4", num_steps=8)


_PLAIN = {"batch_size": 64, "num_steps": 1_500, "validation": 0.2}  # the best of the validation chooses the weights
_AS_SOURCE: dict[str, Any] = {"batch_size": BATCH, "schedule": "constant", "validation": None, "clip_norm": None}
MATCHING = {**_PLAIN, "num_steps": 3_000, "batch_size": 256, "loss": losses.flow_matching}

SOURCES = (
    Model(
        "RealNVP (source)",
        lambda: recipes.realnvp(
            2, num_layers=5, hidden_features=(32, 32), activation="gelu", log_scale="plain", mixing="flip"
        ),
        ({**_AS_SOURCE, "epochs": SOURCE_EPOCHS["realnvp"], "learning_rate": 1e-3},),
        seeds=1,
    ),
    Model(
        "continuous (source)",
        lambda: recipes.cnf(2, hidden_features=(32, 64), velocity="hypernetwork", adjoint=True),
        ({**_AS_SOURCE, "epochs": SOURCE_EPOCHS["continuous"], "learning_rate": 3e-3},),
        seeds=1,
    ),
)
OURS = (
    Model("planar", _ours(lambda: recipes.planar(2, num_layers=16)), (_PLAIN,)),
    Model("radial", _ours(lambda: recipes.planar(2, num_layers=16, kind="radial")), (_PLAIN,)),
    Model("Sylvester", _ours(lambda: recipes.planar(2, num_layers=8, kind="sylvester")), (_PLAIN,)),
    Model("RealNVP", _ours(lambda: recipes.realnvp(2, num_layers=6, hidden_features=(32, 32))), (_PLAIN,)),
    Model("spline", _ours(lambda: recipes.nsf(2, num_layers=4, hidden_features=(32, 32), dropout=0.1)), (_PLAIN,)),
    Model(
        "continuous, likelihood",
        _ours(_continuous),
        ({**_PLAIN, "num_steps": 400},),
    ),
    Model("continuous, matching", _ours(_continuous), (MATCHING,)),
    Model(
        "continuous, matching then likelihood",
        _ours(_continuous),
        (MATCHING, {**_PLAIN, "num_steps": 100, "learning_rate": 1e-3}),
    ),
)
