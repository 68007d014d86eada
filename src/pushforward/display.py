"""What a notebook shows of an object: small tables and curves in HTML, readable on light and on dark pages."""

import math
import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_CELL = "padding:0.15em 0.7em;border-bottom:1px solid #8884;vertical-align:top;text-align:"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
WIDTH, HEIGHT, LEFT, BELOW = 360, 170, 58, 30  # of a curve, in pixels


def in_notebook() -> bool:
    """Whether the code runs in a Jupyter kernel, which shows rich output."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython  # type: ignore[import-not-found, unused-ignore]

    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


def shapes(values: tuple[Any, ...]) -> str:
    """Return a named tuple in one line, tensors by their shapes."""
    fields = values._fields  # type: ignore[attr-defined]
    shown = (f"{name}={_short(value)}" for name, value in zip(fields, values, strict=True))
    return f"{type(values).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return repr(value) if shape is None else f"<{str(value.dtype).removeprefix('torch.')} {tuple(shape)}>"


def table(title: str, rows: Sequence[Sequence[Any]], header: Sequence[str] = (), *, below: str = "") -> str:
    """Return a table in HTML; columns of numbers, but for the first, stand at the right.

    Args:
        title: One line above it.
        rows: Cells, which are escaped.
        header: Names of the columns; none by default.
        below: HTML to put under it.
    """
    right = {at for row in rows for at, cell in enumerate(row) if at and _is_number(str(cell))}
    head = "".join(_cell(name, "th", at in right) for at, name in enumerate(header))
    body = "".join(f"<tr>{''.join(_cell(cell, 'td', at in right) for at, cell in enumerate(row))}</tr>" for row in rows)
    return (
        f'<div style="font-size:0.95em"><div style="font-weight:600;margin:0.3em 0">{escape(title)}</div>'
        f'<table style="border-collapse:collapse;margin:0">{f"<tr>{head}</tr>" if head else ""}{body}</table>'
        f"{below}</div>"
    )


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] == "-"


def _cell(cell: Any, tag: str, right: bool) -> str:
    return f'<{tag} style="{_CELL}{"right" if right else "left"}">{escape(str(cell))}</{tag}>'


def curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], across: str, up: str) -> str:
    """Return named curves as a small SVG with the ends of both axes written; values that are not finite are left out.

    What the first tenth of the points reach is cut off where it would flatten all that follows.
    """
    points = {
        name: [(x, y) for x, y in zip(*line, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for name, line in lines.items()
    }
    points = {name: found for name, found in points.items() if len(found) > 1}
    if not points:
        return ""
    late = [y for found in points.values() for _, y in found[len(found) // 10 :]]
    low, high = min(late), max(late)
    first, last = min(found[0][0] for found in points.values()), max(found[-1][0] for found in points.values())
    wide, tall = WIDTH - LEFT - 8, HEIGHT - BELOW - 8

    def place(x: float, y: float) -> str:
        right = LEFT + wide * (x - first) / ((last - first) or 1.0)
        down = 8 + tall * (high - min(y, high)) / ((high - low) or 1.0)
        return f"{right:.1f},{down:.1f}"

    drawn = []
    for position, (name, found) in enumerate(points.items()):
        colour = COLOURS[position % len(COLOURS)]
        path = " ".join(place(x, y) for x, y in found)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        drawn.append(_text(WIDTH - 10, 20 + 14 * position, name, "end", colour))
    axes = f'<path d="M{LEFT} 8V{8 + tall}H{LEFT + wide}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
    words = [
        _text(LEFT - 4, 16, f"{high:.4g}", "end"), _text(LEFT - 4, 8 + tall, f"{low:.4g}", "end"),
        _text(LEFT, HEIGHT - 16, f"{first:,.4g}"), _text(LEFT + wide, HEIGHT - 16, f"{last:,.6g}", "end"),
        _text(LEFT + wide / 2, HEIGHT - 4, f"{up} against {across}", "middle"),
    ]  # fmt: skip
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img">{axes}{"".join(drawn)}{"".join(words)}</svg>'


def _text(x: float, y: float, words: str, anchor: str = "start", colour: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
