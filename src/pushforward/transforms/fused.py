"""A `Compose` run by kernels, as far as its parts can be: found once, and looked at again before each use."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from pushforward.kernels.chain import Chain
from pushforward.kernels.link import Link
from pushforward.kernels.switch import kernels, runs_in_c
from pushforward.numerics.precision import precision_in_force

if TYPE_CHECKING:
    from pushforward.transforms.base import Compose, Transform

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Stretch(nn.Module):
    """Parts of a compose that follow one another: in plain torch, or, where there is a chain for them, in C."""

    def __init__(self, parts: "Sequence[Transform]", links: list[Link]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        # Not a method of this module, which would be a circle.
        self.chain = Chain(_features(links), links, _plain(self.parts, links)) if links else None

    def map(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
        """Return what the parts make of x, (*batch, D), and log_det."""
        found = self._in_kernel(x, context, inverse) if self.chain is not None else None
        return in_turn(self.parts, x, context, inverse=inverse) if found is None else found

    def _in_kernel(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor] | None:
        assert self.chain is not None
        if self.chain.features != x.shape[-1] or not x.numel():
            return None
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        if not self.chain.context:
            context = None
        elif context is not None:
            context = context.to(x.dtype).expand(*x.shape[:-1], -1).reshape(len(rows), -1).contiguous()
        found = self.chain(rows, context, inverse=inverse)
        if found is None or x.ndim == 2:
            return found
        return found[0].reshape(x.shape), found[1].reshape(x.shape[:-1])


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found in a compose, which holds as long as the modules are as they were."""

    stretches: list[_Stretch]
    # Each module with those inside it. Not the compose itself, which this must not keep alive.
    modules: list[tuple[nn.Module, tuple[Any, ...]]]
    parts: tuple[Any, ...]
    buffers: list[tuple[dict[str, Tensor | None], str, Tensor, int]]  # where each is, and as it was: masks, rotations
    hooked: bool = False  # to be looked at again each time, since hooks may go

    @property
    def helps(self) -> bool:
        """Whether a kernel runs any of it."""
        return any(stretch.chain is not None for stretch in self.stretches)

    def holds(self, compose: nn.Module) -> bool:
        if self.hooked or tuple(compose._modules.values()) != self.parts or has_hooks(compose):
            return False
        for module, inside in self.modules:
            if (
                tuple(module._modules.values()) != inside
                or module._forward_hooks
                or module._forward_pre_hooks
                or module._backward_hooks
                or module._backward_pre_hooks
            ):
                return False
        return all(held.get(name) is value and value._version == seen for held, name, value, seen in self.buffers)


_found: "weakref.WeakKeyDictionary[nn.Module, _Found]" = weakref.WeakKeyDictionary()


def fused(compose: "Compose", x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor] | None:
    """Return what the compose gives for x, from kernels; or None where plain torch has to run.

    Args:
        compose: The whole.
        x: (*batch, D).
        context: (C,), or the batch axes of x (an axis of size 1 stretches) and C, or None.
        inverse: Latent to data.
    """
    if x.dtype not in (torch.float32, torch.float64) or not _is_plain_call(x):
        return None
    found = _look(compose)
    if not found.helps:
        return None
    total = None
    for stretch in reversed(found.stretches) if inverse else found.stretches:
        x, log_det = stretch.map(x, context, inverse=inverse)
        total = log_det if total is None else total + log_det
    assert total is not None
    return x, total


def in_turn(
    parts: "Sequence[Transform] | nn.ModuleList", x: Tensor, context: Tensor | None, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Return what parts give for x, one after another."""
    total = None
    for part in reversed(parts) if inverse else parts:
        x, log_det = (part.inverse if inverse else part)(x, context if part.context_features else None)  # type: ignore[operator]
        total = log_det if total is None else total + log_det
    return x, x.new_zeros(x.shape[:-1]) if total is None else total


def chain_of(compose: "Compose") -> Chain | None:
    """Return the chain that stands for a whole compose as it is now, or None."""
    stretches = _look(compose).stretches
    return stretches[0].chain if len(stretches) == 1 else None


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module itself has hooks, which a kernel would not call."""
    return any(getattr(module, hooks) for hooks in HOOKS)


def _is_plain_call(x: Tensor) -> bool:
    """Return whether x is plain numbers: no function transform, dual, compiler, autocast or hook on all modules."""
    return (
        runs_in_c(x)
        and not torch.is_autocast_enabled("cpu")
        and (precision_in_force() != "bf16" or x.dtype == torch.float64)  # which bf16 leaves alone
        and not torch_module._has_any_global_hook()
    )


def _look(compose: "Compose") -> _Found:
    known = _found.get(compose)
    if known is None or not known.holds(compose):
        known = _found[compose] = _look_anew(compose)
    return known


def _look_anew(compose: "Compose") -> _Found:
    inside = [m for m in compose.modules() if m is not compose]
    modules = [(m, tuple(m._modules.values())) for m in inside]
    held = tuple(compose._modules.values())
    buffers = [(m._buffers, name, b, b._version) for m in inside for name, b in m._buffers.items() if b is not None]
    if any(has_hooks(module) for module in [compose, *inside]):
        return _Found([], [], held, [], hooked=True)
    return _Found(list(_stretches(list(_flat(compose)))), modules, held, buffers)


def _stretches(parts: "list[Transform]") -> Iterator[_Stretch]:
    """Yield the parts as stretches, each as long as it can be: those of a chain have a network among them."""
    links = [link if (link := part.kernel_link()) is not None and link.in_range else None for part in parts]
    start = 0
    while start < len(parts):
        end = start + 1
        while end < len(parts) and (links[end] is None) == (links[start] is None):
            end += 1
        own = [link for link in links[start:end] if link is not None]
        yield _Stretch(parts[start:end], own if any(link.has_network for link in own) else [])
        start = end


def _plain(parts: nn.ModuleList, links: list[Link]) -> Any:
    """Return the same map in plain torch, as a function of x, context, inverse and all tensors of the links."""
    whole = _InTurn(parts)
    named = {id(parameter): name for name, parameter in whole.named_parameters()}
    names = [named[id(tensor)] for link in links for tensor in link.tensors()]

    def plain(x: Tensor, context: Tensor | None, inverse: bool, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        with kernels(False):
            return torch.func.functional_call(whole, dict(zip(names, tensors, strict=True)), (x, context, inverse))

    return plain


class _InTurn(nn.Module):
    """Parts one after another."""

    def __init__(self, parts: nn.ModuleList) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        return in_turn(self.parts, x, context, inverse=inverse)


def _features(links: list[Link]) -> int:
    return next(link.num_features for link in links if link.has_network)


def _flat(compose: "Compose") -> "Iterator[Transform]":
    """Yield the parts, those of a compose within in its place."""
    for part in compose:
        if type(part) is type(compose):
            yield from _flat(part)
        else:
            yield part
