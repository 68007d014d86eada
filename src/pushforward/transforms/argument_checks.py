"""Whether transforms get what they need: a context that fits, a list of transforms, sizes that agree."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn


def check_context(owner: object, context: Tensor | None, batch: Sequence[int]) -> None:
    """Raise ValueError unless `context` is what `owner` needs for data of batch shape `batch`.

    Args:
        owner: What takes context, with `context_features` (without that attribute it takes none).
        context: (C,), or the batch axes of the data (an axis of size 1 stretches) and C.
        batch: The data's batch shape.
    """
    needed = getattr(owner, "context_features", 0)
    name = type(owner).__name__
    if context is None:
        if needed:
            raise ValueError(f"{name} needs context with {needed} features; none was given.")
        return
    if not needed:
        raise ValueError(f"{name} takes no context; got one of shape {tuple(context.shape)}.")
    if context.shape[-1:] != (needed,):
        labels = needed > 1 and (context.ndim < 2 or context.shape[-1] == 1)
        remedy = f": labels go in as torch.nn.functional.one_hot(labels, {needed})" if labels else ""
        raise ValueError(
            f"{name} needs context with {needed} features on the last axis; got shape {tuple(context.shape)}{remedy}."
        )
    got, want = tuple(context.shape[:-1]), tuple(batch)
    if got == () or (len(got) == len(want) and all(g in (1, w) for g, w in zip(got, want, strict=True))):
        return
    remedy = "give context of shape (C,) or one row of context for each row of x"
    if 0 < len(got) < len(want):
        # The axes that are there are the leading ones if they fit in front, the trailing ones otherwise.
        if all(g in (1, w) for g, w in zip(got, want, strict=False)):
            remedy = "use context[:" + ", None" * (len(want) - len(got)) + "]"
            if len(got) > 1:
                remedy = "use context[" + ":, " * len(got) + "None, " * (len(want) - len(got)) + ":]"
        elif all(g in (1, w) for g, w in zip(got[::-1], want[::-1], strict=False)):
            remedy = "use context[" + "None, " * (len(want) - len(got)) + "...]"
    raise ValueError(f"context has batch {got}, x has batch {want}: {remedy}.")


def check_list(name: str, transforms: object) -> None:
    """Raise ValueError if one transform, or a name, was given where a list of transforms is wanted."""
    if isinstance(transforms, str) or not isinstance(transforms, Iterable):
        raise ValueError(
            f"{name} must be a list of transforms, such as [pf.transforms.Scale(2.0)] or "
            f"pf.data.pixel_units('logit'); got {transforms!r}."
        )


def shared_features(owner: nn.Module, parts: Iterable[nn.Module]) -> int | None:
    """Return the number of features D that the parts share, None where any will do; ValueError if they disagree."""
    found = {part.features: type(part).__name__ for part in parts if isinstance(getattr(part, "features", None), int)}
    if len(found) > 1:
        named = ", ".join(f"{name} {features}" for features, name in found.items())
        raise ValueError(f"the parts of a {type(owner).__name__} must have the same number of features; got {named}.")
    return next(iter(found), None)  # type: ignore[return-value]


def shared_context(parts_named: str, parts: Iterable[Any]) -> int:
    """Return the size of the context that parts share, 0 where none takes one; ValueError if they disagree."""
    needed = {part.context_features for part in parts} - {0}
    if len(needed) > 1:
        raise ValueError(f"{parts_named} must share one context; got context_features {sorted(needed)}.")
    return needed.pop() if needed else 0
