"""One peer fitted and sampled by the clock, in an environment of its own; this file imports nothing of pushforward.

    python -I peer_script.py NAME train.parquet samples.parquet NUM_ROWS SEED SETTINGS

SETTINGS are the model's own, as JSON. What it took and the versions are printed as JSON, on the last line. Missing
cells of text are a category; integer columns come back rounded.
"""

import importlib
import importlib.metadata
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

MISSING, TABLE = "(missing)", "rows"


def main(name: str, train: str, samples: str, num_rows: str, seed: str, settings: str) -> None:
    """Fit, sample, write, and print what it took."""
    import pandas as pd

    warnings.simplefilter("ignore")
    rows = pd.read_parquet(train)
    text = [column for column in rows if not pd.api.types.is_numeric_dtype(rows[column])]
    rows[text] = rows[text].fillna(MISSING).astype(str)
    importlib.import_module(MODULES[name])  # not timed
    _seed_all(int(seed))
    started = time.monotonic()
    sample = FITS[name](rows, text, json.loads(settings))
    fitted = time.monotonic()
    drawn = sample(int(num_rows))
    sampled = time.monotonic()
    drawn = drawn[list(rows.columns)].astype(dict.fromkeys(text, str)).replace(MISSING, None)
    for column in rows.select_dtypes("integer"):
        drawn[column] = drawn[column].round().astype("int64")
    drawn.to_parquet(samples, index=False)
    versions = {package: importlib.metadata.version(package) for package in PACKAGES[name]}
    print(json.dumps({"fit_seconds": fitted - started, "sample_seconds": sampled - fitted, "versions": versions}))


def _seed_all(seed: int) -> None:
    np.random.seed(seed)
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(seed)


def _arf(rows: Any, text: list[str], settings: dict[str, Any]) -> Callable[[int], Any]:
    from arfpy import arf

    forest = arf.arf(x=rows.astype(dict.fromkeys(text, "category")), verbose=False, **settings)
    forest.forde()
    return lambda num_rows: forest.forge(n=num_rows)


def _sdv(kind: str) -> Callable[..., Callable[[int], Any]]:
    def fit(rows: Any, text: list[str], settings: dict[str, Any]) -> Callable[[int], Any]:
        from sdv import single_table
        from sdv.metadata import Metadata

        columns = {name: {"sdtype": "categorical" if name in text else "numerical"} for name in rows}
        metadata = Metadata.load_from_dict({"tables": {TABLE: {"columns": columns}}})
        model = getattr(single_table, kind)(metadata, **settings)
        model.fit({TABLE: rows})
        return lambda num_rows: model.sample(num_rows=num_rows)[TABLE]

    return fit


FITS = {"arfpy": _arf, "GaussianCopula": _sdv("GaussianCopulaSynthesizer"), "CTGAN": _sdv("CTGANSynthesizer")}
MODULES = {"arfpy": "arfpy.arf", "GaussianCopula": "sdv.single_table", "CTGAN": "sdv.single_table"}
PACKAGES = {
    "arfpy": ("arfpy", "scikit-learn"),
    "GaussianCopula": ("sdv", "copulas"),
    "CTGAN": ("sdv", "ctgan", "torch"),
}

if __name__ == "__main__":
    main(*sys.argv[1:])
