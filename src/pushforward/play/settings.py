"""Everything that a visitor of the page can set, checked; one `Settings` is the whole state of a run."""

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data import THREE_SETS, TOYS
from pushforward.errors import InputError, described

RECIPES = ("nice", "realnvp", "maf", "nsf", "planar", "radial", "sylvester", "cnf", "cnf-matching")
SAMPLES_BEFORE = "probai-"  # of the names of the three small samples
DRAWN, FILE = "drawn", "file"
MOST_DRAWN = 2000
DRAWN_UNIT = 1 / 1024  # of the coordinates of drawn points in an address
CHOICES: dict[str, tuple[str, ...]] = {
    "data": (*TOYS, *(SAMPLES_BEFORE + name for name in THREE_SETS), DRAWN, FILE),
    "recipe": RECIPES,
    "activation": ("relu", "gelu", "silu", "tanh"),
    "log_scale": ("soft", "tanh", "plain"),
    "mixing": ("swap", "none", "flip", "permute", "orthogonal", "lu"),
    "base": ("normal", "box", "mixture"),
}
RANGES: dict[str, tuple[float, float]] = {
    "noise": (0.02, 1.0),
    "num_points": (100, 1_000_000),
    "layers": (1, 16),
    "width": (2, 128),
    "learning_rate": (1e-5, 0.1),
    "batch_size": (16, 4096),
    "num_steps": (10, 1_000_000),
    "seed": (0, 2**31 - 1),
    "step": (0, 1_000_000),
}


@dataclass(frozen=True)
class Settings:
    """A run: its data, its flow, its training, and the step at which it stands.

    Attributes:
        data: A toy density, one of the three small samples ("probai-..."), "drawn" or "file".
        noise: Standard deviation of the noise of the toy densities that have one; 0 for their own.
        num_points: Of a toy density.
        drawn: Points that were drawn by hand, as `packed` writes them.
        recipe, layers, width, activation, log_scale, mixing, base: The flow.
        learning_rate, batch_size, num_steps, seed: The training; `num_steps` is the length of the schedule.
        step: How far the run is.
    """

    data: str = "two-moons"
    noise: float = 0.0
    num_points: int = 100_000
    drawn: str = ""
    recipe: str = "nsf"
    layers: int = 6
    width: int = 32
    activation: str = "relu"
    log_scale: str = "soft"
    mixing: str = "swap"
    base: str = "normal"
    learning_rate: float = 0.005
    batch_size: int = 256
    num_steps: int = 10_000
    seed: int = 0
    step: int = 0

    @classmethod
    def read(cls, given: Any) -> "Settings":
        """Return the settings that a page has sent, the rest as at first.

        Raises:
            InputError: If a name is unknown, or a value of another kind or out of range; the message names it.
        """
        if not isinstance(given, Mapping):
            raise InputError(f"settings must be names with values; got {described(given)}.")
        known = {field.name: field for field in fields(cls)}
        unknown = [str(name)[:40] for name in given if name not in known]
        if unknown:
            raise InputError(f"there is no setting {unknown[0]!r} (settings: {', '.join(known)}).")
        return cls(**{name: _checked(name, value, known[name].default) for name, value in given.items()})

    def changed(self) -> dict[str, Any]:
        """Return what differs from the settings at first."""
        return {name: value for name, value in asdict(self).items() if value != getattr(type(self), name)}


def _checked(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, str):
        if not isinstance(value, str):
            raise InputError(f"{name} must be text; got {described(value)}.")
        if name == "drawn":
            unpacked(value)
        elif value not in CHOICES[name]:
            raise InputError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value[:40]!r}.")
        return value
    low, high = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
        raise InputError(f"{name} must be a number; got {described(value)}.")
    if not low <= value <= high and not (name == "noise" and value == 0):
        raise InputError(f"{name} must be from {low:g} to {high:,.12g}; got {described(value)}.")
    if isinstance(default, int) and value != int(value):
        raise InputError(f"{name} must be a whole number; got {value:g}.")
    return type(default)(value)


def packed(points: Tensor) -> str:
    """Return drawn points (n, 2) as text for an address: 16 bits a coordinate, url-safe base64."""
    units = (points.double() / DRAWN_UNIT).round().clamp(-(2**15), 2**15 - 1).numpy().astype("<i2")
    return base64.urlsafe_b64encode(units.tobytes()).decode().rstrip("=")


def unpacked(text: str) -> Tensor:
    """Return the points (n, 2) that `packed` wrote; InputError if it did not."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        units = np.frombuffer(raw, "<i2").reshape(-1, 2)
    except ValueError as error:
        raise InputError(f"drawn points must be base64 of pairs of 16 bits; got {len(text)} characters.") from error
    if len(units) > MOST_DRAWN:
        raise InputError(f"at most {MOST_DRAWN:,} points can be drawn; got {len(units):,}.")
    return torch.from_numpy(units.astype(np.float32)) * DRAWN_UNIT
