"""Networks: conditioners `(kept, context) -> parameters` and velocities `(t, x, context)`, with last layers at zero."""

from pushforward.nets.conv import ConvNet
from pushforward.nets.masked import MaskedMLP
from pushforward.nets.mlp import ACTIVATIONS, MLP, ResidualMLP
from pushforward.nets.velocity import HyperNetwork, TimeMLP

__all__ = ["ACTIVATIONS", "MLP", "ConvNet", "HyperNetwork", "MaskedMLP", "ResidualMLP", "TimeMLP"]
