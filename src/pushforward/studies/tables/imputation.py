"""Missing cells: how near to the true ones are draws and means, beside the usual ways to fill them in?"""

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Score, mean, shown
from pushforward.studies.tables import row_models
from pushforward.studies.tables.features import numbers_of
from pushforward.studies.tables.proper_scores import crps_of_draws, share_inside
from pushforward.studies.tables.sources import split

if TYPE_CHECKING:
    import polars as pl

SHARES = (0.1, 0.3, 0.5)
MOST_TRAINING, MOST_ROWS, NEIGHBOURS = 3_000, 1_000, 10  # of the other ways, and rows that are filled in
DRAWS = 20
OURS = "ours"


def measure(record: Record, tables: "dict[str, pl.DataFrame]") -> None:
    """Hide cells of training rows and of held-out ones, fill the latter in, and compare with what was there."""
    record.heading("Imputation")
    record.text(
        "Cells are hidden at random, of the training rows, too; those of held-out rows are filled in. RMSE and CRPS "
        f"over numbers in standard deviations of their columns; of ours the conditional mean and {DRAWS} draws, of "
        f"ways that give one value CRPS is the mean absolute error. KNNImputer ({NEIGHBOURS} neighbours) and "
        f"IterativeImputer (BayesianRidge) see numbers alone, {MOST_TRAINING:,} training rows. Inside: true values "
        "within the 5 and 95 % quantiles. Right: categories that are the most probable one."
    )
    scores: dict[str, list[Score]] = {}
    for name, rows in tables.items():
        train, held = split(rows)
        held = held.head(MOST_ROWS)
        for share in record.size(SHARES, quick=SHARES[1:2]):
            holed = [with_gaps(part, share, seed) for part, seed in ((train, 1), (held, 2))]
            found = compared(record, f"imputation of {name}, {share:g} missing", holed[0], holed[1], held)
            scores |= {f"{name}, {share:.0%}: {method}": [score] for method, score in found.items()}
            record.number(f"imputation.{name}.{share:g}".replace("0.", ""), found)
    record.scores(
        "Held-out rows whose cells were filled in.",
        "table, share missing, by",
        (("RMSE", "rmse"), ("CRPS", "crps"), ("inside 90 %", "inside"), ("right", "right")),
        scores,
    )
    best = [name for name in scores if name.endswith(f": {OURS}")]
    ahead = [name for name in best if all(_crps(scores[name]) < _crps(scores[o]) for o in _others(scores, name))]
    record.answer(
        "Is what is filled in nearer to what was there?",
        f"By CRPS in {len(ahead)} of {len(best)} cases. "
        + "; ".join(f"{name.removesuffix(f': {OURS}')} {shown(_crps(scores[name]))}" for name in best)
        + ".",
    )


def with_gaps(rows: "pl.DataFrame", share: float, seed: int) -> "pl.DataFrame":
    """Return rows of which a share of the cells is missing at random."""
    import polars as pl

    random = np.random.default_rng(seed)
    return rows.with_columns(
        pl.when(pl.Series(random.random(rows.height) < share)).then(None).otherwise(pl.col(name)).alias(name)
        for name in rows.columns
    )


def compared(
    record: Record, label: str, train: "pl.DataFrame", holed: "pl.DataFrame", truth: "pl.DataFrame"
) -> dict[str, Score]:
    """Return the figures of each way to fill in."""
    model = row_models.fit_of(record, label, train, record.seed)
    means, draws = model.impute(holed, mean=True), model.impute(holed, num=DRAWS, seed=record.seed)
    numbers = numbers_of(train)
    scale = {name: float(np.std(train[name].drop_nulls().to_numpy()) or 1.0) for name in numbers}
    ours: dict[str, list[np.ndarray]] = {"square": [], "crps": [], "inside": []}
    right = []
    for name in holed.columns:
        gone = (holed[name].is_null() & truth[name].is_not_null()).to_numpy()
        if not gone.any():
            continue
        if name not in numbers:
            right.append((means[name].cast(str) == truth[name].cast(str)).to_numpy()[gone])
            continue
        y, at = truth[name].to_numpy().astype(float)[gone] / scale[name], np.flatnonzero(gone)
        many = draws[name].to_numpy().astype(float).reshape(-1, DRAWS)[at].T / scale[name]
        ends = [means[f"{name}_{end}"].to_numpy().astype(float)[gone] / scale[name] for end in ("q5", "q95")]
        ours["square"].append((means[name].to_numpy().astype(float)[gone] / scale[name] - y) ** 2)
        ours["crps"].append(crps_of_draws(many, y))
        ours["inside"].append(np.full(len(y), share_inside(ends[0], ends[1], y)))
    rmse, crps, inside = (np.concatenate(ours[part]).mean() for part in ("square", "crps", "inside"))
    found = {
        OURS: Score(
            rmse=math.sqrt(rmse), crps=float(crps), inside=float(inside),
            right=float(np.concatenate(right).mean()) if right else None,
        )
    }  # fmt: skip
    modes = [_mode(train[name], holed[name], truth[name]) for name in holed.columns if name not in numbers]
    for method, filled in _others_fill(train, holed, numbers).items():
        errors = []
        for k, name in enumerate(numbers):
            gone = (holed[name].is_null() & truth[name].is_not_null()).to_numpy()
            errors.append((filled[gone, k] - truth[name].to_numpy().astype(float)[gone]) / scale[name])
        error = np.concatenate(errors)
        found[method] = Score(
            rmse=float(np.sqrt((error**2).mean())), crps=float(np.abs(error).mean()), inside=None,
            right=float(np.concatenate(modes).mean()) if modes and method == "median" else None,
        )  # fmt: skip
    return found


def _mode(train: "pl.Series", holed: "pl.Series", truth: "pl.Series") -> np.ndarray:
    """Whether each hidden category is the most frequent one."""
    gone = (holed.is_null() & truth.is_not_null()).to_numpy()
    return (truth.cast(str) == train.drop_nulls().cast(str).mode()[0]).to_numpy()[gone]


def _others_fill(train: "pl.DataFrame", holed: "pl.DataFrame", numbers: list[str]) -> dict[str, np.ndarray]:
    """Return the columns of numbers, filled in by the ways of scikit-learn."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    few, rows = (part.select(numbers).to_numpy().astype(float) for part in (train.head(MOST_TRAINING), holed))
    center, spread = np.nanmean(few, 0), np.nanstd(few, 0) + 1e-12
    ways = {
        "median": SimpleImputer(strategy="median"), "KNNImputer": KNNImputer(n_neighbors=NEIGHBOURS),
        "IterativeImputer": IterativeImputer(random_state=0),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that rounds ended before it converged
        return {
            name: way.fit((few - center) / spread).transform((rows - center) / spread) * spread + center
            for name, way in ways.items()
        }


def _crps(scores: list[Score]) -> float:
    return mean(scores, "crps")


def _others(scores: dict[str, list[Score]], ours: str) -> list[str]:
    case = ours.removesuffix(OURS)
    return [name for name in scores if name.startswith(case) and name != ours]
