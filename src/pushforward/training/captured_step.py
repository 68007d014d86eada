"""A training step on CUDA recorded once as a graph and replayed: small steps wait for launches, and this has one."""

import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pushforward.losses import Batch, Loss
from pushforward.training.data.stream import StreamBatches
from pushforward.training.random_states import renewed

WARM_UP = 2  # steps before: libraries get their workspaces, kernels are compiled


class IndexedBatches(Protocol):
    """Batches that are rows in memory, so that a graph can gather them itself."""

    def first_index(self) -> Tensor:
        """Return the numbers of the rows of a batch that does not count, (batch_size,)."""

    def batch(self, index: Tensor) -> Batch:
        """Return rows as the loss sees them, with fresh noise."""


class CapturedStep:
    """A step, eager or compiled, as a CUDA graph: gather, noise, loss, gradient, clipping and the optimizer's update.

    Every number that changes between steps lies where the graph reads it: the rows' numbers and the learning rate are
    written there, the generators, the loss's and torch's own, are registered and go on at each replay.

    Args:
        model: What learns.
        step: The step to record. It is taken three times; the caller puts weights and noise back.
        batches: Where its rows are.
        generator: Of the batches' noise, the model's probes and the loss.

    Raises:
        Exception: Whatever the step raises where it waits for the device or cannot be recorded.
    """

    def __init__(
        self, model: nn.Module, step: Callable[[Batch], Tensor], batches: IndexedBatches, generator: torch.Generator
    ) -> None:
        self._model, self._once, self._batches, self._generator = model, step, batches, generator
        self._index = batches.first_index().clone()
        stream = _stream(self._index.device)
        stream.wait_stream(torch.cuda.current_stream(self._index.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
            before = plain_state(model)
            with _waiting_raises():
                self._step()
            if plain_state(model) != before:
                raise RuntimeError("a module changes numbers of Python's at each step")
        torch.cuda.current_stream(self._index.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        try:
            with _no_collection(), torch.cuda.graph(self._graph, stream=stream):
                self._loss = self._step()
        except Exception:
            # A recording that fails leaves generators that take themselves for recorded.
            for source in (generator, torch.cuda.default_generators[self._index.device.index]):
                renewed(source)
            raise

    def _step(self) -> Tensor:
        if hasattr(self._model, "redraw"):
            self._model.redraw(self._generator)  # type: ignore[operator]
        return self._once(self._batches.batch(self._index))

    def __call__(self, index: Tensor) -> Tensor:
        """Take a step on the rows of some numbers, (batch_size,); return their mean loss before it, a scalar."""
        self._index.copy_(index)
        self._graph.replay()
        return self._loss.clone()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all recordings on a device: cuBLAS keeps 32 MiB for each stream that it has seen."""
    return torch.cuda.Stream(device)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let no garbage be collected: a graph that is taken away during a recording spoils it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def obstacle(model: nn.Module, loss: Loss, optimizer: Any, batches: Any) -> str | None:
    """Return what forbids to record a step, or None; what only the step itself can tell comes out at recording."""
    function = loss
    while isinstance(function, functools.partial) and not hasattr(function, "capturable"):
        function = function.func
    ours = getattr(function, "__module__", None) == "pushforward.losses"
    if callable(optimizer):
        return "the optimizer is a function of your own"
    if not hasattr(batches, "first_index"):
        return "the batches come from a loader"
    if isinstance(batches, StreamBatches):
        return "the rows are read piece by piece"
    if not getattr(function, "capturable", ours):
        return "the loss is your own; if it does the same at every step, say so: loss.capturable = True"
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        return "a module has hooks, which a recording would not call"
    return None


def plain_state(model: nn.Module) -> dict[tuple[str, str], Any]:
    """Return the numbers and texts that the modules of a model hold outside of tensors."""
    return {
        (name, key): value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, (bool, int, float, str))
    }


@contextmanager
def _waiting_raises() -> Iterator[None]:
    """Let every operation that waits for the device raise: none of them can be recorded."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
