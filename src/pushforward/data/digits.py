"""Handwritten digits of 8 x 8 pixels with integer levels, split once for training, choosing and testing."""

from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.display import shapes
from pushforward.errors import InputError, require_number, require_seed

LEVELS = 17
"""Values a pixel of the digits takes, 0 to 16: the `dequantize` of `fit` and `metrics.nll`."""


class LabelledImages(NamedTuple):
    """Images with their labels.

    Attributes:
        x: (n, D), the flattened pixels: int64 from 0 to 16 of `digits`, uint8 from 0 to 255 of `mnist`.
        labels: (n,), int64, 0 to 9.
    """

    x: Tensor
    labels: Tensor

    def __repr__(self) -> str:
        return shapes(self)


class Digits(NamedTuple):
    """The three parts of the digits, with no image in two of them.

    Attributes:
        train: To learn from.
        validation: To stop training and to choose settings by.
        test: To report, and for nothing else.
    """

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


def digits(*, validation: float = 0.2, test: float = 0.2, seed: int = 0) -> Digits:
    """Return scikit-learn's 1,797 handwritten digits, split so that each part has the same share of every label.

    A pixel is the number of inked dots in a 4 x 4 block of the scanned digit, 0 to 16: give it to `fit` and
    `metrics.nll` with `dequantize=17`.

    Args:
        validation: Share of the validation part.
        test: Share of the test part.
        seed: Seed of the split.

    Raises:
        ValueError: If the shares are not above 0 or leave nothing to train on.

    Example:
        >>> train, validation, test = digits()
        >>> train.x.shape, len(validation.x), len(test.x)
        (torch.Size([1077, 64]), 360, 360)

    References:
        Alpaydin & Kaynak (1998), Optical recognition of handwritten digits. UCI Machine Learning Repository.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    validation = require_number("validation", validation, above=0, below=1)
    test = require_number("test", test, above=0, below=1)
    seed = require_seed(seed) % 2**32  # all that scikit-learn tells apart
    if validation + test >= 1:
        raise InputError(f"validation and test must be above 0 and add up to less than 1; got {validation} and {test}.")
    x, labels = load_digits(return_X_y=True)
    rest, held, rest_labels, held_labels = train_test_split(
        x, labels, test_size=test, stratify=labels, random_state=seed
    )
    parts = train_test_split(
        rest, rest_labels, test_size=validation / (1 - test), stratify=rest_labels, random_state=seed
    )
    train_x, validation_x, train_labels, validation_labels = parts
    return Digits(_images(train_x, train_labels), _images(validation_x, validation_labels), _images(held, held_labels))


def _images(x: object, labels: object) -> LabelledImages:
    return LabelledImages(torch.as_tensor(x).long(), torch.as_tensor(labels).long())
