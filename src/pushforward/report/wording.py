"""Numbers and times as the text that tables, pages and the terminal show."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushforward.metrics import Score


def number(value: float, digits: int = 3) -> str:
    """Return a number for a table: fixed digits, or an exponent where these would hide or swamp it."""
    if not math.isfinite(value) or 10**-digits <= abs(value) < 1e6 or value == 0:
        return f"{value:.{digits}f}"
    return f"{value:.1e}"


def seconds(value: float) -> str:
    """Return a time in words, "2 min 5 s"."""
    minutes, rest = divmod(round(value), 60)
    return f"{value:.1f} s" if value < 59.95 else f"{minutes} min {rest} s"


def verdict(other: str, gain: "Score", *, called: str = "this flow") -> str:
    """Say in one sentence whether a flow beats another density, given what it gains over it on the same rows."""
    difference, error = abs(gain.mean), gain.standard_error
    if not math.isfinite(gain.mean):
        return f"no difference to the best of the others ({other}) can be told: a row lies outside the support of one"
    figures = f"{number(difference)} ± {number(error)} nats a row, over the same rows"
    if difference <= 2 * error:
        return f"the best of the others ({other}) does as well as {called}: the difference is {figures}"
    if gain.mean > 0:
        return f"{called} is better than the best of the others ({other}) by {figures}"
    return f"one of the others ({other}) is better than {called} by {figures}: train longer, or use that one"
