"""Tables of mixed columns: how far from a law that is known, and whether sampled rows can be told from real ones."""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pushforward.data import mixed_table
from pushforward.data.mixed_table import MixedLaw
from pushforward.report.plots.canvas import BLACK, BLUE, VERMILION, tidy
from pushforward.report.plots.marginals import marginals
from pushforward.studies.kit import Record
from pushforward.studies.tables.detection import detection_score
from pushforward.studies.tables.real_tables import ORIGINS, real_table
from pushforward.tables.row_fit_report import marginal_of
from pushforward.tables.table_model import TableModel

if TYPE_CHECKING:
    import polars as pl

TITLE = "Tables of mixed columns"
SOURCE = "papers that generate tables, judged by their detection score"

SECONDS = 60.0
ROWS = 20_000  # of the known law, a fifth of the cells missing
FRESH = 10_000
# Detection scores that papers give: arXiv:2410.20626 (TabDiff), arXiv:2310.09656 (TabSyn); GPU hours all but the last.
PUBLISHED = {
    "magic04": {"TabPC": 0.860, "TabDiff": 0.773, "TabSyn": 0.760, "mixture": 0.626, "CTGAN": 0.103},
    "adult": {"TabPC": 0.855, "TabDiff": 0.841, "TabSyn": 0.794, "mixture": 0.773},
}


def run(record: Record) -> None:
    """Fit the table of known law, then the public tables, in the time that the command takes by default."""
    seconds = record.size(SECONDS, quick=1.0) * record.share
    record.text(
        f"Each fit is `pf.TableModel.fit(rows, max_seconds={seconds:g})`, as the command `pushforward fit` does it,"
        " nothing set by hand. NLL in nats a row."
    )
    _known_law(record, seconds)
    if record.quick:
        record.text("The public tables are left out of the quick form.")
        return
    for name in ORIGINS:
        _public(record, name, seconds)


def fitted(rows: "pl.DataFrame", seconds: float, seed: int, test: float = 0.1) -> TableModel:
    """Return a model of rows."""
    return TableModel.fit(rows, max_seconds=seconds, seed=seed, test=test, progress=False, notify=lambda warning: None)


def _known_law(record: Record, seconds: float) -> None:
    record.heading("A law that is known")
    table: list[list[Any]] = []
    num = record.size(ROWS, quick=300)
    for seed in record.seeds():
        rows, law = mixed_table(num, missing=0.2, seed=seed)
        model = fitted(rows, seconds, seed)
        gaps = mixed_table(record.size(FRESH, quick=200), missing=0.2, seed=seed + 100)[0]
        whole = mixed_table(record.size(FRESH, quick=200), missing=0.0, seed=seed + 200)[0]
        joint, error = _excess(law, model, gaps)
        worst, given = max(
            (_excess(law, model, whole, subset)[0], subset)
            for size in (1, 2, 3, 4)
            for subset in itertools.combinations(whole.columns, size)
        )
        told = detection_score(whole, _refilled(model, gaps, whole, seed))
        table.append([f"seed {seed}", joint, error, worst, ", ".join(given), told])
        record.number(f"known.seed-{seed}.excess", [joint, error])
        record.number(f"known.seed-{seed}.worst_conditional", worst)
        record.number(f"known.seed-{seed}.imputed", told)
    record.table(
        f"{num:,} rows of a category, a count, an amount with an atom at 0 and a correlated pair, a fifth of the cells"
        f" missing; excess over the truth on {FRESH:,} fresh rows",
        ["", "excess, nats", "±", "largest excess of p(others | given)", "given", "score of imputed rows"],
        table,
    )
    record.finding(
        "The excess is that of rows with missing cells, whose exact marginals the law knows. The score of imputed rows:"
        " rows of which a fifth of the cells was taken away and drawn again, against whole rows; 1 is perfect."
    )


def _excess(
    law: MixedLaw, model: TableModel, rows: "pl.DataFrame", given: tuple[str, ...] | None = None
) -> tuple[float, float]:
    """Return the mean of log p_true - log p_model, and its standard error."""
    over = law.log_prob(rows, given=given or ()) - model.log_prob(rows, given=given)
    return float(over.mean()), float(over.std() / len(over) ** 0.5)


def _refilled(model: TableModel, gaps: "pl.DataFrame", whole: "pl.DataFrame", seed: int) -> "pl.DataFrame":
    return model.impute(gaps.head(whole.height), seed=seed).select(whole.columns)


def _public(record: Record, name: str, seconds: float) -> None:
    record.heading(name)
    frame = real_table(name)
    order = np.random.default_rng(0).permutation(frame.height)
    held_out, train = frame[order[: frame.height // 10]], frame[order[frame.height // 10 :]]
    scores, held_out_scores = [], []
    for seed in record.seeds():
        model = fitted(train, seconds, seed)
        sampled = model.sample(train.height, seed=seed)
        scores.append(detection_score(train, sampled, seed=seed))
        held_out_scores.append(detection_score(held_out, sampled.head(held_out.height), seed=seed))
        record.number(f"{name}.seed-{seed}", {
            "score": scores[-1], "held_out": held_out_scores[-1], "nll": model.evaluate().nll.mean,
            "baselines": {key: score.mean for key, score in model.baselines().items()},
        })  # fmt: skip
        if seed == record.seed:
            columns = [marginal_of(model.law.fitted[c], held_out[c], sampled[c]) for c in frame.columns]  # type: ignore[union-attr]
            caption = "Every column alone: rows that were held out, and samples (the first seed)."
            record.picture(f"{name}-columns", marginals(columns), caption)
    shuffled = train.select(train[c].shuffle(seed=k).alias(c) for k, c in enumerate(train.columns))
    half = train.height // 2
    by_chance, real = detection_score(train, shuffled), detection_score(train[:half], train[half : 2 * half])
    record.number(f"{name}.independent", by_chance)
    record.number(f"{name}.real", real)
    ours = float(np.mean(scores))
    record.table(
        f"Detection score of {train.height:,} rows ({ORIGINS[name]}); 1 is perfect",
        ["", "score", "seeds"],
        [
            [f"this model, {seconds:g} s on two cores", ours, ", ".join(f"{one:.3f}" for one in scores)],
            ["the same, against rows that were held out", float(np.mean(held_out_scores)), ""],
            *([f"{other} (published)", value, ""] for other, value in PUBLISHED[name].items()),
            ["independent columns", by_chance, ""],
            ["half of the real rows against the other half", real, ""],
        ],
    )
    figure = _bars({f"this model, {seconds:g} s": ours, **PUBLISHED[name], "independent columns": by_chance})
    record.picture(f"{name}-scores", figure, "Detection score; published ones took hours on a GPU, or more.")


def _bars(scores: dict[str, float]) -> Figure:
    figure = Figure(figsize=(6, 0.4 * len(scores) + 0.6), layout="constrained")
    axes = figure.add_subplot()
    for place, score in enumerate(scores.values()):
        axes.barh(place, score, color=VERMILION if place == 0 else BLUE)
        axes.text(score + 0.01, place, f"{score:.3f}", va="center", fontsize=8, color=BLACK)
    axes.set_yticks(range(len(scores)), list(scores), fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("detection score")
    tidy(axes)
    return figure
