"""Models trained alike from several seeds, scored by a function, and shown as one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn

from pushforward.flows.in_words import num_parameters
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import Columns, values
from pushforward.training import History

QUICK = {"num_steps": 30}


@dataclass(frozen=True)
class Candidate:
    """A model that is compared with others, and how it is trained.

    Attributes:
        name: As tables and answers call it.
        make: Returns it untrained; torch's generator, seeded before, decides its weights.
        options: Those of `pf.fit`.
        quick: Length of the training in the quick form, in place of the one among the options.
        as_long_as: Key of a candidate before it: this one trains for the seconds that the other took from the same
            seed, and the options give no length.
    """

    name: str
    make: Callable[..., nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=lambda: QUICK)
    as_long_as: str | None = None


@dataclass(frozen=True)
class Trained:
    """A model trained from one seed; one that is not trained by `pf.fit` has no history."""

    model: Any
    seed: int
    history: History | None = None

    @property
    def parameters(self) -> int:
        """How many trained numbers the model has."""
        return num_parameters(self.model)

    @property
    def seconds(self) -> float:
        """How long it was trained."""
        return 0.0 if self.history is None else self.history.seconds

    @property
    def minutes(self) -> float:
        """How long it was trained."""
        return self.seconds / 60


def train(
    record: Record,
    label: str,
    candidate: Candidate,
    rows: Any,
    seed: int,
    *,
    arguments: Sequence[Any] = (),
    **options: Any,
) -> Trained:
    """Train one candidate from one seed.

    Args:
        record: Keeps what the training took.
        label: Name of the run.
        candidate: What to train.
        rows: Training rows, or a tuple of rows and context.
        seed: Of the weights and of the training.
        arguments: Handed to the candidate's `make`.
        **options: Of `Record.fit`; the candidate's own come before them.
    """
    torch.manual_seed(seed)
    model = candidate.make(*arguments)
    rows = rows if isinstance(rows, tuple) else (rows,)
    history = record.fit(label, model, *rows, seed=seed, quick=candidate.quick, **{**options, **candidate.options})
    return Trained(model, seed, history)


@dataclass
class Comparison:
    """Models of several names, each trained from several seeds.

    Attributes:
        record: Keeps scores and tables.
        names: Key of a model in the numbers -> its name in tables.
        trained: Key -> the model of every seed.
        scores: Key -> the score of every seed, once the models are judged.

    Example::

        flows = Comparison(record).train({"affine": Candidate("affine couplings", make)}, lambda seed: data[seed].x)
        flows.score(lambda one: quality(one.model, data[one.seed].density), keep="{key}")
        flows.table("Nats.", "model", QUALITY_COLUMNS)
    """

    record: Record
    names: dict[str, str] = field(default_factory=dict)
    trained: dict[str, list[Trained]] = field(default_factory=dict)
    scores: dict[str, list[Any]] = field(default_factory=dict)

    def train(
        self,
        candidates: Mapping[str, Candidate],
        rows: Callable[[int], Any],
        *,
        seeds: Sequence[int] | None = None,
        label: str = "{key}, seed {seed}",
        **options: Any,
    ) -> Self:
        """Train candidates from every seed and add them.

        Args:
            candidates: By the key of their numbers.
            rows: From a seed to what `train` takes as rows.
            seeds: By default those of the record.
            label: Name of a run, where "{key}", "{name}" and "{seed}" stand for those of the candidate.
            **options: Those of the function `train`, for all candidates.
        """
        for key, candidate in candidates.items():
            self.names[key], self.trained[key] = candidate.name, []
            for index, seed in enumerate(self.record.seeds() if seeds is None else seeds):
                named = label.format(key=key, name=candidate.name, seed=seed)
                equal: dict[str, Any] = {}
                if candidate.as_long_as is not None:
                    equal = {"equal_seconds": self.trained[candidate.as_long_as][index].seconds}
                self.trained[key].append(train(self.record, named, candidate, rows(seed), seed, **options, **equal))
        return self

    def add(self, key: str, name: str, trained: Sequence[Trained]) -> Self:
        """Add a model that was made in another way."""
        self.names[key], self.trained[key] = name, list(trained)
        return self

    def first(self, key: str) -> Any:
        """Return the model of the first seed."""
        return self.trained[key][0].model

    def histories(self) -> dict[str, History]:
        """Return the runs of the first seed, by the names of the models that `pf.fit` trained."""
        runs = {self.names[key]: trained[0].history for key, trained in self.trained.items()}
        return {name: history for name, history in runs.items() if history is not None}

    def score(self, judge: Callable[[Trained], Any], *, keep: str = "", by_seed: bool = False) -> Self:
        """Judge every model of every seed, and keep the scores, also as numbers after each seed.

        Args:
            judge: From a trained model to its score, a `Score` or a dataclass.
            keep: Key of the numbers, where "{key}" stands for that of the model; "" keeps none.
            by_seed: Whether the numbers are a list of tables, one a seed, and not a table of lists, one a field.
        """
        for key, trained in self.trained.items():
            mine = self.scores[key] = []
            for one in trained:
                mine.append(judge(one))
                if keep:
                    kept = mine if by_seed else {name: values(mine, name) for name in vars(mine[0])}
                    self.record.number(keep.format(key=key), kept, again=len(mine) > 1)
        return self

    def table(self, title: str, first: str, columns: Columns) -> None:
        """Add a table of the scores with a row for each model; `first` heads the column of their names."""
        self.record.scores(title, first, columns, {self.names[key]: found for key, found in self.scores.items()})


def drawn(model: Any, num_samples: int, seed: int, **options: Any) -> Any:
    """Return samples of a model that a seed repeats; options are those of its `sample`."""
    return model.sample(num_samples, generator=torch.Generator().manual_seed(seed), **options)
