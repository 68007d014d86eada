"""The models of the studies on digits, how they are trained, and what their images are measured by."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward import losses, metrics, recipes
from pushforward.data.digits import LEVELS, Digits, LabelledImages, digits
from pushforward.flow import Flow
from pushforward.losses import Batch
from pushforward.nets import MLP
from pushforward.studies.record import Record
from pushforward.tables.baselines import Gaussian
from pushforward.training import History
from pushforward.transforms import Logit, Scale, Standardize

NUM_LABELS = 10
PIXELS = 64
QUICK_ROWS = 120  # of each part, in the quick form


@dataclass(frozen=True)
class Recipe:
    """A flow and how it is trained.

    Attributes:
        make: From the number of context features to an untrained flow.
        steps: Training steps.
        options: Further options of `fit`.
    """

    make: Callable[[int], Flow]
    steps: int
    options: dict[str, Any] = field(default_factory=dict)


def source_flow(context_features: int = 0, *, num_blocks: int = 8, width: int = 128) -> Flow:
    """Return the source's RealNVP: log-scale tanh, random rotations between the blocks; pixels in [0, 1]."""
    return recipes.realnvp(
        PIXELS,
        num_layers=num_blocks,
        hidden_features=(width, width),
        context_features=context_features,
        log_scale="tanh",
        mixing="orthogonal",
        preprocessing=[Scale(1 / (LEVELS - 1))],
    )


def our_flow(context_features: int = 0) -> Flow:
    """Return affine couplings with dropout behind a logit, which gives a pixel's ends, 0 and 16, room."""
    return recipes.realnvp(
        PIXELS,
        num_layers=8,
        hidden_features=(128, 128),
        context_features=context_features,
        dropout=0.2,
        mixing="permute",
        preprocessing=[Scale(1 / LEVELS), Logit(0.02)],
    )


# The source trains with Adam at 1e-3 and starts with 10 epochs; an epoch is 10 batches of 100.
ADAM = {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 100, "clip_norm": None}
START = Recipe(lambda context_features: source_flow(context_features, num_blocks=2), 100, ADAM)
SOURCE = Recipe(source_flow, 1_000, ADAM)
OURS = Recipe(our_flow, 1_500, {"learning_rate": 2e-3, "optimizer": "adamw", "batch_size": 128})


def one_hot(labels: Tensor) -> Tensor:
    """Return labels (n,) as context (n, 10)."""
    return functional.one_hot(labels, NUM_LABELS).float()


def to_levels(x: Tensor) -> Tensor:
    """Return the images that continuous values stand for, k for [k, k + 1), int64 from 0 to 16."""
    return x.floor().clamp(0, LEVELS - 1).long()


def middles(x: Tensor) -> Tensor:
    """Return the middle of each level, k + 1/2: an image without noise as a flow for dequantized images sees it."""
    return x.float() + 0.5


def load(record: Record) -> Digits:
    """Return the digits, split by the study's seed; a few of each part in the quick form."""
    data = digits(seed=record.seed)
    if record.quick:
        data = Digits(*(LabelledImages(part.x[:QUICK_ROWS], part.labels[:QUICK_ROWS]) for part in data))
    return data


def train(
    record: Record,
    label: str,
    recipe: Recipe,
    data: Digits,
    seed: int,
    *,
    conditional: bool = False,
    loss: Callable[..., Tensor] = losses.nll,
    steps: int | None = None,
) -> tuple[Flow, History]:
    """Return the recipe's flow trained on the training images; the validation images choose the step."""
    torch.manual_seed(seed)
    flow = recipe.make(NUM_LABELS if conditional else 0)
    return flow, fit(record, label, flow, data, steps or recipe.steps, loss=loss, seed=seed, **recipe.options)


def fit(record: Record, label: str, model: nn.Module, data: Digits, steps: int, **options: Any) -> History:
    """Train any model on the dequantized training images, with their labels where it takes a context."""
    takes_labels = bool(getattr(model, "context_features", 0))
    rows = [(part.x, one_hot(part.labels) if takes_labels else None) for part in (data.train, data.validation)]
    steps = min(steps, 30) if record.quick else steps
    return record.fit(label, model, *rows[0], validation=rows[1], dequantize=LEVELS, num_steps=steps, **options)


def context_of(model: Any, labels: Tensor) -> Tensor | None:
    """Return the context of images with these labels, None where the model takes none."""
    return one_hot(labels) if getattr(model, "context_features", 0) else None


def test_nll(model: Any, part: LabelledImages) -> metrics.Score:
    """Return the NLL of dequantized images in nats, given their labels where the model takes them."""
    return metrics.nll(model, part.x, context_of(model, part.labels), dequantize=LEVELS)


def bits(nats: float) -> float:
    """Return nats of an image as bits a pixel."""
    return metrics.bits_per_dim(nats, PIXELS)


