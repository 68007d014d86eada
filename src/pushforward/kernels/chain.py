"""A chain of couplings, autoregressive and mixing steps as one operator in C: log_det and gradients included."""

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.kernels.link import Link
from pushforward.kernels.native import library as native
from pushforward.kernels.plain_gradient import plain_gradient
from pushforward.kernels.rational_quadratic import SLOPE_AT_ZERO
from pushforward.kernels.switch import runs_in_c
from pushforward.numerics.threads import available

# Parameters times rows: below it, handing work to a second thread costs more than it saves.
LEAST_SHARED_WORK = 30_000_000
ALIGNED = 64  # bytes
MOST_SPARE = 8_000_000  # numbers of a step's memory that is kept for the next: fresh pages cost as much as arithmetic


@dataclass(eq=False)
class Chain:
    """Links one after another.

    Args:
        features: Number of features D.
        links: Data to latent; at least one.
        plain: The same map in plain torch: (x, context, inverse, all tensors of all links) -> mapped, log_det.
    """

    features: int
    links: Sequence[Link]
    plain: Callable[..., tuple[Tensor, Tensor]]
    _structs: dict[torch.dtype, "Struct"] = field(default_factory=dict)

    def __call__(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor] | None:
        """Return the mapped rows, (N, D), and log_det, (N,), or None where the kernel cannot.

        Args:
            x: (N, D).
            context: (N, C), where a link sees it.
            inverse: Latent to data.
        """
        tensors = [tensor for link in self.links for tensor in link.tensors()]
        others = [*tensors, *([] if context is None else [context])]
        if any(t.dtype != x.dtype or t.device != x.device or not t.is_contiguous() for t in tensors):
            return None
        if any(link.matrix is not None and link.matrix.device != x.device for link in self.links):
            return None
        wanted = torch.is_grad_enabled() and (x.requires_grad or any(t.requires_grad for t in others))
        if wanted and not (self.has_gradient(inverse=inverse) and (context is None or not context.requires_grad)):
            return None
        struct = self.struct(x.dtype, tensors)
        if struct is None:
            return None
        drops = struct.point_at(tensors)
        noise = int(torch.empty((), dtype=torch.int64, device="cpu").random_(1, None)) if drops else 0
        if wanted:
            return _Map.apply(self, struct, (inverse, noise), x, context, *tensors)
        mapped, log_det, _ = struct.map(x.contiguous(), context, noise, inverse=inverse, keep=False)
        return mapped, log_det

    @functools.cached_property
    def context(self) -> int:
        """Size of the context that links see, 0 where none does."""
        return max(link.context for link in self.links)

    def has_gradient(self, *, inverse: bool) -> bool:
        """Return whether C knows the gradient: of everything but an autoregressive step against its way."""
        return not any(link.kind == "autoregressive" and link.inverted != inverse for link in self.links)

    def struct(self, dtype: torch.dtype, tensors: Sequence[Tensor]) -> "Struct | None":
        """Return the chain as C reads it, or None where there is no compiled library."""
        if dtype not in self._structs and (loaded := native.compiled(dtype)) is not None:
            self._structs[dtype] = Struct(loaded, self, tensors)
        return self._structs.get(dtype)


