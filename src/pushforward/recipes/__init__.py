"""Published flows built from the parts, and the chooser; each is a function that returns a plain `Flow`."""

from collections.abc import Callable

from pushforward.flows import Flow
from pushforward.recipes.autoregressive import iaf, maf
from pushforward.recipes.chooser import auto
from pushforward.recipes.continuous import cnf
from pushforward.recipes.couplings import nice, nsf, realnvp
from pushforward.recipes.images import glow, realnvp_image
from pushforward.recipes.residual import planar

__all__ = ["RECIPES", "auto", "cnf", "glow", "iaf", "maf", "nice", "nsf", "planar", "realnvp", "realnvp_image"]

RECIPES: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf": nsf,
    "planar": planar,
    "cnf": cnf,
}
"""The recipes of rows of features, by name: those that a table can be fitted with."""
