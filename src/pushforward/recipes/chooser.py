"""The chooser: a recipe and its sizes from the number of rows and columns."""

from typing import Any

from torch import Tensor

from pushforward.flows import Flow
from pushforward.recipes.couplings import nsf, realnvp
from pushforward.transforms import Asinh

MOST_AUTOREGRESSIVE_FEATURES = 32
MOST_SPLINE_FEATURES = 100
MOST_MIXED_FEATURES = 256
FEW_ROWS = 2_000
FEW_ROWS_DROPOUT = 0.35
HURRIED_SECONDS = 20


def auto(x: Tensor, context: Tensor | None = None, max_seconds: float | None = None) -> Flow:
    """Choose a flow for a table: robust scaling, then spline layers that suit the number of rows and columns.

    Three to 32 columns get three autoregressive spline layers with learned mixing (`nsf`), the best of the recipes at
    equal training time on the tables of this project; drawing samples takes D passes. One, two and 33 to 100 columns
    get spline couplings, more get affine couplings (`realnvp`): splines would leave too few steps in a minute. Above
    32 columns learned matrices of D x D mix them where there are 2,000 rows or more to learn them from and at most 256
    columns, beyond which they cost more than the networks; else random permutations. Below 2,000 rows networks are
    narrower and have dropout; above, held-out rows tell whether they need any: train with
    `pf.fit(..., optimizer="adamw", raise_dropout=True)`, as `pf.TableModel.fit` does. Context is scaled inside the
    flow like the data.

    Args:
        x: The rows to be fitted, (N, D). Only their shape matters here: `fit` learns the scaling.
        context: Their context, (N, C), or None.
        max_seconds: Training time; below 20 s networks are narrower.

    Returns:
        An untrained flow.

    Example:
        >>> import torch
        >>> auto(torch.zeros(1000, 3)).features
        3
    """
    rows, features = x.shape
    few, hurried = rows < FEW_ROWS, max_seconds is not None and max_seconds < HURRIED_SECONDS
    options: dict[str, Any] = {
        "context_features": 0 if context is None else context.shape[-1],
        "preprocessing": [Asinh(features)],
        "context_preprocessing": [] if context is None else [Asinh(context.shape[-1])],
    }
    if features <= 2:
        return _plane(features, few, hurried, options)
    width = 128 if few or hurried else 192
    options |= {"hidden_features": (width, width), "dropout": FEW_ROWS_DROPOUT if few else 0.0}
    if features <= MOST_AUTOREGRESSIVE_FEATURES:
        return nsf(features, autoregressive=True, num_layers=3, mixing="lu", **options)
    mixing = "permute" if few or features > MOST_MIXED_FEATURES else "lu"
    couplings = nsf if features <= MOST_SPLINE_FEATURES else realnvp
    return couplings(features, num_layers=6, mixing=mixing, **options)


def _plane(features: int, few: bool, hurried: bool, options: dict[str, Any]) -> Flow:
    """Return the flow for one or two columns: many steps of small couplings."""
    shallow = few or features == 1
    width = 32 if few or hurried else 64
    return nsf(
        features, num_layers=4 if shallow else 6, hidden_features=(width, width), bins=16 if features == 1 else 8,
        mixing="swap" if shallow else "lu", dropout=0.1 if few else 0.0, **options,
    )  # fmt: skip