class Struct:
    """A chain in the form that C reads, for one dtype."""

    def __init__(self, loaded: ctypes.CDLL, chain: Chain, tensors: Sequence[Tensor]) -> None:
        self.library = loaded
        self.steps = (native.Step * len(chain.links))()
        self._links = chain.links  # kept alive: C reads their arrays
        self._matrices: list[Tensor] = []
        self._places: list[tuple[native.Step, int]] = []
        offsets = np.cumsum([0, *(tensor.numel() for tensor in tensors)]).tolist()
        at = prepared = 0
        for step, link in zip(self.steps, chain.links, strict=True):
            step.kind, step.inverted = native.KINDS.index(link.kind), link.inverted
            step.family, step.activation = native.FAMILIES.index(link.family), native.ACTIVATIONS.index(link.activation)
            step.num_kept, step.bins, step.bound = link.num_kept, link.bins, link.bound
            step.num_hidden, step.hidden[: len(link.hidden)] = len(link.hidden), link.hidden
            step.context = link.context
            if link.order is not None:
                step.order, step.num_moved = link.order.ctypes.data, len(link.order) - link.num_kept
            if link.matrix is not None:
                self._matrices.append(link.matrix.to(tensors[0].dtype).contiguous())
                step.tensors[0] = self._matrices[-1].data_ptr()
            step.prepared = prepared
            if link.kind == "lu":
                prepared += chain.features**2
            elif link.sorted is not None:
                step.sorted = link.sorted.ctypes.data
                prepared += sum(tensor.numel() for tensor in link.tensors())
            for place in range(len(link.tensors())):
                self._places.append((step, place))
                step.gradients[place] = offsets[at]
                at += 1
        self.num_gradients = offsets[-1]
        self.as_c = native.Chain(
            chain.features, len(chain.links), chain.context, self.num_gradients, prepared,
            SLOPE_AT_ZERO, ctypes.addressof(self.steps),
        )  # fmt: skip
        self.address = ctypes.addressof(self.as_c)
        self.rows, self.saved_numbers = loaded.block_rows(), loaded.saved_numbers(self.address)
        self._spare: list[Tensor] = []

    def point_at(self, tensors: Sequence[Tensor]) -> bool:
        """Let C read the parameters where they are now, and dropout as it is; return whether any is at work."""
        for (step, place), tensor in zip(self._places, tensors, strict=True):
            step.tensors[place] = tensor.data_ptr()
        for step, link in zip(self.steps, self._links, strict=True):
            step.dropout = link.dropout()
        return any(step.dropout for step in self.steps)

    def gradients_at(self, places: Sequence[int], size: int) -> None:
        """Let the gradient of each parameter begin at a place in a vector of some size."""
        for (step, number), place in zip(self._places, places, strict=True):
            step.gradients[number] = place
        self.num_gradients = self.as_c.num_gradients = size

    def threads(self, rows: int) -> int:
        """Return how many threads so many rows are worth."""
        if not self.library.runs_parallel() or rows * self.num_gradients < LEAST_SHARED_WORK:
            return 1
        return min(torch.get_num_threads(), available())

    def map(
        self, x: Tensor, context: Tensor | None, noise: int, *, inverse: bool, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the mapped rows, their log_det, and what the backward pass needs, if it is kept.

        Args:
            x: (N, D).
            context: (N, C), or None.
            noise: Key of dropout, or 0 for none.
            inverse: Latent to data.
            keep: Whether there will be a backward pass.
        """
        mapped, log_det = torch.empty_like(x), x.new_empty(len(x))
        saved = self._room(x) if keep else None
        self.library.chain_map(
            self.address, x.data_ptr(), None if context is None else context.data_ptr(), len(x), mapped.data_ptr(),
            log_det.data_ptr(), int(inverse), noise, None if saved is None else saved.data_ptr(), self.threads(len(x)),
        )  # fmt: skip
        return mapped, log_det, saved

    def backward(
        self,
        tensors: Sequence[Tensor],
        by_mapped: Tensor,
        by_log_det: Tensor,
        context: Tensor | None,
        noise: int,
        saved: Tensor,
        *,
        inverse: bool,
        by_rows: bool,
    ) -> tuple[Tensor | None, Sequence[Tensor]]:
        """Return the gradients of the rows, if wanted, and of every parameter; `saved` is used up."""
        threads = self.threads(len(by_mapped))
        by_x = torch.empty_like(by_mapped) if by_rows else None
        grads = aligned(by_mapped, threads * self.num_gradients)
        self.library.chain_backward(
            self.address, None if context is None else context.data_ptr(), len(by_mapped), by_mapped.data_ptr(),
            by_log_det.data_ptr(), int(inverse), noise, saved.data_ptr(), None if by_x is None else by_x.data_ptr(),
            grads.data_ptr(), threads,
        )  # fmt: skip
        if saved.numel() <= MOST_SPARE:
            self._spare = [saved]
        return by_x, torch._utils._unflatten_dense_tensors(grads[: self.num_gradients], tensors)

    def _room(self, x: Tensor) -> Tensor:
        """Return room for what the backward pass of rows needs: that of the step before, where it has the size."""
        numbers = math.ceil(len(x) / self.rows) * self.saved_numbers
        try:
            spare = self._spare.pop()  # at once, so that no other thread takes it, too
        except IndexError:
            return aligned(x, numbers)
        return spare if spare.numel() == numbers else aligned(x, numbers)


class _Map(torch.autograd.Function):
    """The chain, either way; a gradient that is to be differentiated itself goes through plain torch."""

    @staticmethod
    def forward(
        ctx: Any,
        chain: Chain,
        struct: Struct,
        how: tuple[bool, int],
        x: Tensor,
        context: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.chain, ctx.struct, ctx.context, (ctx.inverse, ctx.noise) = chain, struct, context, how
        mapped, log_det, ctx.saved = struct.map(x.contiguous(), context, ctx.noise, inverse=ctx.inverse, keep=True)
        ctx.save_for_backward(x, *tensors)
        return mapped, log_det

    @staticmethod
    def backward(ctx: Any, by_mapped: Tensor, by_log_det: Tensor) -> tuple[Any, ...]:
        x, *tensors = ctx.saved_tensors  # refuses parameters that have been changed since
        if torch.is_grad_enabled() or not runs_in_c(by_mapped, by_log_det):  # to be differentiated, or many at once
            if ctx.noise:
                raise NotImplementedError(
                    "the gradient of a flow with dropout cannot be differentiated or batched: call flow.eval(), or set "
                    "PUSHFORWARD_KERNELS=off."
                )

            def again(x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
                return ctx.chain.plain(x, ctx.context, ctx.inverse, *tensors)

            both = plain_gradient(again, (x, *tensors), _needed(ctx), (by_mapped, by_log_det))
            return None, None, None, both[0], None, *both[1:]
        struct: Struct = ctx.struct
        struct.point_at(tensors)
        saved, ctx.saved = ctx.saved, None
        if saved is None:  # a second backward through a graph that was retained
            _, _, saved = struct.map(x.contiguous(), ctx.context, ctx.noise, inverse=ctx.inverse, keep=True)
        by_x, grads = struct.backward(
            tensors,
            by_mapped.contiguous(),
            by_log_det.contiguous(),
            ctx.context,
            ctx.noise,
            saved,
            inverse=ctx.inverse,
            by_rows=ctx.needs_input_grad[3],
        )
        _, *wanted = _needed(ctx)
        return None, None, None, by_x, None, *(g if need else None for g, need in zip(grads, wanted, strict=True))


def _needed(ctx: Any) -> list[bool]:
    """Return whether x, and each parameter, needs a gradient."""
    return [ctx.needs_input_grad[3], *ctx.needs_input_grad[5:]]


def aligned(like: Tensor, numbers: int) -> Tensor:
    """Return so many numbers, uninitialized, that begin at a multiple of 64 bytes."""
    size = like.element_size()
    room = like.new_empty(numbers + ALIGNED // size)
    start = -room.data_ptr() % ALIGNED // size
    return room[start : start + numbers]
