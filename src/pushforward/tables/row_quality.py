"""How good a law of mixed rows is on rows that no one trained on; and whether it is a law at all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pushforward.errors import InputError
from pushforward.metrics import Score
from pushforward.metrics.likelihood import score_of
from pushforward.report.wording import number
from pushforward.rows import RowDensity
from pushforward.rows.cells import split
from pushforward.rows.heads import mixture_cdf
from pushforward.tables.quality import ShowsFigures
from pushforward.tables.row_encoder import RowEncoder, Rows
from pushforward.verification import Verification

if TYPE_CHECKING:
    from pushforward.tables.row_law import RowLaw

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


def evaluate_rows(cells: np.ndarray, rows: Rows, law: "RowLaw") -> RowEvaluation:
    """Summarize log p(cell | cells before it), (rows, columns), over rows, at least two."""
    if len(rows) < 2:
        raise InputError("1 row tells no mean from chance (give 2 or more, or score it)")
    total = np.where(rows.unknown, -np.inf, cells.sum(1))
    known = ~rows.unknown
    each = {
        name: -float(cells[known, d].mean()) if known.any() else float("nan")
        for d, name in enumerate(law.fitted) if name not in law.schema.context
    }  # fmt: skip
    return RowEvaluation(score_of(torch.from_numpy(-total)), each)


@torch.no_grad()
def verify_rows(density: RowDensity, encoder: RowEncoder, *, seed: int) -> Verification:
    """Check on up to 64 rows that both networks give laws, and that cells and codes stand for one another.

    Probabilities of the codes and the numbers of each column sum to one; a row drawn column by column is scored in one
    pass by the same laws; a cell that is encoded and decoded is itself.
    """
    generator = torch.Generator().manual_seed(seed)
    width = len(encoder.columns)
    nothing = torch.zeros(CHECKED_ROWS, 3 * width)
    nothing[:, :width] = -1
    code, z = density.questions.fill(nothing, encoder.places, generator=generator)
    drawn = encoder.decode(code, z)
    rows = encoder.encode(drawn)
    report = Verification("RowDensity", (CHECKED_ROWS, width), rows.cells.dtype, TOLERANCE)
    again = encoder.decode(*split(rows.cells)[:2])
    for name in encoder.columns:
        if drawn[name].dtype.is_float():
            spread = float(drawn[name].to_numpy().std()) or 1.0
            error = float(np.abs(drawn[name].to_numpy() - again[name].to_numpy()).max()) / spread
        else:
            error = float((drawn[name] != again[name]).sum() or 0)
        report.round_trip_error = max(error, 0.0 if np.isnan(report.round_trip_error) else report.round_trip_error)
        if error > TOLERANCE:
            report.problems.append(
                f'cells of "{name}" do not come back from their codes (by {number(error)} of a spread)'
            )
    for called, part in (("the joint", density.joint), ("the questions", density.questions)):
        network = part.network
        codes, places, _ = density.joint.with_marks(rows.cells) if part is density.joint else split(rows.cells)
        of_columns = density.joint.place.tolist() if part is density.joint else range(width)
        params = network(codes, places, torch.ones_like(places))
        for d, name in zip(of_columns, encoder.columns, strict=True):
            logits, mixture = (params[:, place].double() for place in network.heads.params_of(d))
            mass = logits.softmax(1).sum(1) if logits.shape[1] else torch.ones(len(params)).double()
            if mixture.shape[1]:
                ends = torch.tensor([[-1e6, 1e6]], dtype=torch.float64).expand(len(params), 2)
                below, above = mixture_cdf(mixture.unflatten(1, (3, -1)), ends).unbind(1)
                mass = mass - (1 - (above - below)).abs()
            worst = float((mass - 1).abs().max())
            if not worst <= TOLERANCE:
                report.problems.append(f'{called}: the law of "{name}" has a mass of 1 ± {number(worst)}')
    joint = density.joint.log_prob(rows.cells)
    if not bool(joint.isfinite().all()):
        report.problems.append("the joint gives rows that were drawn no finite log_prob")
    report.checked.append(
        f"{2 * width} laws of columns sum to one; cells and codes of {width} columns stand for one another"
    )
    return report
