"""Anomalies: how well the score of `anomalies` tells them from other rows, and whether its p-values are what they say.

Beside it the detectors of outliers that others use; where the law is known, the score that none exceeds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Columns, Score, largest, mean, shown, values
from pushforward.studies.tables import question_figures, row_models
from pushforward.studies.tables.features import Features
from pushforward.studies.tables.labelled_tables import Labelled, log_ratio
from pushforward.studies.tables.outlier_detectors import COMPONENTS, DETECTORS, NEIGHBOURS, TREES
from pushforward.studies.tables.proper_scores import error_of_share
from pushforward.tables.anomalies import usual_of

if TYPE_CHECKING:
    from pushforward.tables.table_model import TableModel

HELD = 0.1  # of the training rows, for p-values: what `fit` holds out by default
LEVEL = 0.01
OURS, JOINT, TOLD, LAW = "ours", "ours, log_prob of the row", "ours, told the column", "exact likelihood ratio"
COLUMNS: Columns = (
    ("AUC", "auc"),
    ("its standard error", largest("auc_standard_error")),
    ("average precision", "average_precision"),
)
CURVE = np.geomspace(0.001, 1, 60)  # levels of the picture


@dataclass(frozen=True)
class Anomalies:
    """A labelled table of the study.

    Attributes:
        about: What is anomalous in it.
        rows: Seed -> the table.
        repeated: Whether it is fitted from every seed: the small one.
    """

    about: str
    rows: Callable[[int], Labelled]
    repeated: bool = False


def measure(record: Record, tables: Mapping[str, Anomalies]) -> None:
    """Score the test rows of every table by every method, and count p-values of usual rows."""
    record.heading("Anomalies")
    record.text(
        "AUC and average precision of scores among test rows of which some are anomalies; standard errors after Hanley "
        f"& McNeil (1982). Ours: the score of `anomalies`, its p-values by the {HELD:g} of the training rows that "
        "`fit` holds out. Others, of the same training rows, numbers standardized and categories one-hot: "
        f"IsolationForest of {TREES} trees, LocalOutlierFactor of {NEIGHBOURS} neighbours, "
        f"GaussianMixture of {', '.join(map(str, COMPONENTS[:-1]))} or {COMPONENTS[-1]} components by BIC."
    )
    areas: dict[str, dict[str, list[float]]] = {}
    p_values: dict[str, np.ndarray] = {}
    shares: dict[str, list[Score]] = {}
    for name, table in tables.items():
        scores: dict[str, list[Score]] = {}
        shares[name] = []
        for seed in record.seeds() if table.repeated else [record.seed]:
            labelled = table.rows(seed)
            model = row_models.fit_of(record, f"anomalies of {name}", labelled.train, seed, test=HELD)
            found, p_value = scores_of_rows(model, labelled, seed)
            for method, score in found.items():
                scores.setdefault(method, []).append(quality(labelled.anomaly, score))
            usual = p_value[~labelled.anomaly]
            shares[name].append(_share(usual, len(usual_of(model.law).compared)))
            p_values.setdefault(name, usual)
        record.number(f"anomalies.{name}", {"methods": scores, "p_values": shares[name]})
        areas[name] = {method: values(found, "auc") for method, found in scores.items()}
        record.scores(
            f"{name}: {table.about}. {labelled.train.height:,} training rows of {labelled.train.width} columns, "
            f"{len(labelled.anomaly):,} test rows, {labelled.anomaly.sum():,} of them anomalies.",
            "score",
            COLUMNS,
            scores,
        )
    _report(record, areas, p_values, shares)


def scores_of_rows(model: "TableModel", labelled: Labelled, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scores of the test rows by method, high where a row is unusual, and the p-values of ours."""
    found = model.anomalies(labelled.test)
    scores = {OURS: found["score"].to_numpy(), JOINT: -found["log_prob"].to_numpy()}
    if labelled.told:
        scores[TOLD] = model.anomalies(labelled.test, columns=labelled.told)["score"].to_numpy()
    features = Features(labelled.train)
    x, test = features(labelled.train), features(labelled.test)
    scores |= {name: -fit(x, seed).score_samples(test) for name, fit in DETECTORS.items()}
    if labelled.law is not None:
        scores[LAW] = log_ratio(labelled.law, labelled.test, labelled.told or labelled.test.columns)
    return scores, found["p_value"].to_numpy()


