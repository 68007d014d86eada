"""Numbers and times as the text that tables, pages and the terminal show."""

import math


def number(value: float, digits: int = 3) -> str:
    """Return a number for a table: fixed digits, or an exponent where these would hide or swamp it."""
    if not math.isfinite(value) or 10**-digits <= abs(value) < 1e6 or value == 0:
        return f"{value:.{digits}f}"
    return f"{value:.1e}"


def seconds(value: float) -> str:
    """Return a time in words, "2 min 5 s"."""
    minutes, rest = divmod(round(value), 60)
    return f"{value:.1f} s" if value < 59.95 else f"{minutes} min {rest} s"
