"""The chooser: a recipe and its sizes from the number of rows and columns."""

from typing import Any

from torch import Tensor

from pushforward.flows import Flow
from pushforward.recipes.couplings import nsf, realnvp
from pushforward.transforms import Asinh

MOST_SPLINE_FEATURES = 100
FEW_ROWS = 2_000
HURRIED_SECONDS = 20


def auto(x: Tensor, context: Tensor | None = None, max_seconds: float | None = None) -> Flow:
    """Choose a flow for a table: robust scaling, then spline couplings with learned mixing.

    Spline couplings (`nsf`) were the best of the recipes at equal training time on the tables and toy densities of this
    project. Affine couplings (`realnvp`) stand in for more than 100 columns, where splines would take too few steps in
    a minute. Few rows get narrow networks with dropout. Context is scaled inside the flow like the data.

    Args:
        x: The rows to be fitted, (N, D). Only their shape matters here: `fit` learns the scaling.
        context: Their context, (N, C), or None.
        max_seconds: Training time; below 20 s networks are narrower, or fewer in two dimensions.

    Returns:
        An untrained flow.

    Example:
        >>> import torch
        >>> auto(torch.zeros(1000, 3)).features
        3
    """
    rows, features = x.shape
    small = rows < FEW_ROWS
    hurried = max_seconds is not None and max_seconds < HURRIED_SECONDS
    shallow = small or features == 1 or (features == 2 and hurried)
    width = 32 if small else 64 if features <= 4 or hurried else 128
    options: dict[str, Any] = {
        "num_layers": 4 if shallow else 6,
        "hidden_features": (width, width),
        "context_features": 0 if context is None else context.shape[-1],
        "dropout": 0.1 if small else 0.0,
        "mixing": "swap" if features <= 2 and shallow else "lu",
        "preprocessing": [Asinh(features)],
        "context_preprocessing": [] if context is None else [Asinh(context.shape[-1])],
    }
    if features > MOST_SPLINE_FEATURES:
        return realnvp(features, **options)
    return nsf(features, bins=16 if features == 1 else 8, **options)
