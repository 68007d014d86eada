"""Paths between data rows through the latent space of a flow, straight or spherical, both ends reproduced."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pushforward.display import shapes
from pushforward.errors import require_choice, require_count, require_kind
from pushforward.flows.flow import Flow
from pushforward.flows.user_rows import device_of
from pushforward.numerics.arrays import as_tensor

LEAST_SINE = 1e-4  # of the angle between two latents: nearer to one line, the turning formula divides 0 by 0


class LatentPath(NamedTuple):
    """Points on paths from one row to another, both ends included.

    Attributes:
        x: (*batch, num_points, D), in the units of the data.
        z: (*batch, num_points, D), the latents that were decoded.
    """

    x: Tensor
    z: Tensor

    def __repr__(self) -> str:
        return shapes(self)


@torch.no_grad()
def latent_path(
    flow: Flow, start: Any, end: Any, context: Any = None, *, num_points: int = 10, kind: str = "straight"
) -> LatentPath:
    """Encode two rows, walk from one latent to the other in equal steps, and decode every point.

    The first and the last x are `start` and `end` up to the rounding of the flow's inverse. Points halfway along a
    straight path in many dimensions have latents shorter than any the base would draw; a spherical path keeps their
    length between those of its ends.

    Args:
        flow: Any flow.
        start: Rows x at which the paths begin, (*batch, D).
        end: Rows x at which they end, of the same shape.
        context: (C,), or (*batch, C) for a conditional flow; the same all along a path.
        num_points: Points on a path, both ends included, at least 2.
        kind: "straight", z = (1 - t) z_0 + t z_1; or "spherical", where the direction turns at constant speed along
            the great circle about the origin and the length changes linearly.

    Raises:
        ValueError: If the shapes differ, `num_points` or `kind` is not valid, or a spherical path has ends in opposite
            directions, between which no great circle is the shortest.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.recipes.realnvp(2, num_layers=2)
        >>> path = latent_path(flow, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), num_points=3, kind="spherical")
        >>> path.x.shape
        torch.Size([3, 2])

    References:
        Shoemake (1985), Animating rotation with quaternion curves, eq. 1. White (2016), Sampling generative networks.
        arXiv:1609.04468.
    """
    require_kind("flow", flow, Flow, "a Flow")
    num_points = require_count("num_points", num_points, 2)  # both ends
    require_choice("kind", kind, KINDS)
    device = device_of(flow)
    start, end = as_tensor(start, "start", device), as_tensor(end, "end", device)
    if start.shape != end.shape:
        raise ValueError(f"start and end must have one shape; got {tuple(start.shape)} and {tuple(end.shape)}.")
    ends = [flow.encode(x, context) for x in (start, end)]
    share = torch.linspace(0, 1, num_points, dtype=ends[0].dtype, device=ends[0].device)[:, None]
    z = KINDS[kind](ends[0].unsqueeze(-2), ends[1].unsqueeze(-2), share)
    if context is not None:
        context = as_tensor(context, "context", device)
        context = context.unsqueeze(-2) if context.ndim > 1 else context
    return LatentPath(flow.decode(z, context), z)


def _straight(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Return (1 - t) z_0 + t z_1: (*batch, 1, D) and shares t (n, 1) -> (*batch, n, D)."""
    return (1 - share) * start + share * end


def _spherical(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Return the same along great circles, with lengths that change linearly."""
    lengths = [z.norm(dim=-1, keepdim=True) for z in (start, end)]
    tiny = torch.finfo(start.dtype).tiny
    first, last = (z / length.clamp(min=tiny) for z, length in zip((start, end), lengths, strict=True))
    # The angle from both chords: arccos would lose half of the digits where the ends lie in nearly one direction.
    angle = 2 * torch.atan2((last - first).norm(dim=-1, keepdim=True), (last + first).norm(dim=-1, keepdim=True))
    sine = angle.sin()
    if bool(((sine < LEAST_SINE) & (angle > 1)).any()):
        raise ValueError(
            "a spherical path needs ends that do not lie in opposite directions of the latent space: use "
            "kind='straight', or another pair of rows."
        )
    on_a_line = (sine < LEAST_SINE) | (lengths[0] == 0) | (lengths[1] == 0)  # the origin has no direction
    direction = (((1 - share) * angle).sin() * first + (share * angle).sin() * last) / torch.where(on_a_line, 1.0, sine)
    turned = _straight(lengths[0], lengths[1], share) * direction
    return torch.where(on_a_line, _straight(start, end, share), turned)


KINDS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"straight": _straight, "spherical": _spherical}
