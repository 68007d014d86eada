"""A `Compose` run as one kernel where every part of it can be: found once, and looked at again before each use."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from pushforward.kernels.chain import Chain, Link
from pushforward.kernels.switch import kernels, runs_in_c
from pushforward.numerics.precision import precision_in_force

if TYPE_CHECKING:
    from pushforward.transforms.base import Compose, Transform

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found in a compose: a chain, or None, which holds as long as the modules are as they were."""

    chain: Chain | None
    # Each module with those inside it and whether it trains. Not the compose itself, which this must not keep alive.
    modules: list[tuple[nn.Module, tuple[Any, ...], bool]]
    parts: tuple[Any, ...]
    masks: list[tuple[Tensor, int]]
    hooked: bool = False  # to be looked at again each time, since hooks may go

    def holds(self, compose: nn.Module) -> bool:
        if self.hooked or tuple(compose._modules.values()) != self.parts or has_hooks(compose):
            return False
        for module, inside, training in self.modules:
            if (
                tuple(module._modules.values()) != inside
                or module.training != training
                or module._forward_hooks
                or module._forward_pre_hooks
                or module._backward_hooks
                or module._backward_pre_hooks
            ):
                return False
        return all(mask._version == version for mask, version in self.masks)


_found: "weakref.WeakKeyDictionary[nn.Module, _Found]" = weakref.WeakKeyDictionary()


def fused(compose: "Compose", x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor] | None:
    """Return what the compose gives for x, from one kernel; or None where plain torch has to run.

    Args:
        compose: The whole.
        x: (*batch, D).
        context: (C,), or the batch axes of x (an axis of size 1 stretches) and C, or None.
        inverse: Latent to data.
    """
    if x.dtype not in (torch.float32, torch.float64) or not _is_plain_call(x):
        return None
    chain, features = chain_of(compose), x.shape[-1]
    if chain is None or chain.features != features or not x.numel():
        return None
    rows = x if x.ndim == 2 else x.reshape(-1, features)
    if context is not None:
        context = context.to(x.dtype).expand(*x.shape[:-1], context.shape[-1]).reshape(len(rows), -1).contiguous()
    found = chain(rows, context, inverse=inverse)
    if found is None or x.ndim == 2:
        return found
    return found[0].reshape(x.shape), found[1].reshape(x.shape[:-1])


def chain_of(compose: "Compose") -> Chain | None:
    """Return the chain that stands for a compose as it is now, or None."""
    known = _found.get(compose)
    if known is None or not known.holds(compose):
        known = _found[compose] = _look_at(compose)
    return known.chain


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


def _look_at(compose: "Compose") -> _Found:
    parts = list(_flat(compose))
    inside = [m for m in compose.modules() if m is not compose]
    modules = [(m, tuple(m._modules.values()), m.training) for m in inside]
    held = tuple(compose._modules.values())
    masks = [(buffer, buffer._version) for buffer in compose.buffers()]
    if any(has_hooks(module) for module in [compose, *inside]):
        return _Found(None, [], held, [], hooked=True)
    links = [link for part in parts if (link := part.kernel_link()) is not None and link.in_range]
    if len(links) < len(parts) or not any(link.kind == "coupling" for link in links):
        return _Found(None, modules, held, masks)
    # A weak reference: the chain lies in a table whose keys it must not keep alive.
    owner = weakref.ref(compose)

    named = {id(parameter): name for name, parameter in compose.named_parameters()}
    names = [named[id(tensor)] for link in links for tensor in link.tensors()]

    def plain(x: Tensor, context: Tensor | None, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        whole = owner()
        assert whole is not None
        with kernels(False):
            return torch.func.functional_call(whole, dict(zip(names, tensors, strict=True)), (x, context))

    return _Found(Chain(_features(links), links, plain), modules, held, masks)


def _features(links: list[Link]) -> int:
    return next(len(link.order) for link in links if link.order is not None)


def _flat(compose: "Compose") -> "Iterator[Transform]":
    """Yield the parts, those of a compose within in its place."""
    for part in compose:
        if type(part) is type(compose):
            yield from _flat(part)
        else:
            yield part


def order_of(mask: Tensor) -> Any:
    """Return the kept features of a coupling, then the others, as C reads them."""
    return torch.cat((mask.nonzero().flatten(), (~mask).nonzero().flatten())).to("cpu", torch.int32).numpy().copy()


def parameters_of(*layers: nn.Module) -> list[tuple[dict[str, Any], str]]:
    """Return where the parameters of layers are, to be looked up at each use: (dictionary, name)."""
    return [(layer._parameters, name) for layer in layers for name in ("weight", "bias")]
