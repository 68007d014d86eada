"""Draws docs/architecture.svg from the table of rooms in docs/architecture.md: `python docs/draw_rooms.py`."""

import re
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
ROOM = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)
# The storeys of the house, top to bottom: name, colour, and the last room on it.
STOREYS = (
    ("ways in", "#D9E8F5", "studies"),
    ("tables and pages", "#E3F1E5", "report"),
    ("truth and measure", "#FBF0D9", "verification"),
    ("learning and keeping", "#FBE3D6", "losses"),
    ("flows", "#EFE3F3", "nets"),
    ("ground", "#E6E6E6", "errors"),
)
WIDTH, ROW, LEFT, NAMES = 880, 30, 196, 130


def rooms(page: str) -> list[tuple[str, str]]:
    """Return the rooms of the page's table, top to bottom, each with what it is."""
    return [(name, about.replace("`", "")) for name, about in ROOM.findall(page)]


def drawing(page: str) -> str:
    """Return the picture of the house as SVG: a storey a colour, a room a line, an arrow for who may import whom."""
    listed = rooms(page)
    height = ROW * len(listed) + 12 * len(STOREYS) + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14" fill="#222222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#FFFFFF"/>',
        '<marker id="tip" markerWidth="10" markerHeight="10" refX="5" refY="5" orient="auto">'
        '<path d="M1,1 L8,5 L1,9" fill="none" stroke="#666666" stroke-width="1.5"/></marker>',
        f'<line x1="20" y1="16" x2="20" y2="{height - 18}" stroke="#666666" stroke-width="1.5" '
        'marker-end="url(#tip)"/>',
        f'<text x="12" y="{height / 2}" transform="rotate(-90 12 {height / 2})" text-anchor="middle" font-size="12" '
        'fill="#666666">imports</text>',
    ]
    y, remaining = 10.0, list(listed)
    for storey, colour, last in STOREYS:
        count = [name for name, _ in remaining].index(last) + 1
        here, remaining = remaining[:count], remaining[count:]
        lines.append(
            f'<rect x="36" y="{y:g}" width="{WIDTH - 46}" height="{ROW * count + 6}" rx="6" fill="{colour}"/>'
            f'<text x="48" y="{y + 3 + ROW * count / 2 + 5:g}" font-size="13" fill="#555555">{storey}</text>'
        )
        for place, (name, about) in enumerate(here):
            line = y + 3 + ROW * place + ROW / 2 + 5
            lines.append(f'<text x="{LEFT}" y="{line:g}" font-weight="bold">{name}</text>')
            lines.append(f'<text x="{LEFT + NAMES}" y="{line:g}">{escape(about)}</text>')
        y += ROW * count + 12
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    (HERE / "architecture.svg").write_text(drawing((HERE / "architecture.md").read_text()))
