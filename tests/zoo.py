"""Every transform with every branch, in float64, with random parameters, since a fresh one is the identity."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

import pushforward as pf
from pushforward import nets
from pushforward.transforms import (
    ActNorm,
    Additive,
    Affine,
    Asinh,
    Autoregressive,
    Compose,
    Continuous,
    Coupling,
    Elementwise,
    Inverse,
    Logit,
    LULinear,
    OnFeatures,
    Orthogonal,
    Permutation,
    PerPixel,
    Planar,
    Radial,
    RationalQuadratic,
    Scale,
    Shift,
    Standardize,
    Sylvester,
    Transform,
    Univariate,
    autoregressive_adjacency,
    masks,
    squeeze,
)

CONTEXT = 3  # context features of the conditional members


class Specimen(NamedTuple):
    """A transform in float64 with random parameters, seven rows of data, and their context where it takes one."""

    transform: Transform
    x: Tensor
    context: Tensor | None


def perturb(module: nn.Module, seed: int = 0, size: float = 0.5) -> nn.Module:
    """Add normal noise to every parameter; the larger the fan-in, the smaller."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim in (2, 4) else 1
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((size * noise / max(fan_in, 1) ** 0.5).to(parameter.dtype))
    return module


def _initialized(transform: Transform, features: int) -> Transform:
    generator = torch.Generator().manual_seed(5)
    rows = torch.randn(50, features, generator=generator, dtype=torch.float64).exp()
    transform.initialize(rows * torch.linspace(0.5, 3, features) - 1)
    return transform


FAMILIES: dict[str, Callable[[], Univariate]] = {
    "additive": Additive,
    "affine soft": Affine,
    "affine tanh": lambda: Affine("tanh"),
    "affine plain": lambda: Affine("plain"),
    "spline": lambda: RationalQuadratic(5, 2.0),
}


def _coupling(mask: Tensor, univariate: Univariate, context: int = 0, net: str = "mlp") -> Coupling:
    kept = int(mask.sum())
    size = (len(mask) - kept) * univariate.num_params
    if net == "residual":
        return Coupling(
            mask,
            univariate,
            nets.ResidualMLP(kept, size, hidden_features=8, context_features=context, activation="silu"),
        )
    return Coupling(
        mask, univariate, nets.MLP(kept, size, hidden_features=(8, 8), context_features=context, activation="tanh")
    )


def _autoregressive(order: list[int], univariate: Univariate, context: int = 0) -> Autoregressive:
    net = nets.MaskedMLP(
        autoregressive_adjacency(order),
        univariate.num_params,
        hidden_features=(12, 12),
        context_features=context,
        activation="tanh",
    )
    return Autoregressive(order, univariate, net)


def _convolutional(mask: Tensor, shape: tuple[int, int, int], univariate: Univariate, context: int = 0) -> Coupling:
    net = nets.ConvNet(
        mask, shape, univariate.num_params, hidden_channels=4, num_blocks=1, context_features=context, activation="tanh"
    )
    return Coupling(mask, univariate, net)


def _continuous(velocity: nn.Module, method: str = "rk4") -> Continuous:
    return Continuous(
        velocity, method=method, num_steps=1
    )  # one, since some tests differentiate or compile through all


def _elementwise(features: int, univariate: Univariate, context: int = 0) -> Elementwise:
    if not context:
        return Elementwise(features, univariate)
    net = nets.MLP(0, features * univariate.num_params, hidden_features=(8,), context_features=context)
    return Elementwise(features, univariate, net)


