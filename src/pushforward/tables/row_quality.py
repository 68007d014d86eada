"""How good a law of mixed rows is on rows that no one trained on; and whether it is a law at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.metrics import Score
from pushforward.metrics.likelihood import score_of
from pushforward.numerics.default_device import on_the_cpu
from pushforward.report.wording import number
from pushforward.rows import RowJoint
from pushforward.rows.cells import split
from pushforward.rows.heads import mixture_cdf
from pushforward.rows.network import RowNetwork
from pushforward.tables.answers import Answers, generator_of
from pushforward.tables.quality import ShowsFigures
from pushforward.tables.row_encoder import Rows
from pushforward.tables.schema import Schema
from pushforward.verification import Verification

if TYPE_CHECKING:
    import polars as pl

CHECKED_ROWS = 64
TOLERANCE = 1e-4


@dataclass(frozen=True, repr=False)
class RowEvaluation(ShowsFigures):
    """What rows that no one trained on say about a law of rows; `print` it.

    Attributes:
        nll: Negative log-likelihood in nats, in the units of the table.
        columns: Of each modelled column, its part of that: given the columns before it, missing cells counted as 0.
        excess: None: the truth of a table of mixed columns is not known to it.
    """

    nll: Score
    columns: dict[str, float]
    excess: None = None

    def figures(self) -> list[tuple[str, str, str]]:
        """Return what was measured, its value and its standard error where there is one, as text."""
        score = self.nll
        return [
            ("NLL, nats", number(score.mean), number(score.standard_error)),
            ("NLL without 1 % at each end", number(score.trimmed_mean), number(score.trimmed_standard_error)),
            ("NLL, median", number(score.median), ""),
            *((f"of it, {name}", number(value), "") for name, value in self.columns.items()),
        ]


def evaluate_rows(cells: np.ndarray, schema: Schema) -> RowEvaluation:
    """Summarize log p(cell | cells before it), (rows, columns), over rows, at least two."""
    if len(cells) < 2:
        raise InputError("1 row tells no mean from chance (give 2 or more, or score it)")
    each = {name: -float(cells[:, d].mean()) for d, name in enumerate(schema.modelled, len(schema.context))}
    return RowEvaluation(score_of(torch.from_numpy(-cells.sum(1))), each)


@on_the_cpu()
@torch.no_grad()
def verify_rows(joint: RowJoint, answers: Answers, *, seed: int) -> Verification:
    """Check on up to 64 rows that both networks give laws, and that cells and codes stand for one another.

    Probabilities of the codes and the numbers of each column sum to one; a row drawn column by column is scored in one
    pass by the same laws; a cell that is encoded and decoded is itself.
    """
    encoder, names = answers.encoder, answers.encoder.columns
    drawn = drawn_rows(answers, seed)
    rows = encoder.encode(drawn)
    report = Verification("RowDensity", (CHECKED_ROWS, len(names)), rows.cells.dtype, TOLERANCE)
    again = encoder.decode(*split(rows.cells)[:2])
    for name in names:
        if drawn[name].dtype.is_float():
            spread = float(drawn[name].to_numpy().std()) or 1.0
            error = float(np.abs(drawn[name].to_numpy() - again[name].to_numpy()).max()) / spread
        else:
            error = float((drawn[name] != again[name]).sum() or 0)
        report.round_trip_error = max(error, 0.0 if np.isnan(report.round_trip_error) else report.round_trip_error)
        if not error <= TOLERANCE:
            report.problems.append(
                f'cells of "{name}" do not come back from their codes (by {number(error)} of a spread)'
            )
    report.checked.append(f"cells and codes of {len(names)} columns stand for one another")
    _check_laws(report, "the joint", joint.network, joint.with_marks(rows.cells), joint.place.tolist(), names)
    check_answers(report, answers, rows)
    if not bool(joint.log_prob(rows.cells).isfinite().all()):
        report.problems.append("the joint gives rows that were drawn no finite log_prob")
    return report


@on_the_cpu()
def drawn_rows(answers: Answers, seed: int) -> "pl.DataFrame":
    """Return 64 rows drawn by the network that answers, its context too, to check it on."""
    encoders, generator = list(answers.encoder.encoders.values()), generator_of(seed)
    rows = torch.zeros(CHECKED_ROWS, 3, len(encoders))
    rows[:, 0] = -1
    for d, one in enumerate(encoders[: len(answers.schema.context)]):  # whatever its cells may be
        rows[:, 0, d] = torch.randint(one.num_codes, (CHECKED_ROWS,), generator=generator)
        rows[:, 1, d].uniform_(one.places.low, one.places.high, generator=generator)
    drawn, _ = answers.questions.fill(rows.flatten(1), answers.encoder.places, generator=generator)
    return answers.encoder.decode(*split(drawn)[:2])


@on_the_cpu()
@torch.no_grad()
def check_answers(report: Verification, answers: Answers, rows: Rows) -> None:
    """Add to a report whether the laws that answer questions have a mass of one, on some rows."""
    names = answers.encoder.columns
    _check_laws(report, "the questions", answers.questions.network, split(rows.cells), range(len(names)), names)


def _check_laws(
    report: Verification,
    called: str,
    network: RowNetwork,
    cells: tuple[Tensor, Tensor, Tensor],
    places: Sequence[int],
    names: Sequence[str],
) -> None:
    """Add to a report the laws of columns whose mass is not one; `places` are those in the network."""
    code, z, _ = cells
    params = network(code, z, torch.ones_like(z))
    for d, name in zip(places, names, strict=True):
        logits, mixture = (params[:, place].double() for place in network.heads.params_of(d))
        mass = logits.softmax(1).sum(1) if logits.shape[1] else torch.ones(len(params)).double()
        if mixture.shape[1]:
            ends = torch.tensor([[-1e6, 1e6]], dtype=torch.float64).expand(len(params), 2)
            below, above = mixture_cdf(mixture.unflatten(1, (3, -1)), ends).unbind(1)
            mass = mass - (1 - (above - below)).abs()
        worst = float((mass - 1).abs().max())
        if not worst <= TOLERANCE:
            report.problems.append(f'{called}: the law of "{name}" has a mass of 1 ± {number(worst)}')
    report.checked.append(f"{called}: {len(names)} laws of columns sum to one")
