"""Many rows on their way through a map, in chunks whose intermediate values stay in the processor's cache."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pushforward.numerics.threads import available, threads

# Without gradients, rows pass through in chunks of about this many numbers: the intermediate values stay in the cache.
CHUNK_NUMBERS = 1 << 17


def chunks(x: Tensor, context: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the whole, or, where no gradient is wanted, chunks of flattened rows that fit the cache.

    Args:
        x: (*batch, D).
        context: (C,), or the batch axes of x (an axis of size 1 stretches) and C, or None.
    """
    features, batch = x.shape[-1], x.shape[:-1]
    rows = max(CHUNK_NUMBERS // features, 256)
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or math.prod(batch) <= rows:
        yield x, context
        return
    x = x.reshape(-1, features)
    if context is not None and context.ndim > 1:
        # Row numbers, not rows: the context of 10,000 conditions is not copied for every sample.
        index = torch.arange(math.prod(context.shape[:-1])).reshape(context.shape[:-1]).expand(batch).reshape(-1)
        context = context.reshape(-1, context.shape[-1])
        for start in range(0, len(x), rows):
            yield x[start : start + rows], context[index[start : start + rows].to(context.device)]
        return
    for start in range(0, len(x), rows):
        yield x[start : start + rows], context


def in_chunks(function: Callable[..., Tensor], rows: Tensor, context: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Return a function of rows and context, computed chunk by chunk where no gradient is wanted, in a shape.

    On the CPU each chunk runs on one thread, and as many side by side as torch has threads: no operator waits for a
    core that another program holds, and the numbers do not depend on how many threads there are.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or rows.device.type != "cpu":
        results = [function(*chunk) for chunk in chunks(rows, context)]
    else:
        with threads(1):
            results = _side_by_side(function, list(chunks(rows, context)))
    return results[0] if len(results) == 1 else torch.cat(results).reshape(tuple(shape))


def _side_by_side(function: Callable[..., Tensor], pieces: list[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """Return the function of each piece, computed by several threads of Python, which share nothing to wait for."""
    workers = min(available(), len(pieces))
    if workers < 2:
        return [function(*piece) for piece in pieces]
    # What torch keeps for each thread of its own, a worker is told.
    inference, half = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    half_dtype = torch.get_autocast_dtype("cpu")

    def work(piece: tuple[Tensor, Tensor | None]) -> Tensor:
        with torch.inference_mode(inference), torch.no_grad(), torch.autocast("cpu", half_dtype, enabled=half):
            return function(*piece)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, pieces))
