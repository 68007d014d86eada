"""One real table: samples of ours, of the peers and of columns drawn by themselves, and held-out rows, judged alike."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Columns, Score, cells, mean, shown, values
from pushforward.studies.tables import peers, published, row_models, table_figures
from pushforward.studies.tables.detection import SEEDS, detect
from pushforward.studies.tables.row_models import Drawn

if TYPE_CHECKING:
    import polars as pl

LENGTHS, MAIN = (15, 60, 240), 60  # seconds of fit: `MAIN` from every seed, the others from the first
HELD, ALONE = "held-out rows", "independent columns"


def compare(record: Record, name: str, rows: "pl.DataFrame", held: "pl.DataFrame") -> None:
    """Judge samples of every model of the rows, and report them beside what papers do."""
    record.heading(name)
    alone = row_models.independent_columns(rows, rows.height, record.seed)
    scores = {who: [_score(record, name, who, rows, Drawn(one))] for who, one in ((HELD, held), (ALONE, alone))}
    ours, samples = _ours(record, name, rows)
    scores |= {f"ours, {seconds:g} s": found for seconds, found in ours.items()}
    others = _others(record, name, rows)
    _report(record, name, rows, scores | {who: [score] for who, score in others.items()})
    levels = {who: scores[who][0].c2st for who in (HELD, ALONE)} | {
        f"{who}, published": score for who, score in published.SCORES.get(name, {}).items() if who != ALONE
    }
    record.picture(
        f"score-{name}",
        table_figures.score_against_seconds(
            {seconds: values(found, "c2st") for seconds, found in ours.items()},
            {who: (score.fit_seconds, score.c2st) for who, score in others.items()},
            levels,
        ),
        f"{name}: detection score against seconds of fit; lines: held-out rows, columns drawn by themselves"
        f"{f', and what others report ({published.WHERE})' if name in published.SCORES else ''}.",
    )
    record.picture(
        f"columns-{name}", table_figures.columns(rows, samples), f"{name}: each column of training rows and samples."
    )


def _ours(record: Record, name: str, rows: "pl.DataFrame") -> tuple[dict[float, list[Score]], "pl.DataFrame"]:
    """Return the scores of ours by seconds of fit, one a seed, and the samples of the longest fit."""
    found: dict[float, list[Score]] = {}
    for length in record.size(LENGTHS, quick=(MAIN,)):
        seconds = record.size(length * record.share, quick=1.0)
        for seed in record.seeds() if length == MAIN else [record.seed]:
            drawn = row_models.timed(rows, rows.height, seconds, seed)
            label = f"ours {seconds:g} s, seed {seed}"
            record.runs.append({"label": f"{name}, {label}", "seconds": drawn.fit_seconds})
            found.setdefault(seconds, []).append(_score(record, name, label, rows, drawn))
    return found, drawn.rows


def _others(record: Record, name: str, rows: "pl.DataFrame") -> dict[str, Score]:
    """Return the scores of the peers that could be run, by their names and versions."""
    found = {}
    for peer, one in peers.draw(record, name, rows, rows.height).items():
        record.number(f"tables.{name}.peers.{peer}", {"versions": one.versions, "failure": one.failure})
        if one.drawn is None:
            record.text(f"{peer} gave no samples: {one.failure}.")
        else:
            found[f"{peer} {one.version}"] = _score(record, name, peer, rows, one.drawn)
    return found


def _score(record: Record, table: str, model: str, rows: "pl.DataFrame", drawn: Drawn) -> Score:
    found = detect(rows, drawn.rows, seeds=record.size(SEEDS, quick=SEEDS[:1]))
    seconds = {"fit_seconds": drawn.fit_seconds, "sample_seconds": drawn.sample_seconds}
    score = Score(c2st=found.score, auc=found.auc, by_seed=found.by_seed, **seconds)
    record.number(f"tables.{table}.models.{model}", vars(score))
    record.say(f"  {table}, {model}: {found.score:.3f}")
    return score


COLUMNS: Columns = (
    ("detection score", "c2st"),
    ("AUC", "auc"),
    ("seconds of fit", "fit_seconds"),
    ("to sample", "sample_seconds"),
)


def _report(record: Record, name: str, rows: "pl.DataFrame", scores: Mapping[str, Sequence[Score]]) -> None:
    reported = published.SCORES.get(name, {})
    record.number(f"tables.{name}.published", {"where": published.WHERE, **reported})
    record.table(
        f"{rows.height:,} training rows of {rows.width} columns; mean over seeds (lowest to highest). Seconds of fit, "
        "and to draw as many rows.",
        ["rows of", *(head for head, _ in COLUMNS), "measured"],
        [[who, *cells(COLUMNS, found), "here"] for who, found in scores.items()]
        + [[who, f"{score:.3f}", "", "", "", published.WHERE] for who, score in reported.items()],
    )
    ours = {who: mean(found, "c2st") for who, found in scores.items() if who.startswith("ours")}
    best = max(ours, key=ours.__getitem__)
    below = [who for who, score in reported.items() if score < ours[best]]
    compared = f" Of the published models it is above {', '.join(below) or 'none'}." if reported else ""
    record.answer(
        f"Do trees tell samples from rows of {name}?",
        f"Detection score {shown(ours[best])} ({best}); held-out rows {shown(mean(scores[HELD], 'c2st'))}, columns "
        f"drawn by themselves {shown(mean(scores[ALONE], 'c2st'))}.{compared}",
    )
