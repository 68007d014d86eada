"""Many rows on their way through a map, in chunks that stay in a CPU's cache or fit a GPU's memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pushforward.numerics.precision import precision, precision_in_force
from pushforward.numerics.threads import available, threads

# Without gradients, rows pass through in chunks of about this many numbers: the intermediate values stay in the cache.
CHUNK_NUMBERS = 1 << 17
LEAST_ROWS = 256
# Where a device has a memory of its own, rows are cut only where what they need might not fit half of what is free:
BYTES_A_NUMBER = 256  # for each number of a row, 64 of intermediate values; if it was more, chunks are halved
NEVER_CUT = 1 << 22  # numbers: asking what is free would cost more than it tells


def chunks(x: Tensor, context: Tensor | None, rows: int | None = None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the whole, or, where no gradient is wanted, chunks of flattened rows.

    Args:
        x: (*batch, D).
        context: (C,), or the batch axes of x (an axis of size 1 stretches) and C, or None.
        rows: Of a chunk; by default what suits the device.
    """
    features, batch = x.shape[-1], x.shape[:-1]
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() <= LEAST_ROWS * features:
        yield x, context
        return
    rows = rows or _suitable_rows(x)
    if math.prod(batch) <= rows:
        yield x, context
        return
    x = x.reshape(-1, features)
    if context is not None and context.ndim > 1:
        # Row numbers, not rows: the context of 10,000 conditions is not copied for every sample.
        each = torch.arange(math.prod(context.shape[:-1]), device=context.device)
        index = each.reshape(context.shape[:-1]).expand(batch).reshape(-1)
        context = context.reshape(-1, context.shape[-1])
        for start in range(0, len(x), rows):
            yield x[start : start + rows], context[index[start : start + rows]]
        return
    for start in range(0, len(x), rows):
        yield x[start : start + rows], context


def _suitable_rows(x: Tensor) -> int:
    """Return how many rows of x a chunk holds on its device, at least 256."""
    features = max(x.shape[-1], 1)
    if x.device.type == "cpu":
        return max(CHUNK_NUMBERS // features, LEAST_ROWS)
    if x.device.type != "cuda" or x.numel() <= NEVER_CUT or torch.cuda.is_current_stream_capturing():
        return max(x.numel() // features, LEAST_ROWS)
    free, _ = torch.cuda.mem_get_info(x.device)
    free += torch.cuda.memory_reserved(x.device) - torch.cuda.memory_allocated(x.device)
    return max(free // 2 // (features * BYTES_A_NUMBER), LEAST_ROWS)


def in_chunks(function: Callable[..., Tensor], rows: Tensor, context: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Return a function of rows and context, computed chunk by chunk where no gradient is wanted, in a shape.

    On the CPU each chunk runs on one thread, and as many side by side as torch has threads: no operator waits for a
    core that another program holds, and the numbers do not depend on how many threads there are.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        results = [function(rows, context)]
    elif rows.device.type != "cpu":
        results = _as_memory_allows(function, rows, context)
    else:
        with threads(1):
            results = _side_by_side(function, list(chunks(rows, context)))
    return results[0] if len(results) == 1 else torch.cat(results).reshape(tuple(shape))


def _as_memory_allows(function: Callable[..., Tensor], rows: Tensor, context: Tensor | None) -> list[Tensor]:
    """Return the function of each chunk; where the device's memory ran out, of chunks half as large."""
    size = _suitable_rows(rows)
    while True:
        try:
            return [function(*chunk) for chunk in chunks(rows, context, size)]
        except torch.OutOfMemoryError:
            if size <= LEAST_ROWS:
                raise
        size = max(min(size, rows.numel() // max(rows.shape[-1], 1)) // 2, LEAST_ROWS)


def _side_by_side(function: Callable[..., Tensor], pieces: list[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """Return the function of each piece, computed by several threads of Python, which share nothing to wait for."""
    workers = min(available(), len(pieces))
    if workers < 2:
        return [function(*piece) for piece in pieces]
    # What torch keeps for each thread of its own, a worker is told.
    inference, half = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    half_dtype, told = torch.get_autocast_dtype("cpu"), precision_in_force()

    def work(piece: tuple[Tensor, Tensor | None]) -> Tensor:
        with (
            torch.inference_mode(inference),
            torch.no_grad(),
            torch.autocast("cpu", half_dtype, enabled=half),
            precision(told),
        ):
            return function(*piece)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, pieces))
