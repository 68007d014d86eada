"""Invertible maps from data to latent: the contract, the wrappers, the families, mixing and preprocessing."""

from pushforward.transforms import masks
from pushforward.transforms.autoregressive import Autoregressive, autoregressive_adjacency
from pushforward.transforms.base import Compose, Inverse, Step, Transform
from pushforward.transforms.coupling import Coupling
from pushforward.transforms.elementwise import Elementwise, Scale, Shift
from pushforward.transforms.linear import LULinear, Orthogonal, Permutation
from pushforward.transforms.preprocessing import ActNorm, Asinh, Logit, Standardize
from pushforward.transforms.spline import RationalQuadratic
from pushforward.transforms.univariate import Additive, Affine, Univariate

__all__ = [
    "ActNorm",
    "Additive",
    "Affine",
    "Asinh",
    "Autoregressive",
    "Compose",
    "Coupling",
    "Elementwise",
    "Inverse",
    "LULinear",
    "Logit",
    "Orthogonal",
    "Permutation",
    "RationalQuadratic",
    "Scale",
    "Shift",
    "Standardize",
    "Step",
    "Transform",
    "Univariate",
    "autoregressive_adjacency",
    "masks",
]
