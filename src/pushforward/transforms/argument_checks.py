"""Whether transforms get what they need: parts that are transforms, a context that fits, sizes that agree."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from pushforward.errors import InputError, described, require_count, require_kind
from pushforward.transforms.univariate import Univariate


def check_context(owner: object, context: Tensor | None, batch: Sequence[int]) -> None:
    """Raise InputError unless `context` is what `owner` needs for data of batch shape `batch`.

    Args:
        owner: What takes context, with `context_features` (without that attribute it takes none).
        context: (C,), or the batch axes of the data (an axis of size 1 stretches) and C.
        batch: The data's batch shape.
    """
    needed = getattr(owner, "context_features", 0)
    name = type(owner).__name__
    if context is None:
        if needed:
            raise InputError(f"{name} needs context with {needed} features; none was given.")
        return
    if not needed:
        raise InputError(f"{name} takes no context; got one of shape {tuple(context.shape)}.")
    if context.shape[-1:] != (needed,):
        labels = needed > 1 and (context.ndim < 2 or context.shape[-1] == 1)
        remedy = f": labels go in as torch.nn.functional.one_hot(labels, {needed})" if labels else ""
        raise InputError(
            f"{name} needs context with {needed} features on the last axis; got shape {tuple(context.shape)}{remedy}."
        )
    got, want = tuple(context.shape[:-1]), tuple(batch)
    if got == () or (len(got) == len(want) and all(g in (1, w) for g, w in zip(got, want, strict=True))):
        return
    remedy = "give context of shape (C,) or one row of context for each row of x"
    if math.prod(want) == 1 and len(got) == 1:
        remedy = f"one row of x is looked at under {got[0]} contexts as x.expand({got[0]}, -1)"
    if 0 < len(got) < len(want):
        # The axes that are there are the leading ones if they fit in front, the trailing ones otherwise.
        if all(g in (1, w) for g, w in zip(got, want, strict=False)):
            remedy = "use context[:" + ", None" * (len(want) - len(got)) + "]"
            if len(got) > 1:
                remedy = "use context[" + ":, " * len(got) + "None, " * (len(want) - len(got)) + ":]"
        elif all(g in (1, w) for g, w in zip(got[::-1], want[::-1], strict=False)):
            remedy = "use context[" + "None, " * (len(want) - len(got)) + "...]"
    raise InputError(f"context has batch {got}, x has batch {want}: {remedy}.")


def takes(function: Callable[..., Any], num_arguments: int) -> bool:
    """Return whether a function can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * num_arguments)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        return True
    return True


def check_part(name: str, part: Any, kind: type) -> None:
    """Raise InputError unless `part` is a transform that can be composed with others.

    Args:
        name: Of the argument, with its position where it stands in a list.
        part: What was given.
        kind: The class `Transform`.
    """
    require_kind(name, part, kind, "a transform", _in_its_place(part))
    own = type(part).__name__
    for method in ("forward", "inverse", "initialize"):
        if not takes(getattr(part, method), 2):
            raise InputError(f"{name}: {own}.{method} takes no context: give it an argument context=None, last.")
    needed = require_count(f"{own}.context_features", part.context_features, 0)
    inside = [(type(inner).__name__, inner.context_features) for inner in part.parts() if inner.context_features]
    classes = type(part).__mro__[: type(part).__mro__.index(kind)]
    if inside and not needed and not any("context_features" in vars(scope) for scope in (part, *classes)):
        held, size = inside[0]
        raise InputError(
            f"{name}: {own} holds {held}, which takes {size} features of context, and does not say whether it takes "
            f"them from outside: set self.context_features = {size} in its constructor, or 0 if it makes the context."
        )


def check_parts(name: str, parts: Any, kind: type) -> list[Any]:
    """Return transforms as a list, or raise InputError unless each is one that can be composed with others."""
    if isinstance(parts, (str, bytes)) or not isinstance(parts, Iterable):
        remedy = f": put it into a list, [{type(parts).__name__}(...)]" if isinstance(parts, kind) else ""
        raise InputError(
            f"{name} must be a list of transforms, such as [pf.transforms.Scale(2.0)] or "
            f"pf.data.pixel_units('logit'); got {described(parts)}{remedy}."
        )
    found = list(parts)
    for position, part in enumerate(found):
        check_part(f"{name}[{position}]", part, kind)
    return found


def _in_its_place(value: Any) -> str:
    """Return what to use in place of what is no transform."""
    kind = type(value).__name__
    if isinstance(value, (list, tuple, nn.Sequential, nn.ModuleList)):
        return "make one of several by pf.transforms.Compose([...])"
    if kind.startswith(("BatchNorm", "LayerNorm")):
        return "use pf.transforms.ActNorm(features)"
    if isinstance(value, nn.Linear):
        return "use pf.transforms.LULinear(features)"
    if isinstance(value, Univariate):
        return "put it into pf.transforms.Elementwise, Coupling or Autoregressive"
    if hasattr(value, "_orig_mod"):  # what torch.compile makes of a module
        return "compile the whole flow, torch.compile(flow)"
    if isinstance(getattr(value, "transform", None), nn.Module):
        return "use its .transform"
    return "use one of pf.transforms, or a class of your own that inherits from pf.transforms.Transform"


def shared_features(owner: nn.Module, parts: Iterable[nn.Module]) -> int | None:
    """Return the number of features D that the parts share, None where any will do; InputError if they disagree."""
    found = {part.features: type(part).__name__ for part in parts if isinstance(getattr(part, "features", None), int)}
    if len(found) > 1:
        named = ", ".join(f"{name} {features}" for features, name in found.items())
        raise InputError(f"the parts of a {type(owner).__name__} must have the same number of features; got {named}.")
    return next(iter(found), None)  # type: ignore[return-value]


def shared_context(parts_named: str, parts: Iterable[Any]) -> int:
    """Return the size of the context that parts share, 0 where none takes one; InputError if they disagree."""
    needed = {part.context_features for part in parts} - {0}
    if len(needed) > 1:
        raise InputError(f"{parts_named} must share one context; got context_features {sorted(needed)}.")
    return needed.pop() if needed else 0