# name -> (features, function that makes the transform)
_MAKERS: dict[str, tuple[int, Callable[[], Transform]]] = {
    "scale, a number": (3, lambda: Scale(-2.0)),
    "scale, negative factors": (3, lambda: Scale((0.5, -2.0, 3.0))),
    "scale, integer factors": (2, lambda: Scale(torch.tensor([2, -3]))),
    "scale, learned, D = 1": (1, lambda: Scale((1.5,), learned=True)),
    "shift": (3, lambda: Shift((1.0, -1.0, 0.5))),
    "shift, learned": (2, lambda: Shift((1, -1), learned=True)),
    "permutation, reverse": (5, lambda: Permutation.reverse(5)),
    "permutation, swap of halves": (5, lambda: Permutation.swap_halves(5)),
    "permutation, random": (6, lambda: Permutation.random(6, generator=torch.Generator().manual_seed(1))),
    "orthogonal": (4, lambda: Orthogonal(4, generator=torch.Generator().manual_seed(1))),
    "orthogonal, D = 1": (1, lambda: Orthogonal(1, generator=torch.Generator().manual_seed(4))),
    "lu": (4, lambda: LULinear(4)),
    "lu, D = 1": (1, lambda: LULinear(1)),
    "standardize": (3, lambda: _initialized(Standardize(3), 3)),
    "asinh": (3, lambda: _initialized(Asinh(3), 3)),
    "actnorm": (3, lambda: _initialized(ActNorm(3), 3)),
    "logit": (3, lambda: Logit(0.05)),
    "logit, alpha 0": (2, lambda: Logit(0.0)),
    "compose": (3, lambda: Compose([Scale((2.0, -0.5, 1.5)), _autoregressive([1, 0, 2], Affine()), LULinear(3)])),
    "compose, empty": (3, lambda: Compose([])),
    "compose, context for one part": (
        3,
        lambda: Compose([Orthogonal(3), _coupling(masks.halves(3), RationalQuadratic(4, 2.0), CONTEXT), Scale(0.5)]),
    ),
    "coupling, nested in compose": (
        4,
        lambda: Compose([Compose([Permutation.reverse(4), _coupling(masks.halves(4), Affine())]), Inverse(Shift(1.0))]),
    ),
    "coupling, residual net": (4, lambda: _coupling(masks.halves(4), Affine(), net="residual")),
    "coupling, residual net, context": (4, lambda: _coupling(masks.halves(4), Affine(), CONTEXT, "residual")),
    "coupling, one of five transformed": (
        5,
        lambda: _coupling(torch.tensor([True, True, False, True, True]), RationalQuadratic(4, 2.0)),
    ),
    "coupling, random mask": (
        5,
        lambda: _coupling(masks.random(5, generator=torch.Generator().manual_seed(2)), Affine()),
    ),
    "coupling, chequerboard": (6, lambda: _coupling(masks.chequerboard((2, 3)), Affine())),
    "coupling, spline of 2 bins": (3, lambda: _coupling(masks.halves(3), RationalQuadratic(2, 1.0))),
    "coupling, convolutional, chequerboard": (
        9,
        lambda: _convolutional(masks.chequerboard((1, 3, 3)), (1, 3, 3), Affine()),
    ),
    "coupling, convolutional, channels, context": (
        12,
        lambda: _convolutional(~masks.halves(12), (2, 2, 3), RationalQuadratic(3, 2.0), CONTEXT),
    ),
    "coupling, convolutional, random mask of two channels, context": (
        8,
        lambda: _convolutional(
            masks.random(8, generator=torch.Generator().manual_seed(2)), (2, 2, 2), Affine(), CONTEXT
        ),
    ),
    "squeeze": (16, lambda: squeeze((2, 4, 2))),
    "per pixel, lu": (12, lambda: PerPixel((3, 2, 2), LULinear(3))),
    "per pixel, actnorm": (12, lambda: _initialized(PerPixel((3, 2, 2), ActNorm(3)), 12)),
    "per pixel, coupling, context": (
        8,
        lambda: PerPixel((2, 2, 2), _coupling(masks.halves(2), RationalQuadratic(4, 2.0), CONTEXT)),
    ),
    "on features": (5, lambda: OnFeatures((3, 0, 2), _initialized(ActNorm(3), 3))),
    "on features, coupling, context": (4, lambda: OnFeatures((1, 3), _coupling(masks.halves(2), Affine(), CONTEXT))),
    "planar": (3, lambda: Planar(3)),
    "planar, D = 1": (1, lambda: Planar(1)),
    "planar, context": (
        3,
        lambda: Planar(3, conditioner=nets.MLP(0, 7, hidden_features=(8,), context_features=CONTEXT)),
    ),
    "radial": (3, lambda: Radial(3)),
    "radial, D = 1": (1, lambda: Radial(1)),
    "radial, context": (
        3,
        lambda: Radial(3, conditioner=nets.MLP(0, 5, hidden_features=(8,), context_features=CONTEXT)),
    ),
    "sylvester, householder": (3, lambda: Sylvester(3, rank=2)),
    "sylvester, orthogonal, rank 2": (4, lambda: Sylvester(4, rank=2, mode="orthogonal")),
    "sylvester, D = 1": (1, lambda: Sylvester(1)),
    "continuous, mlp": (2, lambda: _continuous(nets.TimeMLP(2, hidden_features=(8, 8)))),
    "continuous, film, context": (
        3,
        lambda: _continuous(
            nets.TimeMLP(3, hidden_features=(8,), context_features=CONTEXT, activation="silu", time="film")
        ),
    ),
    "continuous, hypernetwork": (3, lambda: _continuous(nets.HyperNetwork(3, width=6, hidden=8))),
    "continuous, hypernetwork, context": (
        2,
        lambda: _continuous(nets.HyperNetwork(2, width=6, hidden=8, context_features=CONTEXT)),
    ),
    "continuous, D = 1": (1, lambda: _continuous(nets.TimeMLP(1, hidden_features=(8,)), method="rk4")),
    "autoregressive, D = 1": (1, lambda: _autoregressive([0], RationalQuadratic(4, 2.0))),
    "autoregressive, D = 1, context": (1, lambda: _autoregressive([0], Affine(), CONTEXT)),
    "autoregressive, reversed order": (4, lambda: _autoregressive([3, 2, 1, 0], Affine())),
}
for _name, _family in FAMILIES.items():
    _MAKERS[f"elementwise, {_name}"] = (3, lambda f=_family: _elementwise(3, f()))
    _MAKERS[f"elementwise, {_name}, D = 1, context"] = (1, lambda f=_family: _elementwise(1, f(), CONTEXT))
    _MAKERS[f"coupling, {_name}, kept first, odd D"] = (5, lambda f=_family: _coupling(masks.halves(5), f()))
    _MAKERS[f"coupling, {_name}, kept last, context"] = (4, lambda f=_family: _coupling(~masks.halves(4), f(), CONTEXT))
    _MAKERS[f"coupling, {_name}, alternating"] = (5, lambda f=_family: _coupling(masks.alternating(5), f()))
    _MAKERS[f"autoregressive, {_name}"] = (4, lambda f=_family: _autoregressive([2, 0, 3, 1], f()))
    _MAKERS[f"autoregressive, {_name}, context"] = (3, lambda f=_family: _autoregressive([0, 1, 2], f(), CONTEXT))


