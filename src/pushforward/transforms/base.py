"""The contract of a transform (data -> latent), its composition and its inverse."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor, nn

from pushforward.numerics.chunking import chunks
from pushforward.specification import Specified


class Step(NamedTuple):
    """One step of a flow: its name, the value it gave, (*batch, D), and its log_det, (*batch,), in nats."""

    name: str
    value: Tensor
    log_det: Tensor


class Transform(nn.Module, ABC):
    """An invertible map of events on the last axis; `forward` goes from data to latent.

    A subclass implements `forward` and `inverse`; nothing else is needed. Both are pure: they depend on x, context and
    the module's own tensors alone, and branch on no tensor's value.

    Attributes:
        features: Number of features D; None where any number will do.
        context_features: Number of context features C it needs; 0 means it takes none.
        exact_log_det: False where log_det is an estimate.
        forward_passes: Passes through a network that `forward` needs one after another: 1, or D where it undoes an
            autoregressive map.
        inverse_passes: The same for `inverse`.

    Shape:
        x, y: (*batch, D), any number of batch axes. context: (C,), or as many batch axes as x, where an axis of size 1
        stretches. log_det: (*batch,), log|det dy/dx| in nats.
    """

    features: int | None = None
    context_features: int = 0
    exact_log_det: bool = True
    forward_passes: int = 1
    inverse_passes: int = 1

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latent: x -> y, log|det dy/dx|."""

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent to data: y -> x, log|det dx/dy|, which is minus the forward's at x."""

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:  # noqa: B027
        """Learn from training rows, once, before the first step; most transforms have nothing to learn."""

    def redraw(self, generator: torch.Generator) -> None:  # noqa: B027
        """Draw the transform's random probes anew, once a training step; most transforms have none."""

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return every step of `forward`; the last value is the result, the log_dets add up to its log_det."""
        return [Step(type(self).__name__, *self(x, context))]

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return every step of `inverse`; the last value is the result."""
        return [Step(type(self).__name__, *self.inverse(y, context))]


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


class Compose(Specified, Transform):
    """Several transforms, one after another: `forward` runs them first to last, `inverse` last to first.

    Indexing gives a part, by position or name; a slice or `prefix(n)` gives a `Compose` that shares the parts.
    Context goes to the parts that take one.

    Args:
        transforms: The parts, in the order in which data meets them.
        names: One name a part, used by `steps`; by default the part's type and position, "Scale 1".

    Raises:
        ValueError: If the names are not unique or not one a part, or the parts disagree on features or context.

    Example:
        >>> import torch, pushforward as pf
        >>> both = pf.transforms.Compose([pf.transforms.Scale((2.0, 0.5)), pf.transforms.Shift((1.0, -1.0))])
        >>> both(torch.ones(2))
        (tensor([ 3.0000, -0.5000]), tensor(0.))
    """

    def __init__(self, transforms: Sequence[Transform], *, names: Sequence[str] | None = None) -> None:
        super().__init__()
        transforms = list(transforms)
        if names is None:
            names = [f"{type(part).__name__} {position}" for position, part in enumerate(transforms, 1)]
        if len(names) != len(transforms) or len(set(names)) != len(names):
            raise ValueError(
                f"names must be unique, one a transform; got {list(names)} for {len(transforms)} transforms."
            )
        self.context_features = shared_context("transforms in one Compose", transforms)
        self.transforms = nn.ModuleList(transforms)
        self.names = tuple(names)
        self.features = shared_features(self, transforms)
        self.exact_log_det = all(part.exact_log_det for part in transforms)
        self.forward_passes = max((part.forward_passes for part in transforms), default=1)
        self.inverse_passes = max((part.inverse_passes for part in transforms), default=1)

    def __len__(self) -> int:
        return len(self.transforms)

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)  # type: ignore[arg-type]

    @overload
    def __getitem__(self, index: int | str) -> Transform: ...
    @overload
    def __getitem__(self, index: slice) -> "Compose": ...
    def __getitem__(self, index: int | str | slice) -> Transform:
        if isinstance(index, slice):
            return Compose(list(self)[index], names=self.names[index])
        if isinstance(index, str):
            if index not in self.names:
                raise KeyError(f"no part is named {index!r}; the names are {list(self.names)}.")
            index = self.names.index(index)
        return self.transforms[index]  # type: ignore[return-value]

    def prefix(self, num_transforms: int) -> "Compose":
        """Return the first parts only, counted from the data."""
        return self[:num_transforms]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        total = None
        for part in self:
            x, log_det = part(x, context if part.context_features else None)
            total = log_det if total is None else total + log_det
        return x, x.new_zeros(x.shape[:-1]) if total is None else total

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        total = None
        for part in reversed(self.transforms):
            y, log_det = part.inverse(y, context if part.context_features else None)  # type: ignore[operator]
            total = log_det if total is None else total + log_det
        return y, y.new_zeros(y.shape[:-1]) if total is None else total

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialize each part on the rows as the parts before it leave them."""
        check_context(self, context, x.shape[:-1])
        for position, part in enumerate(self):
            own = context if part.context_features else None
            part.initialize(x, own)
            if position + 1 < len(self):  # what the last part gives no one waits for
                x = torch.cat([part(*rows)[0] for rows in chunks(x, own)]).reshape(x.shape)

    def redraw(self, generator: torch.Generator) -> None:  # noqa: D102
        for part in self:
            part.redraw(generator)

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return one step a part, first to last, under the parts' names."""
        check_context(self, context, x.shape[:-1])
        steps = []
        for name, part in zip(self.names, self, strict=True):
            x, log_det = part(x, context if part.context_features else None)
            steps.append(Step(name, x, log_det))
        return steps

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return one step a part, last to first, under the parts' names."""
        check_context(self, context, y.shape[:-1])
        steps = []
        for name, part in zip(reversed(self.names), reversed(self.transforms), strict=True):
            y, log_det = part.inverse(y, context if part.context_features else None)  # type: ignore[operator]
            steps.append(Step(name, y, log_det))
        return steps


class Inverse(Specified, Transform):
    """A transform run backwards: `forward` is the other's `inverse`.

    An inverse autoregressive flow is `Inverse(Autoregressive(...))`. `initialize` does nothing: data that arrive at
    this side are not what the inner transform would learn from.

    Args:
        transform: The transform to invert.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.features = transform.features
        self.context_features = transform.context_features
        self.exact_log_det = transform.exact_log_det
        self.forward_passes, self.inverse_passes = transform.inverse_passes, transform.forward_passes

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.transform.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.transform(y, context)

    def redraw(self, generator: torch.Generator) -> None:  # noqa: D102
        self.transform.redraw(generator)

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:  # noqa: D102
        return self.transform.steps_inverse(x, context)

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:  # noqa: D102
        return self.transform.steps(y, context)
