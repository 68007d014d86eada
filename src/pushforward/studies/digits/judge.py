"""What images of digits are measured by: a forest, the nearest training images, and MMD to the test images."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.data import LabelledImages
from pushforward.studies.kit.tables import Columns, spread, values


@dataclass(frozen=True)
class ImageQuality:
    """What images look like to a forest trained on real ones, and beside the real ones."""

    confidence: float  # mean probability of the forest's label
    labels_shown: float  # exp of the entropy of the forest's labels, 10 if all are as frequent
    distance: float  # mean distance to the nearest training image, in levels
    near_share: float  # share of images nearer to a training image than 99 % of the real test images are
    mmd: float  # unbiased squared MMD to the test images, Gaussian kernel of one fixed width
    mmd_p_value: float  # of a permutation test


QUALITY_NOTE = (
    "Images beside the real ones, mean (lowest to highest) over the seeds. Confidence: the mean probability that a "
    "forest trained on the real training images gives its own label. Labels shown: exp of the entropy of those labels, "
    "10 if all are as frequent. Distance: to the nearest training image, in levels; near: the share nearer to one than "
    "99 % of the real test images are. MMD²: unbiased, to the real test images; p of a permutation test."
)
QUALITY_COLUMNS: Columns = (
    ("confidence", "confidence"),
    ("labels shown", "labels_shown"),
    ("distance", "distance"),
    ("near (%)", lambda scores: spread([100 * share for share in values(scores, "near_share")])),
    ("MMD²", "mmd"),
    ("p", "mmd_p_value"),
)


@dataclass(frozen=True)
class Judged:
    """Images that have a label, or were drawn for one: how often, and how surely, the forest sees it."""

    quality: ImageQuality
    accuracy: float
    by_label: dict[int, float]
    confidence_by_label: dict[int, float]

    def numbers(self) -> dict[str, Any]:
        """Return the figures in one table, to keep."""
        table = asdict(self)
        return table.pop("quality") | table


@dataclass
class Judge:
    """Measures images: a forest trained on the real training images, their neighbours, and MMD to the test images."""

    train: LabelledImages
    test: LabelledImages
    quick: bool = False  # whether 50 trees and 20 permutations are enough
    num_trees: int = 500
    most: int = 10_000  # images of a set, and of the test images, that neighbours and MMD are measured on

    def judge(self, images: Tensor) -> metrics.Judgement:
        """Return the forest's labels and confidence."""
        return metrics.judge(self._forest, images)

    def quality(self, images: Tensor) -> ImageQuality:
        """Return the figures for images (n, 64), levels."""
        judgement = self.judge(images)
        shares = judgement.predicted.bincount() / len(images)
        # Images asked for label by label lie in that order.
        picked = images[torch.linspace(0, len(images) - 1, min(len(images), self.most)).long()]
        distances = metrics.nearest_neighbour_distance(picked, self.train.x)
        num_permutations = 20 if self.quick else 200
        null = metrics.mmd_null(picked, self._test, bandwidth=self._bandwidth, num_permutations=num_permutations)
        return ImageQuality(
            confidence=judgement.mean_confidence(),
            labels_shown=math.exp(-torch.special.xlogy(shares, shares).sum().item()),
            distance=distances.mean().item(),
            near_share=(distances < self._near).double().mean().item(),
            mmd=null.observed,
            mmd_p_value=null.p_value,
        )

    def judged(self, images: Tensor, labels: Tensor) -> Judged:
        """Return the figures for images (n, 64) with labels (n,)."""
        judgement = self.judge(images)
        accuracies, confidences = judgement.accuracy_by_label(labels), judgement.confidence_by_label(labels)
        return Judged(self.quality(images), judgement.accuracy(labels), accuracies, confidences)

    @cached_property
    def real(self) -> Judged:
        """The figures for the real test images."""
        return self.judged(*self.test)

    @cached_property
    def _forest(self) -> Any:
        return metrics.random_forest(*self.train, num_trees=50 if self.quick else self.num_trees)

    @property
    def _test(self) -> Tensor:
        return self.test.x[: self.most]

    @cached_property
    def _near(self) -> float:
        return metrics.nearest_neighbour_distance(self._test, self.train.x).quantile(0.01).item()

    @cached_property
    def _bandwidth(self) -> float:
        return metrics.median_bandwidth(self._test, self.train.x)
