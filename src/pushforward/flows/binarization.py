"""From grey levels to the zeros and ones that a Bernoulli decoder models; the two ways give different data sets."""

from typing import Any

import torch
from torch import Tensor

from pushforward.errors import require_choice
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.generators import check_generator

BINARIZATIONS = ("dynamic", "threshold", "none")


def binarize(x: Any, how: str = "dynamic", *, generator: torch.Generator | None = None) -> Tensor:
    """Turn images into zeros and ones.

    Log-likelihoods of dynamically binarized and of thresholded images are those of two different data sets, the second
    of lower entropy: never compare them.

    Args:
        x: Grey levels, (*batch, D), an array or a tensor: uint8 from 0 to 255, or floats from 0 to 1.
        how: "dynamic" draws each pixel from a Bernoulli with its grey level as probability, anew at every call;
            "threshold" gives 1 from half of full ink on; "none" takes x as it is, already zeros and ones.
        generator: Source of the draws.

    Returns:
        (*batch, D) of zeros and ones, of x's dtype if that is a floating one, else float32.

    Raises:
        ValueError: If `how` is not known, or the values are not those it needs.

    Example:
        >>> binarize(torch.tensor([0, 127, 128, 255], dtype=torch.uint8), "threshold")
        tensor([0., 0., 1., 1.])
    """
    require_choice("binarize", how, BINARIZATIONS)
    check_generator(generator)
    x = as_tensor(x, "x")
    if how == "none":
        check_binary(x)
        return x if x.is_floating_point() else x.float()
    _check_levels(x)
    dtype = x.dtype if x.is_floating_point() else torch.float32
    top = 1.0 if x.is_floating_point() else 255.0
    if how == "threshold":
        return (x >= top / 2).to(dtype)
    noise = torch.rand(x.shape, generator=generator, dtype=dtype, device=x.device)  # below 1, so full ink is always 1
    return (top * noise < x).to(dtype)


def grey(x: Tensor) -> Tensor:
    """Return grey levels, or integers that are zeros and ones, as floats from 0 to 1."""
    if not x.is_floating_point() and bool(((x == 0) | (x == 1)).all()):
        return x.float()
    _check_levels(x)
    return x if x.is_floating_point() else x.float() / 255


def check_binary(x: Tensor) -> None:
    """Raise ValueError unless every value is 0 or 1."""
    if torch.compiler.is_compiling():
        return
    if x.numel() and not bool(((x == 0) | (x == 1)).all()):
        low, high = x.min().item(), x.max().item()
        raise ValueError(
            f"x must hold zeros and ones only; got values from {low:g} to {high:g}: binarize it first with "
            "pf.vae.binarize(x)."
        )


def _check_levels(x: Tensor) -> None:
    if torch.compiler.is_compiling() or not x.numel():
        return
    if x.is_floating_point():
        low, high = x.min().item(), x.max().item()
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"x must hold grey levels from 0 to 1, or uint8 from 0 to 255; got floats from {low:g} to {high:g}: "
                "divide levels up to 255 by 255, or give them as uint8."
            )
        return
    if x.dtype == torch.bool:
        raise ValueError('x is bool: it is binary already, use binarize="none".')
    if x.dtype != torch.uint8:
        raise ValueError(
            f"x must hold grey levels as uint8 from 0 to 255 or as floats from 0 to 1; got {x.dtype}: use "
            "x.to(torch.uint8) for levels up to 255."
        )
    if int(x.max()) == 1:
        raise ValueError('x is uint8 and holds only 0 and 1: it is binary already, use binarize="none".')
