"""Conditioners: networks `(kept, context) -> parameters` whose last layer starts at zero."""

from pushforward.nets.masked import MaskedMLP
from pushforward.nets.mlp import ACTIVATIONS, MLP, ResidualMLP

__all__ = ["ACTIVATIONS", "MLP", "MaskedMLP", "ResidualMLP"]
