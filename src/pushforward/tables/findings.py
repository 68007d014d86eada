"""What the report says of samples and single rows, gathered from a fit of either law."""

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.metrics import c2st
from pushforward.report.findings import Findings, UnusualRow
from pushforward.report.plots.marginals import Marginal
from pushforward.report.plots.pairs_of_columns import Pair
from pushforward.tables.anomalies import judge, usual_among
from pushforward.tables.column_kind import NUMBERS
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.features import Features, mutual_information
from pushforward.tables.nearness import nearness
from pushforward.tables.number_cells import from_numbers, to_numbers
from pushforward.tables.reasons import reasons

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.laws import Fitted, Law

MOST_PAIRS, MOST_UNUSUAL, MOST_PATTERNS = 6, 10, 6
MOST_COLUMNS = 40  # that are compared with one another
MOST_TOLD = 4_000  # rows of each kind that trees are shown
MOST_JUDGED = 2_000
FOLDS = 3
FEWEST = 20  # rows of each kind, to be told apart at all


def findings_of(
    law: "Law", fitted: "Fitted", samples: "pl.DataFrame", transforms: dict[str, np.ndarray] | None = None
) -> Findings:
    """Return what was found about samples, rows as the law draws them, and about held-out rows.

    Args:
        law: The law.
        fitted: Its fit.
        samples: Rows of all columns.
        transforms: Probability integral transforms, by column.
    """
    answers, data = law.answers, fitted.test_frame
    samples = samples if answers is None else answers.read(samples)
    names, modelled = list(law.schema.columns), law.schema.modelled
    kinds = {name: "real" if answers is None else answers.fitted[name].encoder.kind for name in names}
    features = Features(kinds, data)
    columns = {name: _marginal(law, name, data[name], samples[name]) for name in names}
    told = min(len(data), len(samples), MOST_TOLD)
    accuracy, near = float("nan"), None
    if told >= FEWEST:
        parts = [features.for_trees(part.select(names)[_some(part, told)]) for part in (data, samples)]
        accuracy = c2st(*parts, folds=FOLDS)
        if fitted.split.held_out:
            training = fitted.rows_at(fitted.positions[0])
            near = nearness(*(features.for_distances(part) for part in (samples, training, data)))
    return Findings(
        columns=[columns[name] for name in names], pairs=_pairs(features, names, data, samples, law),
        missing=_missing(modelled, data, samples), accuracy=accuracy, accuracy_error=(0.125 / max(told, 1)) ** 0.5,
        num_told=told, nearness=near, transforms=transforms or {}, unusual=_unusual(law, fitted),
        held_out=_held_out(fitted),
    )  # fmt: skip


def _marginal(law: "Law", name: str, data: "pl.Series", samples: "pl.Series") -> Marginal:
    """Return a column of data and samples to be drawn, cells that are missing left out."""
    one = None if law.answers is None else law.answers.fitted[name].encoder
    if one is not None and not isinstance(one, NumberEncoder):
        words = [np.array(part.drop_nulls().cast(str).to_list(), dtype=str) for part in (data, samples)]
        return Marginal(name, words[0], words[1])
    kind = "real" if one is None else one.kind
    values = [to_numbers(kind, part.drop_nulls()) for part in (data, samples)]
    labels: tuple[str, str] | tuple[()] = ()
    if kind not in NUMBERS and len(values[0]):
        low, high = from_numbers(kind, np.quantile(values[0], (0.005, 0.995))).to_list()
        labels = (str(low)[:10], str(high)[:10])
    return Marginal(name, values[0], values[1], one.grid.step if one is not None and one.grid else 0.0, labels)


def _pairs(
    features: Features, names: list[str], data: "pl.DataFrame", samples: "pl.DataFrame", law: "Law"
) -> list[Pair]:
    """Return the pairs of columns that say most of one another, each column in two of them at most."""
    names = names[:MOST_COLUMNS]
    levels = [{name: features.levels(name, part) for name in names} for part in (data, samples)]
    said = {pair: [mutual_information(one[pair[0]], one[pair[1]]) for one in levels] for pair in combinations(names, 2)}
    times: dict[str, int] = dict.fromkeys(names, 0)
    found: list[Pair] = []
    for first, second in sorted(said, key=lambda pair: -max(said[pair])):
        if max(times[first], times[second]) < 2 and len(found) < MOST_PAIRS:
            times[first] += 1
            times[second] += 1
            whole = [part.select(first, second).drop_nulls() for part in (data, samples)]
            one, other = (_marginal(law, name, whole[0][name], whole[1][name]) for name in (first, second))
            found.append(Pair(one, other, *said[first, second]))
    return found


def _missing(names: Any, data: "pl.DataFrame", samples: "pl.DataFrame") -> list[tuple[str, float, float]]:
    """Return the most frequent sets of cells that are missing together, and the share of rows that have no gap."""
    import polars as pl

    shares: list[dict[tuple[str, ...], float]] = []
    for part in (data, samples):
        gaps = part.select(pl.col(name).is_null().alias(f"gap {k}") for k, name in enumerate(names))
        counts = gaps.group_by(gaps.columns).len()
        shares.append({
            tuple(name for name, gap in zip(names, row, strict=False) if gap): row[-1] / max(len(part), 1)
            for row in counts.iter_rows()
        })  # fmt: skip
    if not any(shares[0]):
        return []
    order = sorted({*shares[0], *shares[1]}, key=lambda gap: -shares[0].get(gap, 0.0))[:MOST_PATTERNS]
    return [(", ".join(gap) or "none", shares[0].get(gap, 0.0), shares[1].get(gap, 0.0)) for gap in order]


def _unusual(law: "Law", fitted: "Fitted") -> list[UnusualRow]:
    """Return the least probable rows, and what is unusual about them."""
    data = fitted.test_frame
    log_prob = law.log_prob(data)
    least = log_prob.argsort()[:MOST_UNUSUAL]
    why, answers = [""] * len(least), law.answers
    if answers is not None:
        rows = answers.read(data[least])
        cells = judge(law, rows, answers.usual or usual_among(law, data, data)).cells
        why = reasons(answers, rows, np.array(law.schema.modelled)[cells.argmax(1)])
    places = fitted.row_numbers(fitted.test_positions[least])
    return [UnusualRow(*one) for one in zip(places.tolist(), log_prob[least].tolist(), why, strict=True)]


def _held_out(fitted: "Fitted") -> str:
    """Return how the held-out rows are found again."""
    if not fitted.split.held_out:
        return ""
    some = ", ".join(f"{number:,}" for number in np.sort(fitted.row_numbers(fitted.test_positions))[:10])
    where = "" if fitted.table.sample is None else " of the sample"
    return (
        f"{len(fitted.test_positions):,} rows{where}, the last of numpy.random.default_rng({fitted.seed})"
        f".permutation({fitted.table.num_rows}): {some}, ..., counted from 1 as the table was read"
    )


def _some(frame: "pl.DataFrame", num: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(frame.height)[:num]