def tolerance(name: str) -> float:
    """Return how closely inverse and log_det must fit: rounding, or what one step of a solver leaves."""
    return 1e-3 if "continuous" in name or "cnf" in name else 1e-9


def make(name: str) -> Specimen:
    """Return the specimen called `name`, the same at each call."""
    inverted = name.startswith("inverse of ")
    features, maker = _MAKERS[name.removeprefix("inverse of ")]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transform = perturb(maker(), size=0.1 if "continuous" in name else 0.5).double()
    assert isinstance(transform, Transform)
    transform.eval().requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    if "logit" in name:
        x = torch.rand(7, features, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    else:
        # Inside a spline's box, near its ends and in the tails.
        x = 1.6 * torch.randn(7, features, generator=generator, dtype=torch.float64)
        x[0], x[1] = 6.0, -9.0
    context = None
    if transform.context_features:
        context = torch.randn(7, transform.context_features, generator=generator, dtype=torch.float64)
    if inverted:
        with torch.no_grad():
            x = transform(x, context)[0]
        return Specimen(Inverse(transform), x, context)
    return Specimen(transform, x, context)


TRANSFORMS: dict[str, Callable[[], Specimen]] = {
    name: (lambda name=name: make(name)) for plain in _MAKERS for name in (plain, f"inverse of {plain}")
}

# name -> (features, context features, options of the recipe)
_RECIPES: dict[str, tuple[str, int, dict[str, object]]] = {
    "nice": ("nice", 2, {}),
    "nice, odd D": ("nice", 5, {}),
    "realnvp": ("realnvp", 2, {}),
    "realnvp, tanh, alternating, flip": (
        "realnvp",
        5,
        {"log_scale": "tanh", "mask": "alternating", "mixing": "flip", "activation": "gelu"},
    ),
    "realnvp, plain, permute": ("realnvp", 3, {"log_scale": "plain", "mixing": "permute", "activation": "tanh"}),
    "realnvp, orthogonal, context": ("realnvp", 2, {"mixing": "orthogonal", "context_features": CONTEXT}),
    "realnvp, chequerboard": ("realnvp", 9, {"mask": "chequerboard"}),
    "realnvp, D = 1": ("realnvp", 1, {}),
    "realnvp, D = 1, context": ("realnvp", 1, {"context_features": CONTEXT}),
    "maf": ("maf", 2, {}),
    "maf, lu, context": ("maf", 3, {"mixing": "lu", "context_features": CONTEXT}),
    "iaf": ("iaf", 2, {}),
    "iaf, permute": ("iaf", 4, {"mixing": "permute"}),
    "nsf": ("nsf", 2, {}),
    "nsf, lu, random mask": ("nsf", 4, {"mixing": "lu", "mask": "random", "activation": "silu"}),
    "nsf, context": ("nsf", 2, {"context_features": CONTEXT}),
    "nsf, D = 1": ("nsf", 1, {"bins": 4}),
    "nsf, autoregressive": ("nsf", 2, {"autoregressive": True}),
    "planar": ("planar", 2, {}),
    "planar, inverted, context": ("planar", 3, {"inverted": True, "context_features": CONTEXT}),
    "planar, radial, D = 1": ("planar", 1, {"kind": "radial"}),
    "planar, radial, context": ("planar", 2, {"kind": "radial", "context_features": CONTEXT}),
    "planar, sylvester": ("planar", 3, {"kind": "sylvester"}),
    "cnf": ("cnf", 2, {"method": "rk4", "num_steps": 8}),
    "cnf, film, context": (
        "cnf",
        3,
        {"velocity": "film", "context_features": CONTEXT, "activation": "silu", "method": "rk4", "num_steps": 8},
    ),
    "cnf, hypernetwork, D = 1": ("cnf", 1, {"velocity": "hypernetwork", "method": "rk4", "num_steps": 8}),
    "nsf, autoregressive, orthogonal": ("nsf", 3, {"autoregressive": True, "mixing": "orthogonal"}),
    "glow": ("glow", 16, {"shape": (1, 4, 4)}),
    "glow, context": ("glow", 24, {"shape": (3, 4, 2), "num_levels": 1, "context_features": CONTEXT}),
    "realnvp of images": ("realnvp_image", 16, {"shape": (1, 4, 4)}),
    "realnvp of images, context": (
        "realnvp_image",
        18,
        {"shape": (1, 6, 3), "num_levels": 1, "context_features": CONTEXT, "log_scale": "tanh"},
    ),
}


def make_flow(name: str, *, fresh: bool = False, **changes: object) -> pf.Flow:
    """Return the flow called `name` in float32, small, with random parameters unless `fresh`."""
    recipe, features, options = _RECIPES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if "shape" in options:
            sizes = {"hidden_channels": 8, "num_blocks": 1, "num_layers": 2, **options, **changes}
            flow = getattr(pf.recipes, recipe)(sizes.pop("shape"), **sizes)
        else:
            sizes = {"hidden_features": (16, 16)} | ({} if recipe == "cnf" else {"num_layers": 3})
            flow = pf.recipes.RECIPES[recipe](features, **{**sizes, **options, **changes})
    if not fresh:
        perturb(flow)
    return flow


FLOWS: dict[str, Callable[..., pf.Flow]] = {
    name: (lambda name=name, **changes: make_flow(name, **changes)) for name in _RECIPES
}


def context_for(owner: nn.Module, rows: int, seed: int = 3) -> Tensor | None:
    """Return rows of context where `owner` takes one, else None."""
    if not owner.context_features:
        return None
    return torch.randn(rows, owner.context_features, generator=torch.Generator().manual_seed(seed))
