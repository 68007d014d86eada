"""One column given all others: the laws that `predict` gives, beside models trained for that one column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Columns, Score, shown
from pushforward.studies.tables import question_figures
from pushforward.studies.tables.features import Features, deviation, numbers, numbers_of
from pushforward.studies.tables.proper_scores import LEVELS, crps_of_quantiles, share_inside, standard_error
from pushforward.studies.tables.regressors import CLASSIFIERS, MOST_TREES, REGRESSORS, Predicted
from pushforward.tables.answers import answers_or_refused

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.answers import Answers
    from pushforward.tables.table_model import TableModel

OURS, ALONE = "ours", "ours, the questions alone"
LEAST_PROBABILITY = 1e-15  # of a class, in the log loss of others
OF_NUMBERS: Columns = (
    ("CRPS at five levels", "crps"),
    ("its standard error", "crps_standard_error"),
    ("NLL", "nll"),
    ("its standard error", "nll_standard_error"),
    ("between the 5 % and 95 % quantiles", "coverage"),
)
OF_CLASSES: Columns = (
    ("log loss", "nll"),
    ("its standard error", "nll_standard_error"),
    ("accuracy", "accuracy"),
)


@dataclass(frozen=True)
class Fitted:
    """A model of a table, fitted once for all questions about it.

    Attributes:
        model: The model.
        train: Its training rows.
        held: Rows that it has not seen, of categories that it has.
    """

    model: "TableModel"
    train: "pl.DataFrame"
    held: "pl.DataFrame"


def measure(record: Record, fitted: Mapping[str, Fitted], columns: Mapping[str, Sequence[str]]) -> None:
    """Predict some columns of each table by every method."""
    record.heading("One column given the others")
    record.text(
        "Held-out rows; every method is given all other columns, those of scikit-learn as features (numbers "
        "standardized, categories one-hot). CRPS as twice the mean pinball loss over the 5, 25, 50, 75 and "
        "95 % quantiles, of every method, in standard deviations of the column. NLL in nats and the column's "
        "unit; of whole numbers ours is of probabilities, beside which a density stands for the step of 1. Boosted: "
        f"scikit-learn's histogram trees, at most {MOST_TREES}, one model for each quantile."
    )
    below: dict[str, dict[str, Sequence[float]]] = {}
    for name, one in fitted.items():
        for column in columns[name]:
            if column in numbers_of(one.train):
                below[f"{name}, {column}"] = _numbers(record, name, column, one)
            else:
                _classes(record, name, column, one)
    record.picture(
        "prediction",
        question_figures.shares_below(below),
        "Held-out values: the share at or below each predicted quantile. Dashed: the level, which true quantiles have.",
    )


def numbers_given_others(one: Fitted, column: str, seed: int) -> tuple[dict[str, Predicted], np.ndarray]:
    """Return what every method says of a column of numbers in held-out rows, and what came, (n,)."""
    train, held = (part.drop_nulls(column) for part in (one.train, one.held))
    others = [name for name in train.columns if name != column]
    y, came = (numbers(part[column]) for part in (train, held))
    predicted = {
        who: Predicted(
            answers.predict(held, column).select(f"q{100 * level:g}" for level in LEVELS).to_numpy(),
            answers.log_prob(answers.read(held), others),
        )
        for who, answers in both_answers(one).items()
    }
    features = Features(train.select(others))
    x, test = features(train), features(held)
    predicted |= {method: fit(x, y, test, came, seed) for method, fit in REGRESSORS.items()}
    return predicted, came


def both_answers(one: Fitted) -> "dict[str, Answers]":
    """Return what answers: the law of whole rows at what the questions propose, and these alone."""
    answers = answers_or_refused(one.model.law.answers)
    return {OURS: answers, ALONE: answers.alone()}


def quality(predicted: Predicted, came: np.ndarray, std: float) -> Score:
    """Return how good quantiles and log densities are beside what came, (n,); CRPS in units of `std`."""
    crps = crps_of_quantiles(predicted.quantiles, came) / std
    log_prob = predicted.log_prob
    return Score(
        crps=float(crps.mean()), crps_standard_error=standard_error(crps),
        nll=None if log_prob is None else -float(log_prob.mean()),
        nll_standard_error=None if log_prob is None else standard_error(log_prob),
        coverage=share_inside(predicted.quantiles[:, 0], predicted.quantiles[:, -1], came),
        below=(came[:, None] <= predicted.quantiles).mean(0).tolist(),
    )  # fmt: skip


def classes_given_others(one: Fitted, column: str, seed: int) -> dict[str, Score]:
    """Return the log loss and accuracy of every method on a column of classes in held-out rows."""
    train, held = (part.drop_nulls(column) for part in (one.train, one.held))
    others = [name for name in train.columns if name != column]
    y, came = (part[column].to_numpy().astype(str) for part in (train, held))
    found = {
        who: _of_classes(
            answers.log_prob(answers.read(held), others),
            answers.predict(held, column)[column].to_numpy().astype(str) == came,
        )
        for who, answers in both_answers(one).items()
    }
    features = Features(train.select(others))
    x, test = features(train), features(held)
    for method, fit in CLASSIFIERS.items():
        classes, probability = fit(x, y, test, seed)
        of_what_came = probability[np.arange(len(came)), np.searchsorted(classes, came)]
        log_prob = np.log(np.maximum(of_what_came, LEAST_PROBABILITY))
        found[method] = _of_classes(log_prob, classes[probability.argmax(1)] == came)
    return found


def _of_classes(log_prob: np.ndarray, right: np.ndarray) -> Score:
    return Score(nll=-float(log_prob.mean()), nll_standard_error=standard_error(log_prob), accuracy=float(right.mean()))


def _numbers(record: Record, name: str, column: str, one: Fitted) -> dict[str, Sequence[float]]:
    predicted, came = numbers_given_others(one, column, record.seed)
    std = deviation(numbers(one.train[column]))
    scores = {method: quality(found, came, std) for method, found in predicted.items()}
    _report(record, name, column, scores, OF_NUMBERS, f"{len(came):,} rows, standard deviation {shown(std)}")
    return {method: score.below for method, score in scores.items()}


def _classes(record: Record, name: str, column: str, one: Fitted) -> None:
    scores = classes_given_others(one, column, record.seed)
    rows = one.held[column].drop_nulls().len()
    _report(
        record, name, column, scores, OF_CLASSES, f"{rows:,} rows, {one.train[column].drop_nulls().n_unique()} classes"
    )


def _report(record: Record, name: str, column: str, scores: Mapping[str, Score], columns: Columns, about: str) -> None:
    record.number(f"prediction.{name}.{column}", scores)
    record.scores(f"{name}, {column}: {about}.", "law by", columns, {who: [score] for who, score in scores.items()})
    field = "crps" if columns is OF_NUMBERS else "nll"
    best = min((who for who in scores if who not in (OURS, ALONE)), key=lambda who: getattr(scores[who], field))
    record.answer(
        f"How near is the law of {column} in {name} to that of models trained for this column?",
        f"{columns[0][0]} {shown(getattr(scores[OURS], field))}; {best} {shown(getattr(scores[best], field))}.",
    )
