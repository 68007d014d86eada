"""Published flows built from the parts, and the chooser; each is a function that returns a plain `Flow`."""

from pushforward.recipes.chooser import auto
from pushforward.recipes.images import glow, realnvp_image
from pushforward.recipes.published import RECIPES, cnf, iaf, maf, nice, nsf, planar, realnvp

__all__ = ["RECIPES", "auto", "cnf", "glow", "iaf", "maf", "nice", "nsf", "planar", "realnvp", "realnvp_image"]
