"""Normalizing flows to read, to compose, and to run on a table.

The public names are imported when they are first used, so that `import pushforward` and `pushforward --help` do not
load torch.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_MODULES = {
    name: f"pushforward.{name}"
    for name in (
        "bases", "data", "flows", "losses", "metrics", "nets", "recipes", "scale", "studies", "tables",
        "training", "transforms", "vae",
    )
} | {"plots": "pushforward.report.plots"}  # fmt: skip
_NAMES = {
    "Flow": "pushforward.flows",
    "VariationalDequantization": "pushforward.flows",
    "TableModel": "pushforward.tables.table_model",
    "FlowDensity": "pushforward.estimator",
    "FlowOutlierDetector": "pushforward.estimator",
    "fit": "pushforward.training",
    "History": "pushforward.training",
    "verify": "pushforward.verification",
    "precision": "pushforward.numerics.precision",
    "latent_path": "pushforward.flows",
    "save": "pushforward.model_file",
    "load": "pushforward.model_file",
    "InputError": "pushforward.errors",
    "RunError": "pushforward.errors",
}

__all__ = [*_MODULES, *_NAMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
