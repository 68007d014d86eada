"""What images of digits are measured by: a forest, the nearest training images, and MMD to the test images."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.data.digits import Digits
from pushforward.studies.digits.models import Task
from pushforward.studies.kit.tables import spread


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
        num_trees: Of the forest; 50 if quick.
        most: Images of a set, and of the test images, that neighbours and MMD are measured on.
    """

    def __init__(
        self, data: Digits | Task, *, quick: bool = False, seed: int = 0, num_trees: int = 500, most: int = 10_000
    ) -> None:
        self.data, self.quick, self.most = data, quick, most
        num_trees = 50 if quick else num_trees
        self.forest = metrics.random_forest(data.train.x, data.train.labels, num_trees=num_trees, seed=seed)

    def judge(self, images: Tensor) -> metrics.Judgement:
        """Return the forest's labels and confidence."""
        return metrics.judge(self.forest, images)

    def distances(self, images: Tensor) -> Tensor:
        """Return the distance of each image to the nearest training image, in levels."""
        return metrics.nearest_neighbour_distance(images, self.data.train.x)

    @property
    def _test(self) -> Tensor:
        return self.data.test.x[: self.most]

    @cached_property
    def _near(self) -> float:
        return self.distances(self._test).quantile(0.01).item()

    @cached_property
    def _bandwidth(self) -> float:
        return metrics.median_bandwidth(self._test, self.data.train.x)

    def quality(self, images: Tensor) -> Quality:
        """Return the figures for images (n, 64), levels."""
        judgement = self.judge(images)
        shares = judgement.predicted.bincount() / len(images)
        # Images asked for label by label lie in that order.
        picked = images[torch.linspace(0, len(images) - 1, min(len(images), self.most)).long()]
        distances = self.distances(picked)
        null = metrics.mmd_null(
            picked, self._test, bandwidth=self._bandwidth, num_permutations=20 if self.quick else 200
        )
        return Quality(
            confidence=judgement.mean_confidence(),
            labels_shown=math.exp(-torch.special.xlogy(shares, shares).sum().item()),
            distance=distances.mean().item(),
            near_share=(distances < self._near).double().mean().item(),
            mmd=null.observed,
            mmd_p_value=null.p_value,
        )


QUALITY_NOTE = (
    "Images beside the real ones, mean (lowest to highest) over the seeds. Confidence: the mean probability that a "
    "forest trained on the real training images gives its own label. Labels shown: exp of the entropy of those labels, "
    "10 if all are as frequent. Distance: to the nearest training image, in levels; near: the share nearer to one than "
    "99 % of the real test images are. MMD²: unbiased, to the real test images; p of a permutation test."
)
QUALITY_HEADER = ["confidence", "labels shown", "distance", "near (%)", "MMD²", "p"]


def quality_cells(found: list[Quality]) -> list[str]:
    """Return the cells of `QUALITY_HEADER`, each over the seeds."""
    return [
        spread([one.confidence for one in found]),
        spread([one.labels_shown for one in found]),
        spread([one.distance for one in found]),
        spread([100 * one.near_share for one in found]),
        spread([one.mmd for one in found]),
        spread([one.mmd_p_value for one in found]),
    ]


def mean_quality(found: list[Quality]) -> dict[str, float]:
    """Return the mean of every figure over the seeds, by name."""
    tables = [asdict(one) for one in found]
    return {name: fmean(table[name] for table in tables) for name in tables[0]}
