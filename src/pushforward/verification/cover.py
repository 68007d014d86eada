"""Does a flow's map cover its base? Draws of the base decode to finite rows that encode back to them."""

import copy
import math

import torch
from torch import Tensor

from pushforward.flows import Flow
from pushforward.numerics.jacobian import Map, sensitivity
from pushforward.transforms.base import Transform
from pushforward.verification.findings import ROUNDINGS, Findings, typical_size

MANY, FEW = 1024, 256  # draws, for up to two features and for more
MOST_CONTEXTS = 64  # rows of context that they are drawn at
MOST_LOOKED_INTO = 16  # draws that come back worst, of which it is asked whether rounding is the reason
ALIKE = 0.01  # relative difference of rows decoded twice, in other company
EXACT = 1e-3  # relative error in float64 of a draw for which float32 was too short


def check_cover(
    flow: Flow, forward: Map, x: Tensor, context: Tensor | None, findings: Findings, generator: torch.Generator
) -> None:
    """Add to the report whether draws of the base come back; where they do not, their mass is missing.

    Args:
        flow: A copy in eval mode.
        forward: The flow's map, data -> latent.
        x: Rows of data, (N, D).
        context: Of each row, (N, C), or None.
        findings: Where problems go.
        generator: Source of randomness.
    """
    report, features = findings.report, flow.features
    number = MANY if features <= 2 else FEW
    shape: tuple[int, ...] = (number,)
    given, of_base = None, None
    if context is not None:
        rows = torch.linspace(0, len(x) - 1, min(len(x), MOST_CONTEXTS), device=x.device).long()
        context, shape = context[rows], (len(rows), -(-number // len(rows)))
        given = context[:, None]
        if flow.base.context_features:
            _, _, of_base = flow.preprocess(x[rows][:, None], given)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))

    def draw() -> Tensor:
        return flow.base.sample(shape, context=of_base, generator=generator.manual_seed(seed))

    z = findings.attempt("base.sample", draw)
    if z.shape != (*shape, features):
        findings.stop(
            f"base.sample made shape {tuple(z.shape)}; asked for {shape} of {features} features it must be "
            f"{(*shape, features)}."
        )
    if torch.equal(z, draw()):
        decoded = findings.attempt(
            "sample", lambda: flow.sample(shape[-1], context, generator=generator.manual_seed(seed))
        )
    else:
        report.notes.append("base.sample gives other draws from the same generator: no seed can repeat a sample.")
        decoded = findings.attempt("decode", lambda: flow.decode(z, given))
    back = findings.attempt("encode of samples", lambda: forward(decoded, *(() if given is None else (given,)))[0])
    own = () if given is None else (given.expand(*shape, -1).reshape(-1, given.shape[-1]),)
    z, decoded, back = (values.reshape(-1, features) for values in (z.to(back), decoded, back))

    size = typical_size(z.double())
    error = (back - z).abs().nan_to_num(nan=math.inf)
    relative = (error / size).amax(-1)
    lost = relative > report.tolerance + ROUNDINGS * torch.finfo(back.dtype).eps
    worst = relative.masked_fill(~lost, 0.0).argsort(descending=True)[: min(int(lost.sum()), MOST_LOOKED_INTO)]
    if len(worst):
        parts = (part[worst] for part in (z, decoded, error, size, *own))
        gone = ~_is_rounding(flow, forward, report.tolerance, *parts)
        if bool(gone.any()):
            row = worst[gone][0]
            share = float(gone.double().mean()) * int(lost.sum()) / len(z)
            report.problems.append(
                f"cover: of {len(z):,} draws of the base a share of {share:.2g} is lost: decoded, they do not encode "
                "back to what they were, so that their mass is missing from the density. One is "
                f"{_shown(z[row])}: it decodes to {_shown(decoded[row])}, which encodes to {_shown(back[row])}."
            )
            return
    rounded = f", {int(lost.sum())} of them but for rounding" if len(worst) else ""
    report.checked.append(
        f"cover: {len(z):,} draws of the base decode to finite rows that encode back to them{rounded}. Were more than "
        f"{100 * 4.6 / len(z):.1f} % of the mass missing, it would have been seen 99 times of 100."
    )


