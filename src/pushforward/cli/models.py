"""The commands that use a fitted model: sample, score, evaluate, verify."""

import copy
from pathlib import Path

import numpy as np
import torch

from pushforward.cli.inputs import Model, open_model, read_context, read_rows
from pushforward.cli.screen import say, show, warn
from pushforward.errors import InputError, RunError
from pushforward.flows import Flow
from pushforward.report.wording import number
from pushforward.tables import write_table
from pushforward.tables.evaluation import evaluate, evaluate_against
from pushforward.tables.files import SUFFIXES

VERIFIED_ROWS = 64


def draw(flow: Flow, num: int, context: np.ndarray | None, *, seed: int) -> np.ndarray:
    """Draw samples in float64, so that columns of very different scales keep their digits.

    Args:
        flow: The flow.
        num: Number of samples, for every row of context where there is one.
        context: (rows, C), or None.
        seed: Seed of the samples.

    Returns:
        (num, D), or with context (rows * num, D + C): the samples of each row in turn, their context appended.
    """
    exact = copy.deepcopy(flow).double()
    generator = torch.Generator().manual_seed(seed)
    if context is None:
        return exact.sample(num, generator=generator).numpy()
    samples = exact.sample(num, torch.from_numpy(context), generator=generator).flatten(0, 1).numpy()
    return np.concatenate((samples, np.repeat(context, num, axis=0)), axis=1)


def sample_command(path: Path, *, num: int, context: str | None, out: Path, seed: int) -> None:
    """Write samples of a model to a file."""
    if num < 1:
        raise InputError(f"--num must be at least 1; got {num}")
    model = open_model(path)
    names = [name for name in model.schema.columns if name not in model.schema.context]
    samples = draw(model.flow, num, read_context(model, context), seed=seed)
    write_table(out, [*names, *model.schema.context], samples)
    say(f"{out}: {len(samples):,} samples of {len(names)} column{'s' * (len(names) > 1)}")


def score_command(path: Path, data: str, *, out: Path | None) -> None:
    """Write a table with its log_prob appended."""
    model = open_model(path)
    table, _ = read_rows(data, model.schema.columns)
    if out is None:
        out = Path("scores" + next((suffix for suffix in SUFFIXES if data.lower().endswith(suffix)), ".csv"))
    if out.exists() and Path(data).exists() and out.samefile(data):
        raise InputError(f"{out}: is the table itself (name another file with --out)")
    _say_left_out(table.as_is, model)
    x, context = model.split(table)
    with torch.no_grad():
        log_prob = model.flow.log_prob(x, context).double()
    write_table(out, ["log_prob"], log_prob.numpy()[:, None], like=table)
    outside = int(log_prob.isneginf().sum())
    if outside:
        warn(f"{outside:,} of {len(x):,} rows are outside the support of the flow (log_prob -inf)")
    say(f"{out}: {len(x):,} rows with log_prob in nats, mean {number(log_prob.mean().item())}")


def evaluate_command(path: Path, data: str) -> None:
    """Print how a model does on rows it has not seen."""
    model = open_model(path)
    table, density = read_rows(data, model.schema.columns)
    if len(table.values) < 2:
        raise InputError(f"{data}: 1 row tells no mean from chance (give 2 or more, or use score)")
    _say_left_out(table.as_is, model)
    x, context = model.split(table)
    result = evaluate(model.flow, x, context)
    nll = result.nll
    rows = [
        ["NLL, nats", number(nll.mean), number(nll.standard_error)],
        ["NLL without 1 % at each end", number(nll.trimmed_mean), number(nll.trimmed_standard_error)],
        ["NLL, median", number(nll.median), ""],
    ]
    if "log_scale" in model.summary:
        rows.append(
            ["NLL, z-scored columns", number(nll.mean - model.summary["log_scale"]), number(nll.standard_error)]
        )
    if density is not None:
        entropy, difference = evaluate_against(model.flow, density, len(x))
        rows.append(["exact entropy, nats", number(entropy, 4), ""])
        rows.append(["excess, nats", number(difference.mean, 4), number(difference.standard_error, 4)])
    if result.latent is not None:
        rows.append(["latent normality, Kolmogorov p", number(result.latent.kolmogorov_p_value, 2), ""])
        rows.append(["latent normality, MMD p", number(result.latent.mmd_p_value, 2), ""])
    trip = result.round_trip
    rows.append([f"round trip in {trip.dtype}, 99.9 % quantile", number(trip.high), ""])
    show(["", f"{len(x):,} rows", "±"], rows)
    if nll.num_outside:
        warn(f"{nll.num_outside:,} rows are outside the support of the flow")


def verify_command(path: Path, *, seed: int) -> None:
    """Print whether a model is invertible and its log-determinants are true."""
    from pushforward.verification import verify

    model = open_model(path)
    flow = model.flow
    generator = torch.Generator().manual_seed(seed)
    rows = max(min(VERIFIED_ROWS, 4096 // flow.features), 4)
    given = len(model.schema.context)
    context = None
    if given:
        context = torch.randn(rows, given, dtype=torch.float64, generator=generator)
        for part in reversed(flow.context_preprocessing):
            context, _ = part.inverse(context)  # type: ignore[operator]
    exact = copy.deepcopy(flow).double()
    x = exact.sample(rows if context is None else 1, context, generator=generator).reshape(rows, flow.features)
    report = verify(flow, x, context)
    say(str(report))
    if not report.ok:
        raise RunError(f"{model.path}: {len(report.problems)} check{'s' * (len(report.problems) > 1)} failed")


def _say_left_out(as_is: object, model: Model) -> None:
    there = getattr(as_is, "columns", [])
    left_out = [name for name in there if name not in model.schema.columns]
    if left_out and len(left_out) < len(there):
        some = ", ".join(left_out[:10]) + (" and more" if len(left_out) > 10 else "")
        say(f"columns that the model does not know are ignored: {some}")
