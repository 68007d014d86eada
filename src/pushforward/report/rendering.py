"""Templates to pages, and figures to PNG files and to addresses that need no file."""

import base64
import io
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pushforward.report.wording import number, seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110  # of the pictures in files
SHARP = 190  # of those in a page, so that print shows no dots
CSS_INCH = 96


def page(template: str, **values: Any) -> str:
    """Return a filled template; what goes into HTML is escaped.

    Args:
        template: Name of a file in the folder templates.
        **values: What the template speaks of.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pushforward.report"),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "seconds": seconds,
        "picture": picture,
        "address": address,
        "width": width_on_page,
    }
    return environment.get_template(template).render(**values)


def png(figure: "Figure", dots_per_inch: int = DOTS_PER_INCH) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def address(image: bytes, suffix: str = "png") -> str:
    """Return a PNG or GIF as the address of an image that needs no file."""
    return f"data:image/{suffix};base64," + base64.b64encode(image).decode()


def width_on_page(image: bytes) -> int:
    """Return how wide a PNG or GIF that `png` made is to be shown, in CSS pixels: as wide as the figure was made."""
    dots = int.from_bytes(image[6:8], "little") if image.startswith(b"GIF") else int.from_bytes(image[16:20], "big")
    return round(dots * CSS_INCH / DOTS_PER_INCH)


def picture(figure: "Figure") -> Markup:
    """Return a figure as the attributes of an image that needs no file, as wide as the figure was made."""
    width = round(figure.get_figwidth() * CSS_INCH)
    return Markup('width="{}" src="{}"').format(width, address(png(figure, SHARP)))
