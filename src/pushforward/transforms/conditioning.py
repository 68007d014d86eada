"""How the wrappers (Elementwise, Coupling, Autoregressive) ask a conditioner for parameters."""

from torch import Tensor, nn
from torch.nn import functional

from pushforward.transforms.univariate import Univariate

# What a conditioner sees is clamped to this: larger inputs overflow float32 inside a network, and inf - inf is NaN.
LARGEST_SEEN = 1e6


def bounded(x: Tensor) -> Tensor:
    """Return what a conditioner sees of x."""
    return functional.hardtanh(x, -LARGEST_SEEN, LARGEST_SEEN)  # clamp with a cheaper gradient


def parameters_from(
    conditioner: nn.Module, x: Tensor, context: Tensor | None, num_transformed: int, univariate: Univariate
) -> Tensor:
    """Return the parameters of the univariate maps, (*batch, num_transformed, num_params).

    Raises:
        ValueError: If the conditioner's output has another size.
    """
    params = conditioner(bounded(x), None if context is None else bounded(context))
    size = num_transformed * univariate.num_params
    if params.shape[-1] != size:
        raise ValueError(
            f"the conditioner must return {num_transformed} features x {univariate.num_params} parameters of "
            f"{type(univariate).__name__} = {size} numbers; got {params.shape[-1]}."
        )
    # One parameter of all features side by side: each is then a contiguous piece of its row.
    return params.unflatten(-1, (univariate.num_params, num_transformed)).transpose(-1, -2)