def _is_rounding(
    flow: Flow,
    forward: Map,
    tolerance: float,
    z: Tensor,
    decoded: Tensor,
    error: Tensor,
    size: Tensor,
    *context: Tensor,
) -> Tensor:
    """Return of draws that do not come back whether the dtype is the reason, (n,).

    Args:
        flow: The flow.
        forward: Its map.
        tolerance: Relative error allowed on the way back.
        z: Draws, (n, D).
        decoded: What they decode to, (n, D).
        error: By how much they do not come back, (n, D).
        size: Their magnitude, (n, D), float64.
        context: Nothing, or (n, C).
    """
    explained = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    again = flow.decode(z, *context)
    typical = float(decoded.nan_to_num(posinf=0.0, neginf=0.0).abs().median())
    if not torch.allclose(again, decoded, ALIKE, ALIKE * typical, equal_nan=True):
        return explained  # `sample` does not decode the base's draws
    exact, wide = copy.deepcopy(flow).double(), z.double()
    if error.dtype != torch.float64:
        back = exact.encode(exact.decode(wide, *context), *context)
        explained = ((back - wide).abs() <= EXACT * size).all(-1)
    explained |= _at_the_end_of_the_domain(exact, wide, size, decoded.double(), *context)
    finite = error.isfinite().all(-1) & ~explained
    if bool(finite.any()):
        x, own = decoded[finite], [part[finite] for part in context]
        try:
            of_y = sensitivity(forward, x.double().abs(), size[finite], x, *own)[3]
        except Exception:  # a map without a Jacobian
            return explained
        unit = tolerance + ROUNDINGS * torch.finfo(error.dtype).eps
        explained[finite] = (error[finite] <= unit * (size[finite] + of_y)).all(-1)
    return explained


def _at_the_end_of_the_domain(flow: Flow, z: Tensor, size: Tensor, x: Tensor, *context: Tensor) -> Tensor:
    """Return of latents whether preprocessing alone does not bring them back, where numbers lie too far apart, (n,).

    A `Logit` puts all beyond 36 at 1. There, steps of the last digit are large in what the transform gave.

    Args:
        flow: In float64.
        z: (n, D).
        size: Their magnitude, (n, D).
        x: Rows of data, (n, D), for which the context is meant.
        context: Nothing, or (n, C).
    """
    _, _, seen = flow.preprocess(x, *context)

    def part_of(part: Transform) -> Tensor | None:
        return seen if part.context_features else None

    def decoded(u: Tensor) -> Tensor:
        for part in reversed(flow.parts()[:-1]):
            u, _ = part.inverse(u, part_of(part))
        return u

    transform = flow.parts()[-1]
    u, _ = transform.inverse(z, part_of(transform))
    back, _ = transform(u, part_of(transform))
    end, inside = decoded(u), decoded(torch.zeros_like(u))
    step = ROUNDINGS * torch.finfo(u.dtype).eps * (inside - end)
    again, near, further = (flow.preprocess(end + times * step, *context)[0] for times in (0, 1, 2))
    comes_back = (again - u).abs() <= EXACT * (1 + u.abs())
    too_far_apart = (u - near).abs() <= ROUNDINGS * (near - further).abs()
    return (comes_back | too_far_apart).all(-1) & ((back - z).abs() <= EXACT * size).all(-1)


def _shown(row: Tensor, most: int = 4) -> str:
    """Return a row in brackets, its first numbers where it is long."""
    numbers = ", ".join(f"{number:.6g}" for number in row[:most].tolist())
    return f"[{numbers}{', ...' if len(row) > most else ''}]"
