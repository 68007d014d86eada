"""The law of one column given all others, beside linear and boosted quantiles."""

from typing import TYPE_CHECKING

import numpy as np

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Score, mean, shown
from pushforward.studies.tables import row_models
from pushforward.studies.tables.features import Features, of_known_categories
from pushforward.studies.tables.proper_scores import LEVELS, crps_of_quantiles, share_inside, standard_error
from pushforward.studies.tables.sources import split

if TYPE_CHECKING:
    import polars as pl

COLUMNS = {"magic04": "fAlpha", "adult": "age", "protein": "x7", "mixed": "paid"}  # of each table
MOST_ROWS, MOST_LINEAR = 2_000, 2_000
OURS, LINEAR, BOOSTED = "ours", "linear quantiles", "boosted quantiles"


def measure(record: Record, tables: "dict[str, pl.DataFrame]") -> None:
    """Predict one column of held-out rows of each table."""
    record.heading("Prediction")
    record.text(
        f"One column given all others, of at most {MOST_ROWS:,} held-out rows. CRPS: twice the mean pinball loss of "
        f"the quantiles {', '.join(f'{level:g}' for level in LEVELS)}, in standard deviations of the column. Inside: "
        "values between the first and the last of these; 0.9 is right. Linear quantile regression (scikit-learn, "
        f"{MOST_LINEAR:,} training rows) and HistGradientBoostingRegressor with quantile loss, each quantile by itself."
    )
    scores: dict[str, list[Score]] = {}
    for name, rows in tables.items():
        column = COLUMNS[name]
        found = compared(record, name, column, *split(rows))
        record.number(f"prediction.{name}", found)
        scores |= {f"{name}, {column}: {method}": [score] for method, score in found.items()}
    record.scores(
        "Held-out rows.",
        "table, column, by",
        (("CRPS", "crps"), ("its standard error", "crps_error"), ("inside 90 %", "inside"), ("NLL", "nll")),
        scores,
    )
    record.answer(
        "Is the law of a column as good as that of a model made for it?",
        "; ".join(f"{name} {shown(mean(found, 'crps'))}" for name, found in scores.items()) + ".",
    )


def compared(record: Record, name: str, column: str, train: "pl.DataFrame", held: "pl.DataFrame") -> dict[str, Score]:
    """Return the figures of each method for one column."""
    held = of_known_categories(held, train).filter(held[column].is_not_null()).head(MOST_ROWS)
    train = train.filter(train[column].is_not_null())
    model = row_models.fit_of(record, f"prediction of {name}", train, record.seed)
    y, scale = held[column].to_numpy().astype(float), float(np.std(train[column].to_numpy()) or 1.0)
    law = model.predict(held.drop(column), column)
    rest = [other for other in held.columns if other != column]
    laws = {OURS: law.select(f"q{level:.0%}"[:-1] for level in LEVELS).to_numpy()}
    features = Features(train.drop(column))
    x, target, test = features(train.drop(column)), train[column].to_numpy().astype(float), features(held.drop(column))
    laws |= {LINEAR: _linear(x, target, test), BOOSTED: _boosted(x, target, test)}
    found = {}
    for method, quantiles in laws.items():
        each = crps_of_quantiles(quantiles, y) / scale
        nll = -float(model.log_prob(held, given=rest).mean()) if method == OURS else None
        found[method] = Score(
            crps=float(each.mean()), crps_error=standard_error(each),
            inside=share_inside(quantiles[:, 0], quantiles[:, -1], y), nll=nll,
        )  # fmt: skip
    return found


def _linear(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import QuantileRegressor

    x, y = x[:MOST_LINEAR], y[:MOST_LINEAR]
    center, spread = y.mean(), y.std() or 1.0
    fitted = [QuantileRegressor(quantile=level, alpha=1e-4).fit(x, (y - center) / spread) for level in LEVELS]
    return np.sort(np.column_stack([one.predict(test) for one in fitted]) * spread + center, 1)


def _boosted(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted = [HistGradientBoostingRegressor(loss="quantile", quantile=q, random_state=0).fit(x, y) for q in LEVELS]
    return np.sort(np.column_stack([one.predict(test) for one in fitted]), 1)
