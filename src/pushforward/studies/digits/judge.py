"""What images of digits are measured by: a forest, the nearest training images, and MMD to the test images."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.data import LabelledImages
from pushforward.studies.kit.tables import Columns, Score, spread, values

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

    def quality(self, images: Tensor) -> Score:
        """Return what images (n, 64) of levels look like to the forest, and beside the real ones."""
        judgement = self.judge(images)
        shares = judgement.predicted.bincount() / len(images)
        # Images asked for label by label lie in that order.
        picked = images[torch.linspace(0, len(images) - 1, min(len(images), self.most)).long()]
        distances = metrics.nearest_neighbour_distance(picked, self.train.x)
        num_permutations = 20 if self.quick else 200
        null = metrics.mmd_null(picked, self._test, bandwidth=self._bandwidth, num_permutations=num_permutations)
        return Score(
            confidence=judgement.mean_confidence(),
            labels_shown=math.exp(-torch.special.xlogy(shares, shares).sum().item()),
            distance=distances.mean().item(),
            near_share=(distances < self._near).double().mean().item(),
            mmd=null.observed,
            mmd_p_value=null.p_value,
        )

    def judged(self, images: Tensor, labels: Tensor) -> Score:
        """Return the quality of images that have a label, and how often, and how surely, the forest sees it."""
        judgement = self.judge(images)
        return Score(
            **vars(self.quality(images)),
            accuracy=judgement.accuracy(labels),
            by_label=judgement.accuracy_by_label(labels),
            confidence_by_label=judgement.confidence_by_label(labels),
        )

    @cached_property
    def real(self) -> Score:
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
