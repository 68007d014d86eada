"""How the page looks at a flow: the temperature, the point that is followed, the square, the layers left out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pushforward.errors import InputError, described

FAR = 1e10  # the largest coordinate that a page may name
COLDEST = 1e-3  # the temperature that stands for 0, at which no flow can be sampled


@dataclass(frozen=True)
class Look:
    """What a frame shows beside the flow itself.

    Attributes:
        temperature: Of the samples.
        layers: How many learned steps, those nearest the base, density and samples use; None for all.
        follow: The point whose way through the layers is shown, (x1, x2).
        square: (left, right, bottom, top) of the plane of the data.
    """

    temperature: float = 1.0
    layers: int | None = None
    follow: tuple[float, float] | None = None
    square: tuple[float, float, float, float] | None = None

    @classmethod
    def read(cls, given: Any) -> "Look":
        """Return what a page has sent; InputError, which names the entry, where it cannot be."""
        known = {field.name for field in fields(cls)}
        if not isinstance(given, Mapping) or not known.issuperset(given):
            raise InputError(f"a look has {', '.join(sorted(known))}; got {described(given)}.")
        found = dict(given)
        if found.get("temperature") is not None:
            found["temperature"] = max(_numbers("temperature", [found["temperature"]], 1, 0.0, 3.0)[0], COLDEST)
        if found.get("layers") is not None:
            found["layers"] = int(_numbers("layers", [found["layers"]], 1, 0, 64)[0])
        for name, size in (("follow", 2), ("square", 4)):
            if found.get(name) is not None:
                found[name] = _numbers(name, found[name], size, -FAR, FAR)
        if found.get("square") is not None:
            left, right, bottom, top = found["square"]
            if not (left < right and bottom < top):
                raise InputError("square must be left < right and bottom < top.")
        return cls(**{name: value for name, value in found.items() if value is not None})


def _numbers(name: str, given: Any, size: int, low: float, high: float) -> tuple[float, ...]:
    if not isinstance(given, (list, tuple)) or len(given) != size:
        raise InputError(f"{name} must be {size} numbers; got {described(given)}.")
    for value in given:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
            raise InputError(f"{name} must be of numbers; got {described(value)}.")
        if not low <= value <= high:
            raise InputError(f"{name} must be from {low:g} to {high:g}; got {described(value)}.")
    return tuple(float(value) for value in given)
