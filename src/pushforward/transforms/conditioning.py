"""How the wrappers (Elementwise, Coupling, Autoregressive) ask a conditioner for parameters."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import InputError, require_kind
from pushforward.numerics.precision import layers_as_told, seen_dtype
from pushforward.transforms.argument_checks import takes
from pushforward.transforms.univariate import Univariate

# What a conditioner sees is clamped to this: larger inputs overflow float32 inside a network, and inf - inf is NaN.
LARGEST_SEEN = 1e6
LARGEST_IN_HALF = 1e3  # float16 ends at 65504


def bounded(x: Tensor) -> Tensor:
    """Return what a conditioner sees of x."""
    most = LARGEST_IN_HALF if seen_dtype(x) == torch.float16 else LARGEST_SEEN
    return functional.hardtanh(x, -most, most)  # clamp with a cheaper gradient


def check_univariate(univariate: Any) -> None:
    """Raise InputError unless it is a family of one-dimensional maps."""
    families = "use one such as pf.transforms.Affine()"
    require_kind("univariate", univariate, Univariate, "a family of maps of one variable", families)


def check_conditioner(conditioner: Any, *, optional: bool = False) -> int:
    """Return the number of context features that a conditioner takes.

    Raises:
        InputError: If it is no module that takes (x, context), or, where it is not `optional`, None.
    """
    if conditioner is None and optional:
        return 0
    wanted, example = "a module (kept, context) -> parameters", "use one such as pf.nets.MLP(num_kept, num_outputs)"
    require_kind("conditioner", conditioner, nn.Module, wanted + (" or None" if optional else ""), example)
    if not takes(conditioner.forward, 2):
        raise InputError(
            f"conditioner must be {wanted}; {type(conditioner).__name__} takes no context: give its forward an "
            "argument context=None, or use pf.nets.MLP."
        )
    return getattr(conditioner, "context_features", 0)


def asked(conditioner: nn.Module, x: Tensor, context: Tensor | None) -> Tensor:
    """Return what a conditioner says of x and context in the dtype of x, however exactly its layers compute."""
    seen, given = bounded(x), None if context is None else bounded(context)
    with layers_as_told(x):
        return conditioner(seen, given).to(x.dtype)


def parameters_from(
    conditioner: nn.Module, x: Tensor, context: Tensor | None, num_transformed: int, univariate: Univariate
) -> Tensor:
    """Return the parameters of the univariate maps, (*batch, num_transformed, num_params).

    Raises:
        ValueError: If the conditioner's output has another size.
    """
    params = asked(conditioner, x, context)
    size = num_transformed * univariate.num_params
    if params.shape[-1] != size:
        raise ValueError(
            f"the conditioner must return {num_transformed} features x {univariate.num_params} parameters of "
            f"{type(univariate).__name__} = {size} numbers; got {params.shape[-1]}."
        )
    # One parameter of all features side by side: each is then a contiguous piece of its row.
    # Tensor.unflatten is not compiled while torch has a default device.
    return params.reshape(*params.shape[:-1], univariate.num_params, num_transformed).transpose(-1, -2)
