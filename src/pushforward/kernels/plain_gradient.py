"""The gradient of a kernel through the plain-torch map that it stands in for, where C and Triton cannot give it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def plain_gradient(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], needed: Sequence[bool], by: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the gradients of a function's results by its inputs; they can be differentiated where torch records.

    Args:
        function: The plain map: inputs -> results.
        inputs: What the kernel saw, with their history.
        needed: Whether the gradient of each is asked for; the others are None.
        by: The gradients of the results.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: parameters may have been computed from the values, and that way is not this map's to follow.
        seen = [part.view_as(part) for part in inputs]
        results = function(*seen)
    wanted = [part for part, need in zip(seen, needed, strict=True) if need]
    # The log_det of an additive map depends on nothing.
    results, by = zip(
        *((result, g) for result, g in zip(results, by, strict=True) if result.requires_grad), strict=True
    )
    # Of a parameter that several layers share, one alias is used for all.
    found = iter(torch.autograd.grad(results, wanted, by, create_graph=create_graph, materialize_grads=True))
    return [next(found) if need else None for need in needed]
