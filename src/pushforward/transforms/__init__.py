"""Invertible maps from data to latent: the contract, the wrappers, the families, mixing and preprocessing."""

from pushforward.transforms import masks
from pushforward.transforms.autoregressive import Autoregressive, autoregressive_adjacency
from pushforward.transforms.base import Compose, Inverse, Transform
from pushforward.transforms.continuous import Continuous
from pushforward.transforms.coupling import Coupling
from pushforward.transforms.elementwise import Elementwise, Scale, Shift
from pushforward.transforms.image import OnFeatures, PerPixel, squeeze
from pushforward.transforms.linear import LULinear, Orthogonal, Permutation
from pushforward.transforms.preprocessing import ActNorm, Asinh, Logit, Standardize
from pushforward.transforms.residual import Planar, Radial, Sylvester
from pushforward.transforms.spline import RationalQuadratic
from pushforward.transforms.step import Step
from pushforward.transforms.univariate import Additive, Affine, Univariate

__all__ = [
    "ActNorm",
    "Additive",
    "Affine",
    "Asinh",
    "Autoregressive",
    "Compose",
    "Continuous",
    "Coupling",
    "Elementwise",
    "Inverse",
    "LULinear",
    "Logit",
    "OnFeatures",
    "Orthogonal",
    "PerPixel",
    "Permutation",
    "Planar",
    "Radial",
    "RationalQuadratic",
    "Scale",
    "Shift",
    "Standardize",
    "Step",
    "Sylvester",
    "Transform",
    "Univariate",
    "autoregressive_adjacency",
    "masks",
    "squeeze",
]
