"""Generated rows judged by a classifier trained on real ones: do they show what their label says, and how clearly?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import require_count, require_seed
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.threads import one_thread_everywhere

MOST_SEEDS = 2**32  # that scikit-learn tells apart


@dataclass(frozen=True, repr=False)
class Judgement:
    """What a classifier says of rows.

    Attributes:
        predicted: (n,), int64, the most probable label of each row.
        confidence: (n,), float64, its probability by the classifier.
    """

    predicted: Tensor
    confidence: Tensor

    def __repr__(self) -> str:
        return f"Judgement({len(self.predicted):,} rows, mean confidence {self.mean_confidence():.3f})"

    def accuracy(self, labels: Any) -> float:
        """Return the share of rows whose predicted label is the one given, (n,)."""
        return (self.predicted == self._checked(labels)).double().mean().item()

    def accuracy_by_label(self, labels: Any) -> dict[int, float]:
        """Return the same for the rows of each label."""
        return self._by_label((self.predicted == self._checked(labels)).double(), labels)

    def accuracy_error(self, labels: Any) -> float:
        """Return the binomial standard error of the accuracy."""
        share = self.accuracy(labels)
        return math.sqrt(share * (1 - share) / len(self.predicted))

    def mean_confidence(self) -> float:
        """Return the mean probability of the predicted labels."""
        return self.confidence.mean().item()

    def confidence_by_label(self, labels: Any) -> dict[int, float]:
        """Return the same for the rows of each label given, (n,)."""
        return self._by_label(self.confidence, labels)

    def _by_label(self, values: Tensor, labels: Any) -> dict[int, float]:
        labels = self._checked(labels)
        return {int(label): values[labels == label].mean().item() for label in labels.unique()}

    def _checked(self, labels: Any) -> Tensor:
        labels = as_tensor(labels, "labels")
        if labels.shape != self.predicted.shape:
            raise ValueError(f"labels must have shape {tuple(self.predicted.shape)}; got {tuple(labels.shape)}.")
        return labels


@one_thread_everywhere()
def random_forest(x: Any, labels: Any, *, num_trees: int = 500, seed: int = 0) -> Any:
    """Return a random forest of scikit-learn fitted to rows x (n, D) with integer labels (n,), for `judge`."""
    from sklearn.ensemble import RandomForestClassifier

    num_trees, seed = require_count("num_trees", num_trees), require_seed(seed) % MOST_SEEDS
    return RandomForestClassifier(num_trees, random_state=seed).fit(_array(x), _array(labels))


@one_thread_everywhere()
def judge(classifier: Any, x: Any) -> Judgement:
    """Ask a classifier trained on real rows for the labels of other rows, such as generated ones.

    With generated rows the accuracy is also called GAN-test; the accuracy on real test rows is what a perfect model
    would reach, and a higher one shows rows that are too typical rather than a better model.

    Args:
        classifier: Fitted, with `predict_proba` and `classes_` as in scikit-learn; `random_forest` makes one.
        x: (n, D), in the units that the classifier was trained in.

    Example:
        >>> x = torch.cat([torch.randn(50, 2), 9 + torch.randn(50, 2)])
        >>> labels = torch.arange(2).repeat_interleave(50)
        >>> judge(random_forest(x, labels, num_trees=10), x).accuracy(labels) > 0.9
        True

    References:
        Shmelkov, Schmid & Alahari (2018), How good is my GAN? arXiv:1807.09499.
    """
    probabilities = torch.from_numpy(classifier.predict_proba(_array(x)))
    confidence, column = probabilities.max(1)
    return Judgement(torch.as_tensor(np.asarray(classifier.classes_)).long()[column], confidence.double())


def _array(value: Any) -> np.ndarray:
    return as_tensor(value, "x").detach().cpu().numpy()
