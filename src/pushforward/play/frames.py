"""Messages to the page: numbers and texts as JSON, arrays as raw float32 behind it."""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def packed(kind: str, arrays: Mapping[str, Tensor] | None = None, raw: bytes = b"", **texts: Any) -> bytes:
    """Return a message: 4 bytes that say how long the JSON is, the JSON, float32 arrays in its order, other bytes.

    The JSON is padded so that the arrays begin at a multiple of 4 bytes. Numbers that are not finite become null.

    Args:
        kind: What the page is to do with it.
        arrays: Tensors by name; their shapes go into the JSON.
        raw: Bytes at the end.
        texts: What else the JSON holds.
    """
    found = {name: value.detach().to("cpu", torch.float32).contiguous() for name, value in (arrays or {}).items()}
    shapes = {name: list(value.shape) for name, value in found.items()}
    text = json.dumps(_finite({"kind": kind, "arrays": shapes, **texts}), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([struct.pack("<I", len(text)), text, *(value.numpy().tobytes() for value in found.values()), raw])


def unpacked(message: bytes) -> tuple[dict[str, Any], dict[str, Tensor], bytes]:
    """Return the JSON, the arrays and the other bytes of a message."""
    (length,) = struct.unpack_from("<I", message)
    head, place = json.loads(message[4 : 4 + length]), 4 + length
    arrays = {}
    for name, shape in head["arrays"].items():
        size = 4 * math.prod(shape)
        values = np.frombuffer(message[place : place + size], "<f4").astype(np.float32)
        arrays[name] = torch.from_numpy(values).reshape(shape)
        place += size
    return head, arrays, message[place:]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, (list, tuple)) else value