def quality(anomaly: np.ndarray, score: np.ndarray) -> Score:
    """Return how well a score, (n,), tells anomalies: area under the curve, its error, average precision."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    score = np.clip(score, -1e30, 1e30)  # what has no probability has the highest
    auc = float(roc_auc_score(anomaly, score))
    error = error_of_area(auc, int(anomaly.sum()), int((~anomaly).sum()))
    return Score(
        auc=auc, auc_standard_error=error, average_precision=float(average_precision_score(anomaly, score)),
        anomalies=int(anomaly.sum()), rows=len(anomaly),
    )  # fmt: skip


def error_of_area(auc: float, num_anomalies: int, num_usual: int) -> float:
    """Return the standard error of an area under the curve by Hanley & McNeil (1982), eq. 1."""
    of_anomalies, of_usual = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (num_anomalies - 1) * (of_anomalies - auc**2) + (num_usual - 1) * (of_usual - auc**2)
    ) / (num_anomalies * num_usual)
    return math.sqrt(max(variance, 0.0))


def _share(p_values: np.ndarray, known: int) -> Score:
    expected, error = error_of_share(LEVEL, known, len(p_values))
    share = float((p_values <= LEVEL).mean())
    return Score(share=share, expected=expected, standard_error=error, rows=len(p_values), known=known)


def _report(
    record: Record,
    areas: Mapping[str, Mapping[str, Sequence[float]]],
    p_values: Mapping[str, np.ndarray],
    shares: Mapping[str, Sequence[Score]],
) -> None:
    record.scores(
        f"p-values of test rows that are no anomalies: the share at or below {LEVEL:g}; what it is on average over "
        "draws of reference and test rows, and its standard deviation over these. Where training rows have wrong "
        "cells, so have the rows of reference, and fewer p-values are low.",
        "table",
        (
            ("rows", lambda found: found[0].rows),
            ("rows of reference", lambda found: found[0].known),
            ("share", "share"),
            ("expected", "expected"),
            ("its standard deviation", largest("standard_error")),
        ),
        shares,
    )
    record.picture(
        "anomalies",
        question_figures.areas(areas),
        "AUC of each score on each table; where there are several seeds, of each.",
    )
    curves = {name: (CURVE, [float((found <= level).mean()) for level in CURVE]) for name, found in p_values.items()}
    record.picture(
        "p-values",
        question_figures.shares_at_levels(curves),
        "Test rows that are no anomalies, first seed: the share whose p-value is at most a level. Dashed: the level.",
    )
    best = {name: max((who for who in found if who in DETECTORS), key=_mean_of(found)) for name, found in areas.items()}
    above = [name for name, found in areas.items() if _mean_of(found)(OURS) > _mean_of(found)(best[name])]
    record.answer(
        "Does the score tell anomalies better than detectors of outliers do?",
        f"Its AUC is above that of the best of {len(DETECTORS)} detectors on {len(above)} of {len(areas)} tables"
        f" ({', '.join(above) or 'none'}): "
        + "; ".join(
            f"{name} {shown(_mean_of(found)(OURS))}, {best[name]} {shown(_mean_of(found)(best[name]))}"
            for name, found in areas.items()
        )
        + ".",
    )
    record.answer(
        f"Do {100 * LEVEL:g} % of usual rows have a p-value of {LEVEL:g} or less?",
        "; ".join(f"{name} {shown(mean(found, 'share'))}" for name, found in shares.items()) + ".",
    )


def _mean_of(found: Mapping[str, Sequence[float]]) -> Callable[[str], float]:
    return lambda who: float(np.mean(found[who]))
