"""The one training loop: `fit` and the `History` it returns."""

from pushforward.training.fit import fit
from pushforward.training.history import History

__all__ = ["History", "fit"]
