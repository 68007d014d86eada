"""The run so far as one file: a page without a server, or an animation."""

import base64
import io
import json
import re
from collections.abc import Sequence
from importlib.resources import files

import matplotlib
import numpy as np
import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.play import frames
from pushforward.play.page import catalogue
from pushforward.play.settings import Settings

MODULES = (
    "parts", "address", "colours", "connection", "readout", "controls", "plane", "curve", "lesson", "keys_and_files",
    "layers", "pictures", "hand", "save", "recording", "main",
)  # fmt: skip
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
SIDE = 300  # pixels of a picture of the animation
HOLD = 160  # milliseconds of one
DEPTH = 9.0  # nats of the colours below the top


def page(opening: bytes, shown: Sequence[bytes]) -> str:
    """Return a page that shows recorded frames and needs nothing else; it may ask no one anything.

    Args:
        opening: The message that begins a run.
        shown: Messages with frames.
    """
    static = files("pushforward.play") / "static"
    text = (static / "index.html").read_text()
    code = "\n".join(_inlined((static / f"{name}.js").read_text()) for name in MODULES)
    recorded = {
        "catalogue": catalogue(),
        "messages": [base64.b64encode(message).decode() for message in (opening, *shown)],
    }
    data = json.dumps(recorded).replace("<", "\\u003c")
    for old, new in (
        ('<link rel="icon" href="icon.svg">', f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        ('<link rel="stylesheet" href="style.css">', f"<style>{(static / 'style.css').read_text()}</style>"),
        (
            '<script type="module" src="main.js"></script>',
            f'<script type="application/json" id="recording">{data}</script>\n<script type="module">{code}</script>',
        ),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def _inlined(code: str) -> str:
    """Return the code of a module without its imports and exports: all stand in one."""
    code = re.sub(r"^import [^;]*;\n", "", code, flags=re.MULTILINE)
    return re.sub(r"^export ", "", code, flags=re.MULTILINE).replace("</", "<\\/")


def animation(opening: bytes, shown: Sequence[bytes]) -> bytes:
    """Return a GIF of the frames: data with samples, and the log density.

    Raises:
        InputError: If Pillow is not there.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise InputError("an animation needs Pillow: pip install 'pushforward[play]'") from error
    head, arrays, _ = frames.unpacked(opening)
    font = ImageFont.load_default(13)
    run = Settings.read(head["settings"])
    pictures = []
    top = (arrays["exact"] if "exact" in arrays else frames.unpacked(shown[-1])[1]["density"]).max().item()
    for message in shown:
        texts, found, _ = frames.unpacked(message)
        picture = Image.new("RGB", (2 * SIDE + 30, SIDE + 44), "white")
        draw = ImageDraw.Draw(picture)
        for points, colour in ((arrays["data"], "#0072b2"), (found["samples"], "#d08000")):
            for x, y in _on_picture(points, head["window"]):
                draw.rectangle((10 + x, 34 + y, 11 + x, 35 + y), fill=colour)
        picture.paste(Image.fromarray(_coloured(found["density"], top)).resize((SIDE, SIDE)), (SIDE + 20, 34))
        draw.rectangle((10, 34, 10 + SIDE, 34 + SIDE), outline="#cccccc")
        draw.text((10, 10), f"{run.data} (blue), {run.recipe} (orange)", fill="black", font=font)
        loss = texts["curve"][-1]["test"]
        words = "" if loss is None else f", NLL {loss:.4f}"
        draw.text((SIDE + 20, 10), f"log density, step {texts['step']:,}{words}", fill="black", font=font)
        pictures.append(picture.quantize(96))
    into = io.BytesIO()
    durations = [HOLD] * (len(pictures) - 1) + [2000]
    pictures[0].save(into, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return into.getvalue()


def _on_picture(points: Tensor, window: Sequence[float]) -> list[list[int]]:
    left, right, bottom, top = window
    low, size = torch.tensor([left, bottom]), torch.tensor([right - left, top - bottom])
    at = (points - low) / size
    at = at[((at >= 0) & (at < 1)).all(-1)]
    return torch.stack([at[:, 0], 1 - at[:, 1]], -1).mul(SIDE - 2).int().tolist()


def _coloured(log_density: Tensor, top: float) -> np.ndarray:
    share = ((log_density.nan_to_num(nan=-1e9) - top) / DEPTH + 1).clamp(0, 1).flip(0).numpy()
    return (matplotlib.colormaps["viridis"](share)[..., :3] * 255).astype(np.uint8)
