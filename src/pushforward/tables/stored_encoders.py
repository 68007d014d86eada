"""Encoders read from a model file, whose numbers and words may be anything."""

from typing import Any

import numpy as np

from pushforward.rows.marginal import Marginal
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.circle import Circle
from pushforward.tables.encoders import NUMBER_KINDS, Encoder, NumberEncoder
from pushforward.tables.grid import Grid
from pushforward.tables.number_cells import MOST_DECIMALS


def encoder_from(stored: dict[str, Any]) -> Encoder:
    """Return the encoder that `to_dict` stored; ValueError, KeyError or TypeError for anything else."""
    return _categories(stored) if "values" in stored else _numbers(stored)


def _categories(stored: dict[str, Any]) -> CategoryEncoder:
    kind, values, other = stored["kind"], tuple(stored["values"]), float(stored.get("other", 0.0))
    if kind == "boolean":
        if values != (False, True) or {type(value) for value in values} != {bool}:
            raise ValueError("truth values are false and true")
    elif kind != "category" or not values or len(set(values)) != len(values) or {type(one) for one in values} != {str}:
        raise ValueError("categories are different words")
    if not 0 <= other < 1:
        raise ValueError("another value has a probability below 1")
    return CategoryEncoder(kind, values, other)


def _numbers(stored: dict[str, Any]) -> NumberEncoder:
    x, z, atoms = (np.array(stored[name], dtype=float) for name in ("x", "z", "atoms"))
    low, high = (float(stored[name]) for name in ("low", "high"))
    kind, decimals = stored["kind"], stored["decimals"]
    if kind not in NUMBER_KINDS:
        raise ValueError(f"there is no kind {kind!r:.40} of numbers")
    if decimals is not None and (type(decimals) is not int or not 0 <= decimals <= MOST_DECIMALS):
        raise ValueError(f"decimals are a whole number up to {MOST_DECIMALS}, or null")
    steep = x.ndim == z.ndim == 1 and len(x) == len(z) >= 2 and (np.diff(x) > 0).all() and (np.diff(z) > 0).all()
    finite = np.isfinite([low, high, *x, *z, *atoms]).all() and (np.diff(atoms) > 0).all()
    if not (steep and finite and low <= high):
        raise ValueError("scale and atoms increase, and all numbers are finite")
    circle = None if stored.get("circle") is None else Circle.from_dict(stored["circle"])
    if (circle is None) == (kind == "periodic"):
        raise ValueError("periodic numbers, and no others, lie on a circle")
    return NumberEncoder(kind, decimals, Grid.from_dict(stored), low, high, atoms, Marginal(x, z), circle)
