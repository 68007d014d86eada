"""What a module made of other modules is made of: its parts of a kind, facts that follow from them, twins."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from torch import nn

Fact = TypeVar("Fact")
Part = TypeVar("Part", bound=nn.Module)
Whole = TypeVar("Whole", bound=nn.Module)

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


class FromParts(Generic[Fact]):
    """A fact about a whole that follows from its parts, unless the class or the object states another.

    Args:
        combine: From the parts' facts, none for a whole without parts, to the whole's.
    """

    def __init__(self, combine: Callable[[list[Fact]], Fact]) -> None:
        self._combine = combine

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else self._combine([getattr(part, self._name) for part in owner.parts()])


def outermost(module: nn.Module, kind: type[Part]) -> Iterator[Part]:
    """Yield the modules of a kind that a module holds by itself or in lists and dictionaries of modules."""
    for child in module.children():
        if isinstance(child, kind):
            yield child
        elif isinstance(child, CONTAINERS):
            yield from outermost(child, kind)


def twin_with(module: Whole, replacements: Mapping[nn.Module, nn.Module]) -> Whole:
    """Return a copy of a module with other modules inside; all else is shared."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    for name, child in module._modules.items():
        if child is not None and child in replacements:
            twin._modules[name] = replacements[child]
        elif isinstance(child, CONTAINERS):
            twin._modules[name] = twin_with(child, replacements)
    return twin


def is_learned(module: nn.Module) -> bool:
    """Return whether the module has parameters."""
    return any(True for _ in module.parameters())


def hands_on(transform: Any) -> bool:
    """Return whether a transform hands rows on to its parts, or asks a conditioner, which autocast may run."""
    return bool(transform.parts()) or getattr(transform, "conditioner", None) is not None
