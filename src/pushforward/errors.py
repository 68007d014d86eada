"""The two errors a user meets, and the checks of plain arguments that raise the first."""

import math
import operator
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = [
    "InputError",
    "RunError",
    "described",
    "require_choice",
    "require_count",
    "require_image_shape",
    "require_kind",
    "require_number",
    "require_path",
    "require_seed",
    "require_widths",
]

LARGEST_SEED = 2**63 - 1


class InputError(ValueError):
    """What the user gave is wrong (a file, a column, an option, a folder). The command line exits with 2."""


class RunError(RuntimeError):
    """The run itself failed (divergence, a full disk). The command line says so in one line and exits with 1."""


# ---- numbers: Python's, numpy's and those in tensors without axes; True and False are none ---------------------------


def require_count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return `value` as an int, or raise InputError unless it is an integer of at least `least`, at most `most`."""
    count = _integer(value)
    if count is None or count < least or (most is not None and count > most):
        rule = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be an integer {rule}; got {described(value)}.")
    return count


def require_seed(value: Any, name: str = "seed") -> int:
    """Return a seed as an int, or raise InputError unless it is an integer from 0 to 2^63 - 1."""
    seed = _integer(value)
    if seed is None or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{name} must be an integer from 0 to 2**63 - 1; got {described(value)}.")
    return seed


def require_number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value`, as a float if it is no number of Python's, or raise InputError unless it is finite and inside."""
    number = value if isinstance(value, (int, float)) else _float(value)
    if (
        number is None
        or isinstance(number, bool)
        or not -math.inf < number < math.inf
        or (least is not None and number < least)
        or (above is not None and number <= above)
        or (most is not None and number > most)
        or (below is not None and number >= below)
    ):
        limits = (("at least", least), ("above", above), ("at most", most), ("below", below))
        rules = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
        if number is None or isinstance(number, bool):
            words = " and ".join(rules)
            rules = [f"a number {'of ' if words.startswith('at') else ''}{words}".strip()]
        elif math.isinf(number) or not rules:
            rules.append("finite")
        raise InputError(f"{name} must be {' and '.join(rules)}; got {described(value)}.")
    return number


def require_widths(name: str, value: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers, at least one; one integer means two layers of that width.

    Raises:
        InputError: If a width is not an integer of at least 1, or there is none.
    """
    if _integer(value) is not None:
        return (require_count(name, value),) * 2
    try:
        widths = () if isinstance(value, (str, bytes, dict)) else tuple(value)
    except TypeError:
        widths = ()
    if not widths:
        raise InputError(
            f"{name} must name at least one layer: the widths, such as (64, 64), or one integer for two equal layers; "
            f"got {described(value)}."
        )
    return tuple(require_count(f"{name}[{position}]", width) for position, width in enumerate(widths))


def require_image_shape(value: Any, name: str = "shape") -> tuple[int, int, int]:
    """Return channels, height and width of an image, or raise InputError unless each is an integer of at least 1."""
    try:
        sizes = [_integer(size) for size in value]
    except TypeError:
        sizes = []
    if len(sizes) != 3 or not all(size is not None and size >= 1 for size in sizes):
        raise InputError(f"{name} must be (channels, height, width), integers of at least 1; got {described(value)}.")
    channels, height, width = sizes
    return channels, height, width  # type: ignore[return-value]


def _integer(value: Any) -> int | None:
    """Return an integer of any library as an int; None if it is none, or a truth value."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if _is_no_number(value):
        return None
    try:
        return operator.index(value)
    except (TypeError, RuntimeError, NotImplementedError):  # a tensor on the meta device has no value
        return None


def _float(value: Any) -> float | None:
    """Return a number of another library as a float; None if it is none, or a truth value."""
    if not hasattr(value, "__float__") or _is_no_number(value):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return None


def _is_no_number(value: Any) -> bool:
    """Whether a tensor or an array has axes or holds truth values."""
    return getattr(value, "ndim", 0) != 0 or "bool" in str(getattr(value, "dtype", ""))


# ---- names and objects -----------------------------------------------------------------------------------------------


def require_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value`, or raise InputError unless it is one of the names."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}; got {described(value)}.")
    return value


def require_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool, or raise InputError unless it is one: "no" and 0 would be taken for yes and no."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name} must be True or False; got {described(value)}.")
    return bool(value)


def require_kind(name: str, value: Any, kind: type | tuple[type, ...], wanted: str, remedy: str = "") -> None:
    """Raise InputError unless `value` is an object of a kind: says what was expected, what came and what to use.

    Args:
        name: Of the argument, with its position where it stands in a list.
        value: What was given.
        kind: One type or several.
        wanted: What is expected, in words: "a transform".
        remedy: What to use in place of this value; a class of the kind has its own.
    """
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        remedy = f"make an object of it, {value.__name__}(...)"
    raise InputError(f"{name} must be {wanted}; got {described(value)}{': ' if remedy else ''}{remedy}.")


def require_path(name: str, value: Any) -> Path:
    """Return a path, or raise InputError unless it is text or a path already."""
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} must be a path; got {described(value)}.")
    return Path(value)


def described(value: Any) -> str:
    """Return what a message says of a value: itself if that is short, else its type, and its shape if it has one."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if getattr(value, "ndim", 0):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    if value is None or isinstance(value, (bool, int, float, str, bytes, list, tuple, dict)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the function {value.__qualname__}"
    if hasattr(value, "dtype") and hasattr(value, "item"):
        return repr(value)
    return type(value).__name__
