"""Likelihood of rows nobody trained on: nats with a standard error, excess over the truth, bits per dimension."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pushforward.display import table
from pushforward.errors import InputError, described, require_count, require_number, require_seed
from pushforward.flows.dequantization import dequantized
from pushforward.flows.user_rows import device_of
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.threads import threads
from pushforward.transforms import Compose, Transform
from pushforward.transforms.base import check_transforms

_TRIM = 0.01  # share of the rows left out at each end of a trimmed mean


class HasLogProb(Protocol):
    """Anything with `log_prob(x, context=None)` in nats, one number a row: a flow, a baseline."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each row."""
        ...


class TrueDensity(Protocol):
    """A density that is known: the toy densities of `pf.data`, or a class of one's own."""

    def log_prob(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """Return the exact log-density of each row, given its label if there is one."""
        ...

    def sample(self, num_samples: int, seed: int) -> Tensor:
        """Draw fresh points."""
        ...

    def sample_with_labels(self, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Draw fresh points with their labels."""
        ...


@dataclass(frozen=True)
class Score:
    """A mean over rows, in nats, and what tells whether a few rows decide it.

    The mean is what the entropy and published figures are compared with. With heavy-tailed rows one outlier can make
    both it and its standard error; then the median and the trimmed mean, whose own standard error no outlier can move,
    say how the rest fares.

    Attributes:
        mean: Mean over all rows; inf if any row lies outside the model's support, NaN if any is NaN.
        standard_error: Of the mean: sample standard deviation / sqrt(num_rows); NaN where the mean is not finite.
        median: Median over all rows.
        trimmed_mean: Mean without the 1 % smallest and the 1 % largest rows.
        trimmed_standard_error: Of the trimmed mean, from the winsorized rows (Tukey & McLaughlin 1963).
        num_rows: Number of rows.
        num_outside: Number of rows with log_prob -inf, outside the model's support.
    """

    mean: float
    standard_error: float
    median: float
    trimmed_mean: float
    trimmed_standard_error: float
    num_rows: int
    num_outside: int

    def __str__(self) -> str:
        outside = f" ({self.num_outside} of {self.num_rows} rows outside the support)" if self.num_outside else ""
        return f"{self.mean:.4f} ± {self.standard_error:.4f} nats{outside}"

    def _repr_html_(self) -> str:
        rows = [
            ("mean", f"{self.mean:.4f} ± {self.standard_error:.4f}"), ("median", f"{self.median:.4f}"),
            ("without 1 % at each end", f"{self.trimmed_mean:.4f} ± {self.trimmed_standard_error:.4f}"),
            ("rows", f"{self.num_rows:,}"), ("outside the support", f"{self.num_outside:,}"),
        ]  # fmt: skip
        return table("Nats a row", rows)


@threads(1)
def nll(
    flow: HasLogProb,
    x: Any,
    context: Any = None,
    *,
    dequantize: int | None = None,
    units: Sequence[Transform] = (),
    batch_size: int = 1024,
    seed: int = 0,
) -> Score:
    """Return the negative log-likelihood of rows in nats: the mean of -log_prob with its standard error.

    Args:
        flow: Anything with `log_prob(x, context)`.
        x: Rows (n, D), tensor or array.
        context: (n, C), or one context for all rows, (C,) or (1, C).
        dequantize: Number of levels, 256 for 8-bit images. The rows must be integers from 0 to levels - 1; the flow
            sees k + u in [0, levels), u uniform, and the result is an upper bound on the integers' own NLL.
        units: Transforms from the data to the units whose density is meant, first one first, without context: the
            density of units(x) instead of that of x. `[Scale(1 / 256), Logit(1e-6)]` gives nats in logit space.
        batch_size: Rows scored at once; it does not change the result.
        seed: Seed of the dequantization noise.

    Raises:
        ValueError: If x is not (n, D) with at least 2 rows, or not integers in range with `dequantize`.
    """
    _check_flow(flow)
    units = check_transforms("units", units)
    batch_size = require_count("batch_size", batch_size)
    x = _rows(x)
    generator = None
    if dequantize is not None:
        _check_levels(x, require_count("dequantize", dequantize, 2))
        generator = torch.Generator().manual_seed(require_seed(seed))
    context = None if context is None else as_tensor(context, "context")
    return score_of(-_log_prob_of_rows(flow, x, context, batch_size, noise=generator, units=units))


@threads(1)
def excess(
    flow: HasLogProb,
    density: TrueDensity,
    num_samples: int,
    seed: int,
    *,
    context_of_label: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 1024,
) -> Score:
    """Return how wrong a flow is where the truth is known: the mean of log p_true - log p_flow, nats, fresh points.

    It estimates the Kullback-Leibler divergence KL(true || flow), so it is at least 0 but for noise: below -3 standard
    errors there is a bug. The standard error is that of the differences, point by point, far smaller than the NLL's.

    Args:
        flow: Anything with `log_prob(x, context)`.
        density: The truth, with `log_prob` and `sample` (or `sample_with_labels`).
        num_samples: Number of fresh points.
        seed: Seed of the draw.
        context_of_label: For a conditional flow: turns labels (n,) into the flow's context (n, C). The truth is then
            p(x | label).
        batch_size: Rows scored at once.

    Raises:
        ValueError: If `num_samples` is below 2.

    Example:
        >>> import pushforward as pf
        >>> truth = pf.data.two_moons(2).density
        >>> excess(pf.recipes.realnvp(2), truth, 1000, 1).mean > 0
        True
        >>> one_hot = lambda labels: torch.nn.functional.one_hot(labels, 2).float()
        >>> flow = pf.recipes.realnvp(2, context_features=2)
        >>> excess(flow, truth, 1000, 1, context_of_label=one_hot).mean > 0
        True
    """
    _check_flow(flow)
    num_samples, seed = require_count("num_samples", num_samples, 2), require_seed(seed)
    batch_size = require_count("batch_size", batch_size)
    if not hasattr(density, "log_prob") or not hasattr(density, "sample"):
        raise InputError(
            f"density must have log_prob and sample, such as pf.data.two_moons(2).density; got {described(density)}."
        )
    if context_of_label is None:
        x, labels, context = density.sample(num_samples, seed), None, None
        true_log_prob = density.log_prob(x.double())
    else:
        x, labels = density.sample_with_labels(num_samples, seed)
        true_log_prob, context = density.log_prob(x.double(), label=labels), context_of_label(labels)
    return score_of(true_log_prob - _log_prob_of_rows(flow, _rows(x), context, batch_size))


@threads(1)
def gain(flow: HasLogProb, other: HasLogProb, x: Any, context: Any = None, *, batch_size: int = 1024) -> Score:
    """Return by how much a flow beats another density on the same rows: the mean of log p_flow - log p_other, nats.

    The standard error is that of the differences, row by row, far smaller than those of the two NLLs: within two of it
    the rows do not tell the two apart.

    Args:
        flow: Anything with `log_prob(x, context)`.
        other: The same.
        x: Rows (n, D), tensor or array, in the units of which both densities are.
        context: (n, C), or one context for all rows, (C,) or (1, C).
        batch_size: Rows scored at once; it does not change the result.

    Raises:
        ValueError: If x is not (n, D) with at least 2 rows.

    Example:
        >>> import pushforward as pf
        >>> wide = pf.Flow(pf.transforms.Scale([0.5, 0.5]), pf.bases.StandardNormal(2))
        >>> gain(pf.recipes.nice(2), wide, torch.zeros(10, 2)).mean > 0
        True
    """
    x, batch_size = _rows(x), require_count("batch_size", batch_size)
    context = None if context is None else as_tensor(context, "context")
    for density in (flow, other):
        _check_flow(density)
    mine, others = (_log_prob_of_rows(density, x, context, batch_size) for density in (flow, other))
    return score_of(mine - others)


def bits_per_dim(nats: float, features: int, *, bin_width: float = 1.0) -> float:
    """Turn an NLL in nats into bits per dimension, (nats - D ln bin_width) / (D ln 2).

    With `nll(..., dequantize=256)` the data's unit is one level, and no offset is due.

    Args:
        nats: NLL of one row.
        features: D.
        bin_width: Width of a level in the units in which the NLL is counted: 1 / 256 for [0, 1), 1 / 255 for k / 255.

    Raises:
        ValueError: If features is below 1, or the width is not above 0.
    """
    features = require_count("features", features)
    bin_width = require_number("bin_width", bin_width, above=0)
    return (nats / features - math.log(bin_width)) / math.log(2)


def _check_flow(flow: Any) -> None:
    if hasattr(flow, "log_prob") and not isinstance(flow, type):
        return
    if isinstance(flow, nn.Module):
        raise InputError(
            f"{type(flow).__name__} has no log_prob: nll scores flows. Of a model with a bound alone, take the mean of "
            "-model.iwae(x) (VAE) or -model.bound(x) (VariationalDequantization)."
        )
    kind = flow if isinstance(flow, type) else type(flow)
    remedy = f": make an object of it, {kind.__name__}(...)" if isinstance(flow, type) else ""
    raise InputError(f"flow must be an object with log_prob; got {described(flow)}{remedy}.")


def _rows(x: Any) -> Tensor:
    x = as_tensor(x, "x")
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must be rows of shape (n, D) with n at least 2; got shape {tuple(x.shape)}.")
    return x


@torch.no_grad()
def _log_prob_of_rows(
    flow: HasLogProb,
    x: Tensor,
    context: Tensor | None,
    batch_size: int,
    *,
    noise: torch.Generator | None = None,
    units: Sequence[Transform] = (),
) -> Tensor:
    """Return log_prob of rows (n, D) batch by batch, (n,), float64; integers dequantized by the noise, if any."""
    if context is not None and context.ndim == 1 and getattr(flow, "context_features", 0) == 1:
        context = context[:, None]  # one number for each row, or for all of them
    each = context is not None and context.ndim == 2 and len(context) > 1
    if each and len(context) != len(x):  # type: ignore[arg-type]
        raise ValueError(f"context must have one row for each row of x, {len(x)}; got shape {tuple(context.shape)}.")  # type: ignore[union-attr]
    device = device_of(flow) if isinstance(flow, nn.Module) else None
    context = None if context is None else context.to(device)
    parts = []
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        piece = x[rows] if noise is None else dequantized(x[rows].to(noise.device), noise)
        parts.append(flow.log_prob(piece.to(device), context[rows] if each else context).double().cpu())  # type: ignore[index]
        if units:
            parts[-1] = parts[-1] - Compose(units)(piece.double())[1].cpu()
    return torch.cat(parts)


def _check_levels(x: Tensor, levels: int) -> None:
    least, most = x.min().item(), x.max().item()
    if least < 0 or most > levels - 1 or (x.is_floating_point() and bool((x != x.round()).any())):
        raise ValueError(
            f"dequantize={levels} needs integers from 0 to {levels - 1}; got values from {least} to {most}. Give the "
            "counts themselves, not fractions."
        )


def score_of(values: Tensor) -> Score:
    """Return mean, standard error, median and trimmed mean of numbers (n,), one a row, larger ones worse."""
    num_rows, num_outside = len(values), int(values.isposinf().sum())
    finite = bool(values.isfinite().all())
    ordered = values.sort().values
    cut = math.ceil(_TRIM * num_rows) if num_rows >= 4 else 0
    winsorized = ordered.clamp(ordered[cut], ordered[-1 - cut])
    kept = num_rows - 2 * cut
    return Score(
        mean=values.mean().item(),
        standard_error=values.std().item() / math.sqrt(num_rows) if finite else math.nan,
        median=(ordered[(num_rows - 1) // 2] + ordered[num_rows // 2]).item() / 2,
        trimmed_mean=ordered[cut : num_rows - cut].mean().item(),
        trimmed_standard_error=winsorized.std().item() * math.sqrt(num_rows) / kept,
        num_rows=num_rows,
        num_outside=num_outside,
    )
