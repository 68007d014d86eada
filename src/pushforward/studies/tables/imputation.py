"""Missing cells: how far drawn ones lie from what was there, beside the usual imputers."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Columns, Score, shown
from pushforward.studies.tables import question_figures, row_models
from pushforward.studies.tables.features import deviation, numbers, numbers_of, of_known_categories
from pushforward.studies.tables.imputers import DRAWS, IMPUTERS, MEDIAN, MOST_DONORS, NEIGHBOURS
from pushforward.studies.tables.proper_scores import crps_of_draws, share_inside
from pushforward.studies.tables.sources import split

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.table_model import TableModel

SHARES, MOST_ROWS = (0.1, 0.3, 0.5), 2_000
OURS = "ours"
COVERED = (DRAWS - 1) / (DRAWS + 1)  # of the values that come from the law of the draws lie between the outer two
COLUMNS: Columns = (
    ("RMSE", "rmse"),
    ("CRPS", "crps"),
    (f"between the outer of {DRAWS} draws", "coverage"),
    ("accuracy of categories", "accuracy"),
)


def measure(record: Record, tables: "Mapping[str, pl.DataFrame]") -> None:
    """Take cells out of training and held-out rows alike, and compare what each method puts in their places."""
    record.heading("Missing cells")
    record.text(
        f"Each cell is missing with one probability, of training and of held-out rows (at most {MOST_ROWS:,}) alike. "
        f"Numbers in units of their column's standard deviation: RMSE of the mean of {DRAWS} draws, CRPS of these as "
        "an ensemble, which for one value is its absolute error; the share of values between the lowest and the "
        f"highest draw, {COVERED:.3f} for draws of the true law and more where values repeat. Of categories the most "
        f"frequent draw. KNNImputer ({NEIGHBOURS} neighbours by distance, of {MOST_DONORS:,} rows) and "
        "IterativeImputer (BayesianRidge, within the column's range; its posterior for draws) see the numbers alone."
    )
    for name, rows in tables.items():
        _compare(record, name, *split(rows))


def _compare(record: Record, name: str, train: "pl.DataFrame", held: "pl.DataFrame") -> None:
    by_share: dict[float, dict[str, Score]] = {}
    for share in record.size(SHARES, quick=SHARES[1:2]):
        holed = with_holes(train, share, record.seed)[0]
        known = of_known_categories(held, holed)[:MOST_ROWS]
        gaps, hidden = with_holes(known, share, record.seed + 1)
        model = row_models.fit_of(record, f"imputation of {name}, {100 * share:g} % missing", holed, record.seed)
        filled = {method: fill(holed, gaps, record.seed) for method, fill in IMPUTERS.items()}
        filled = {OURS: draws_of(model, gaps, record.seed), **filled}
        stds = {column: deviation(numbers(train[column])) for column in numbers_of(train)}
        by_share[share] = {method: quality(known, hidden, draws, stds) for method, draws in filled.items()}
        record.number(f"imputation.{name}.{100 * share:g} %", by_share[share])
    record.scores(
        f"{name}: {train.height:,} training rows of {train.width} columns.",
        ("missing", "cells by"),
        COLUMNS,
        {
            (f"{100 * share:g} %", method): [score]
            for share, scores in by_share.items()
            for method, score in scores.items()
        },
    )  # fmt: skip
    record.picture(
        f"imputation-{name}",
        question_figures.errors_of_imputation(by_share),
        f"{name}: CRPS and RMSE of imputed numbers, in standard deviations of their columns, by the share missing.",
    )
    record.answer(
        f"Are drawn cells of {name} nearer to what was there than those of other imputers?",
        "; ".join(_beside(share, scores) for share, scores in by_share.items()) + ".",
    )


def _beside(share: float, scores: Mapping[str, Score]) -> str:
    others = [method for method in scores if method != OURS]
    said = []
    for field, called in (("rmse", "RMSE"), ("crps", "CRPS")):
        best = min(others, key=lambda method: getattr(scores[method], field))
        said.append(f"{called} {shown(getattr(scores[OURS], field))}, {best} {shown(getattr(scores[best], field))}")
    if scores[OURS].accuracy is not None:
        said.append(f"accuracy {shown(scores[OURS].accuracy)}, the mode {shown(scores[MEDIAN].accuracy)}")
    return f"{100 * share:g} % missing: {', '.join(said)}"


def with_holes(rows: "pl.DataFrame", share: float, seed: int) -> tuple["pl.DataFrame", np.ndarray]:
    """Take each cell out with a probability, whatever it is; return the rows and which cells went, (n, columns)."""
    import polars as pl

    chosen = np.random.default_rng(seed).random((rows.height, rows.width)) < share
    there = np.stack([rows[name].is_not_null().to_numpy() for name in rows.columns], 1)
    gone = chosen & there
    return rows.with_columns(
        pl.when(pl.Series(~gone[:, place])).then(pl.col(name)).alias(name) for place, name in enumerate(rows.columns)
    ), gone


def draws_of(model: "TableModel", rows: "pl.DataFrame", seed: int) -> "list[pl.DataFrame]":
    """Return the rows filled by ours, once for each draw."""
    filled = model.impute(rows, num=DRAWS, seed=seed)
    return [filled[place::DRAWS] for place in range(DRAWS)]


def quality(
    true: "pl.DataFrame", hidden: np.ndarray, draws: "Sequence[pl.DataFrame]", stds: Mapping[str, float]
) -> Score:
    """Return how near drawn cells are to those that were there.

    Args:
        true: The rows before cells went.
        hidden: (n, columns), which went.
        draws: The rows filled, once or more; some of the columns will do.
        stds: Of the columns of numbers.
    """
    squares, ranked, inside, right = [], [], [], []
    for place, name in enumerate(true.columns):
        gone = hidden[:, place]
        if name not in draws[0].columns or not gone.any():
            continue
        cells = [one[name].filter(gone) for one in draws]
        if name in stds:
            values = np.stack([numbers(one) for one in cells]) / stds[name]
            y = numbers(true[name].filter(gone)) / stds[name]
            squares.append((values.mean(0) - y) ** 2)
            ranked.append(crps_of_draws(values, y))
            inside.append(np.full(len(y), share_inside(values.min(0), values.max(0), y)))
        else:
            right.append(
                most_frequent(np.stack([one.to_numpy() for one in cells])) == true[name].filter(gone).to_numpy()
            )
    return Score(
        rmse=_mean(squares, np.sqrt), crps=_mean(ranked), coverage=_mean(inside) if len(draws) > 1 else None,
        accuracy=_mean(right),
    )  # fmt: skip


def most_frequent(draws: np.ndarray) -> np.ndarray:
    """Return the most frequent of the draws (m, n), of equally frequent ones the one that came first: (n,)."""
    counts = (draws[:, None] == draws[None]).sum(0)  # (m, n)
    return np.take_along_axis(draws, counts.argmax(0)[None], 0)[0]


def _mean(parts: Sequence[np.ndarray], of: Callable[[float], float] = float) -> float | None:
    """Return the mean over all cells; None where there is none."""
    return float(of(np.concatenate(parts).mean())) if parts else None
