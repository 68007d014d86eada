"""Templates to pages, and figures to PNG files and to addresses that need no file."""

import base64
import io
from typing import TYPE_CHECKING, Any

from pushforward.report.wording import number, seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110


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
    environment.filters |= {"number": number, "seconds": seconds, "picture": picture, "address": address}
    return environment.get_template(template).render(**values)


def png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def address(image: bytes, suffix: str = "png") -> str:
    """Return a PNG or GIF as the address of an image that needs no file."""
    return f"data:image/{suffix};base64," + base64.b64encode(image).decode()


def picture(figure: "Figure") -> str:
    """Return a figure as the address of an image that needs no file."""
    return address(png(figure))