class Autoencoder(nn.Module):
    """A small autoencoder with k codes, and a Gaussian fitted to its codes to sample from.

    Args:
        k: Number of codes.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        hidden = {"hidden_features": (128, 128), "dropout": 0.1}
        self.encoder = MLP(PIXELS, k, **hidden)
        self.decoder = MLP(k, PIXELS, **hidden)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, (n, k)."""
        return self.encoder(2 * x / LEVELS - 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return images of codes, (n, 64), values in (0, 17)."""
        return LEVELS * torch.sigmoid(self.decoder(codes))


def rebuilding_error(model: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Squared error of each rebuilt image, summed over the pixels: the loss of an autoencoder."""
    return (batch.x - model.decode(model.encode(batch.x))).square().sum(-1)  # type: ignore[operator]


class PrincipalComponents:
    """The linear autoencoder: the k directions of largest variance of the training images.

    Args:
        x: (n, 64), training images, middles of their levels.
        k: Number of directions.
    """

    def __init__(self, x: Tensor, k: int) -> None:
        self.mean = x.mean(0)
        self.directions = torch.linalg.svd(x - self.mean, full_matrices=False)[2][:k]

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, (n, k)."""
        return (x - self.mean) @ self.directions.T

    def decode(self, codes: Tensor) -> Tensor:
        """Return images of codes, (n, 64)."""
        return codes @ self.directions + self.mean


def sampled_codes(codes: Tensor, num_samples: int, seed: int) -> Tensor:
    """Draw new codes from a Gaussian fitted to codes (n, k): an autoencoder has no law of its own for them."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.linalg.cholesky(codes.T.cov().reshape(codes.shape[1], -1))
    return codes.mean(0) + torch.randn(num_samples, codes.shape[1], generator=generator) @ factor.T


class LabelGaussians:
    """One Gaussian a label, mean and shrunk covariance of the label's dequantized training images: what to beat.

    Args:
        x: (n, 64), dequantized images.
        labels: (n,).
    """

    context_features = NUM_LABELS

    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.scaling = Standardize(PIXELS)
        self.scaling.initialize(x)
        y = self.scaling(x.double())[0]
        self.gaussians = [Gaussian(y[labels == label]) for label in range(NUM_LABELS)]

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | label) in nats, (n,)."""
        y, log_det = self.scaling(x.double())
        each = torch.stack([gaussian.log_prob(y) for gaussian in self.gaussians], -1)
        assert context is not None
        return (each * context).sum(-1) + log_det

    def sample(
        self, num_samples: int, context: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw images, (labels, num_samples, 64); context is one-hot rows."""
        noise = torch.randn(len(context), num_samples, PIXELS, dtype=torch.float64, generator=generator)
        drawn = [
            self.gaussians[int(row.argmax())].mean_and_spread(z, temperature)
            for row, z in zip(context, noise, strict=True)
        ]
        return self.scaling.inverse(torch.stack(drawn))[0]


@dataclass(frozen=True)
class Quality:
    """What images look like to a forest trained on real ones, and beside the real ones.

    Attributes:
        confidence: Mean probability of the forest's label.
        labels_shown: Number of labels seen, exp of the entropy of the forest's labels: 10 if all are as frequent.
        distance: Mean distance to the nearest training image, in levels.
        near_share: Share of images nearer to a training image than 99 % of the real test images are.
        mmd: Unbiased squared MMD to the test images, Gaussian kernel of one fixed width.
        mmd_p_value: Of a permutation test.
    """

    confidence: float
    labels_shown: float
    distance: float
    near_share: float
    mmd: float
    mmd_p_value: float


class Judge:
    """Measures images: a forest trained on the real training images, their neighbours, and MMD to the test images.

    Args:
        data: The digits.
        quick: Whether a small forest is enough.
        seed: Of the forest.
    """

    def __init__(self, data: Digits, *, quick: bool = False, seed: int = 0) -> None:
        self.data, self.quick = data, quick
        self.forest = metrics.random_forest(
            data.train.x, data.train.labels, num_trees=50 if quick else 500, seed=seed
        )

    def judge(self, images: Tensor) -> metrics.Judgement:
        """Return the forest's labels and confidence."""
        return metrics.judge(self.forest, images)

    def distances(self, images: Tensor) -> Tensor:
        """Return the distance of each image to the nearest training image, in levels."""
        return metrics.nearest_neighbour_distance(images, self.data.train.x)

    @cached_property
    def _near(self) -> float:
        return self.distances(self.data.test.x).quantile(0.01).item()

    @cached_property
    def _bandwidth(self) -> float:
        return metrics.median_bandwidth(self.data.test.x, self.data.train.x)

    def quality(self, images: Tensor) -> Quality:
        """Return the figures for images (n, 64), levels."""
        judgement, distances = self.judge(images), self.distances(images)
        shares = judgement.predicted.bincount() / len(images)
        null = metrics.mmd_null(
            images, self.data.test.x, bandwidth=self._bandwidth, num_permutations=20 if self.quick else 200
        )
        return Quality(
            confidence=judgement.mean_confidence(),
            labels_shown=math.exp(-torch.special.xlogy(shares, shares).sum().item()),
            distance=distances.mean().item(),
            near_share=(distances < self._near).double().mean().item(),
            mmd=null.observed,
            mmd_p_value=null.p_value,
        )
