"""Boolean and integer tensors as text: packed bits or the narrowest integers, compressed, in base64."""

import base64
import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

INTEGERS = ("<u1", "<u2", "<u4", "<i8")  # little-endian; which one it was follows from the number of bytes


def pack(tensor: Tensor) -> str:
    """Return the content of a boolean or integer tensor as text; `unpack` takes it with the shape and dtype.

    Example:
        >>> pack(torch.tensor([True, False, True]))
        'eJxbAAAAoQCh'
    """
    values = tensor.detach().cpu().numpy()
    if values.dtype == bool:
        raw = np.packbits(values)
    else:
        least, most = values.min(initial=0), values.max(initial=0)
        raw = values.astype(next(k for k in INTEGERS if np.iinfo(k).min <= least and most <= np.iinfo(k).max))
    return base64.b64encode(zlib.compress(raw.tobytes())).decode()


def unpack(text: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the tensor on the CPU; whatever the text says, no more is made than the shape needs.

    Raises:
        ValueError: If the text is not what `pack` makes of a tensor of this shape and dtype.
    """
    count, name = math.prod(shape), str(dtype).removeprefix("torch.")
    wrong = f"the content is not that of a {name} tensor of shape {tuple(shape)}."
    kinds = {count * np.dtype(kind).itemsize: kind for kind in INTEGERS}
    if dtype == torch.bool:
        kinds = {-(-count // 8): "bits"}
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(base64.b64decode(text, validate=True), max(kinds) + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(wrong) from error
    if not inflater.eof or len(raw) not in kinds:
        raise ValueError(wrong)
    values = np.frombuffer(raw, np.uint8)
    values = np.unpackbits(values, count=count) if dtype == torch.bool else values.view(kinds[len(raw)])
    tensor = torch.from_numpy(values.astype(name))
    if not np.array_equal(tensor.numpy(), values):  # integers beyond the dtype
        raise ValueError(wrong)
    return tensor.reshape(tuple(shape))
