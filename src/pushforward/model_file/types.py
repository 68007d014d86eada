"""The closed table of types: what each name in a specification stands for."""

from collections.abc import Callable
from typing import Any

from pushforward import bases, nets, rows, transforms, vae
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization

# The only types that a file can name, but for those that the caller of `load` brings along.
TYPES: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        Flow,
        VariationalDequantization,
        bases.Box,
        bases.DiagonalNormal,
        bases.FromTorch,
        bases.GaussianMixture,
        bases.Joint,
        bases.StandardNormal,
        nets.ConvNet,
        nets.HyperNetwork,
        nets.MLP,
        nets.MaskedMLP,
        nets.ResidualMLP,
        nets.TimeMLP,
        rows.RowJoint,
        rows.RowQuestions,
        rows.RowDensity,
        transforms.ActNorm,
        transforms.Additive,
        transforms.Affine,
        transforms.Asinh,
        transforms.Autoregressive,
        transforms.Compose,
        transforms.Continuous,
        transforms.Coupling,
        transforms.Elementwise,
        transforms.Inverse,
        transforms.LULinear,
        transforms.Logit,
        transforms.OnFeatures,
        transforms.Orthogonal,
        transforms.PerPixel,
        transforms.Permutation,
        transforms.Planar,
        transforms.Radial,
        transforms.RationalQuadratic,
        transforms.Scale,
        transforms.Shift,
        transforms.Standardize,
        transforms.Sylvester,
        vae.VAE,
        vae.VampPrior,
    )
}
