"""A set of digits, the flows of the studies on it, and how they are trained and scored, with or without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

from torch import Tensor

from pushforward import Flow, metrics, recipes
from pushforward.data import LabelledImages, digits
from pushforward.data.digits import LEVELS
from pushforward.studies.digits.judge import Judge
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, one_hot
from pushforward.studies.kit.record import LENGTHS
from pushforward.studies.kit.tables import Columns, first, spread, values
from pushforward.transforms import Logit, Scale, Standardize, Transform

NUM_LABELS, PIXELS = 10, 64
QUICK = {"num_steps": 12}


def sources_realnvp(
    name: str = "RealNVP (source)", *, num_layers: int = 8, num_steps: int = 1_000, levels: int = LEVELS
) -> Candidate:
    """Return the source's RealNVP: log-scale tanh, random rotations between the blocks; pixels in [0, 1]."""
    recipe = partial(
        recipes.realnvp, num_layers=num_layers, hidden_features=(128, 128), log_scale="tanh", mixing="orthogonal"
    )
    adam = {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 100, "clip_norm": None}
    options = {"num_steps": num_steps, **adam}
    return _candidate(name, recipe, lambda: [Scale(1 / (levels - 1))], options)


def as_long_as_ours(source: Candidate) -> Candidate:
    """Return the source's RealNVP trained for the time that "ours" took, at a rate that falls from 0.001 to 0."""
    options = {name: value for name, value in source.options.items() if name not in LENGTHS}
    return replace(
        source,
        name="RealNVP, as long as ours, falling rate",
        options=options | {"schedule": "cosine"},
        as_long_as="ours",
    )


def behind_logit(
    name: str,
    recipe: Callable[..., Flow],
    num_layers: int,
    num_steps: int,
    batch_size: int,
    *,
    levels: int = LEVELS,
    alpha: float = 0.02,
    width: int = 128,
    dropout: float = 0.2,
) -> Candidate:
    """Return couplings of a recipe behind a logit, which gives a pixel's ends room."""
    # A random mask has its complement after it, so that no pixel is left as it is.
    recipe = partial(recipe, num_layers=num_layers, hidden_features=(width, width), dropout=dropout, mask="random")
    options = {"num_steps": num_steps, "batch_size": batch_size, "learning_rate": 2e-3, "optimizer": "adamw"}
    return _candidate(name, recipe, lambda: [Scale(1 / levels), Logit(alpha), Standardize(PIXELS)], options)


def _candidate(
    name: str, recipe: Callable[..., Flow], scaling: Callable[[], list[Transform]], options: dict[str, Any]
) -> Candidate:
    def make(context_features: int = 0) -> Flow:
        return recipe(PIXELS, context_features=context_features, preprocessing=scaling())

    return Candidate(name, make, options, QUICK)


SPLINES = behind_logit("spline couplings, logit, dropout (ours)", recipes.nsf, 6, 1_500, 64)
# Half the time a step, for the many trainings with a bottleneck.
AFFINE = behind_logit("affine couplings, logit, dropout (ours)", recipes.realnvp, 8, 800, 128)


@dataclass(frozen=True)
class Task:
    """A set of digits, and how flows are trained and judged on it."""

    train: LabelledImages
    validation: LabelledImages  # to stop training by
    test: LabelledImages
    judge: Judge
    levels: int = LEVELS  # values a pixel takes, 0 to levels - 1
    num_seeds: int = 3
    autoencoder_steps: int = 1_200
    resumable: bool = False  # as for `Record.fit`

    @property
    def seen(self) -> LabelledImages:
        """Images trained on, as many as are enough to compare with the test images."""
        return at_most(self.train, 5_000)

    @property
    def weight(self) -> float:
        """Of the squared error in levels beside the NLL: the nats of noise with a deviation of 2.2 of 17 levels."""
        return 0.1 * (LEVELS / self.levels) ** 2

    def fit(
        self, models: Comparison, candidates: Mapping[str, Candidate], *, given_labels: bool = False, **options: Any
    ) -> Comparison:
        """Train candidates on dequantized images, given their labels or not, and add them; see `Comparison.train`."""
        parts = (self.train, self.validation)
        rows, held_out = ((x, one_hot(labels, NUM_LABELS) if given_labels else None) for x, labels in parts)
        options |= {"validation": held_out, "dequantize": self.levels, "resumable": self.resumable}
        seeds, arguments = models.record.seeds(self.num_seeds), [NUM_LABELS] if given_labels else []
        return models.train(candidates, lambda seed: rows, seeds=seeds, arguments=arguments, **options)

    def nll(self, model: Any, part: LabelledImages | None = None) -> metrics.Score:
        """Return the NLL of dequantized images, by default the test's, given their labels where the model takes any."""
        x, labels = part or self.test
        return metrics.nll(model, x, context_of(model, labels), dequantize=self.levels)


def load_digits(record: Record) -> Task:
    """Return the digits, split by the study's seed; 120 of each part in the quick form."""
    train, validation, test = (at_most(part, record.size(None, quick=120)) for part in digits(seed=record.seed))
    return Task(train, validation, test, Judge(train, test, quick=record.quick))


def at_most(part: LabelledImages, num_rows: int | None) -> LabelledImages:
    """Return the first images of a part, all of them if the number is None."""
    return LabelledImages(part.x[:num_rows], part.labels[:num_rows])


def context_of(model: Any, labels: Tensor) -> Tensor | None:
    """Return the context of images with these labels, None where the model takes none."""
    return one_hot(labels, NUM_LABELS) if getattr(model, "context_features", 0) else None


def bits(nats: Sequence[float]) -> list[float]:
    """Return nats an image as bits a pixel."""
    return [metrics.bits_per_dim(value, PIXELS) for value in nats]


NLL_COLUMNS: Columns = (
    ("test NLL (nats)", "mean"),
    ("standard error", first("standard_error")),
    ("bits/dim", lambda scores: spread(bits(values(scores, "mean")))),
)


def nll_numbers(scores: Sequence[metrics.Score]) -> dict[str, list[float]]:
    """Return the NLL of one model's seeds as numbers to keep."""
    nats = values(scores, "mean")
    return {"nll": nats, "standard_error": values(scores, "standard_error"), "bits_per_dim": bits(nats)}


def seconds_of(trained: Sequence[Trained]) -> str:
    """Return how long the trainings of one model took on average, "" where nothing was trained step by step."""
    seconds = fmean(one.seconds for one in trained)
    return f"{seconds:.0f}" if seconds else ""


def less_or_more(difference: float) -> str:
    """Return "1.5 nats an image less", or more where the difference is negative."""
    return f"{abs(difference):.1f} nats an image {'less' if difference >= 0 else 'more'}"
