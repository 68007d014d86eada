"""The contract of a transform (data -> latent), its composition and its inverse."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pushforward.errors import InputError, described, require_count
from pushforward.kernels.link import Link
from pushforward.numerics.chunking import chunks
from pushforward.numerics.precision import in_own_dtype
from pushforward.specification import Specified
from pushforward.transforms.argument_checks import (
    check_context,
    check_part,
    check_parts,
    shared_context,
    shared_features,
)
from pushforward.transforms.fused import fused, in_turn
from pushforward.transforms.module_structure import FromParts, hands_on, outermost, twin_with
from pushforward.transforms.step import Step


class Transform(nn.Module, ABC):
    """An invertible map of events on the last axis; `forward` goes from data to latent.

    A subclass implements `forward` and `inverse`; nothing else is needed. Both are pure: they depend on x, context and
    the module's own tensors alone, and branch on no tensor's value.

    Under autocast both compute in the dtype of their numbers; a module named `conditioner` runs in half precision.

    A subclass that wraps other transforms keeps them as modules and says its own `features` and `context_features`;
    what else it does not say follows from `parts()`.

    Attributes:
        features: Number of features D; None where any number will do.
        context_features: Number of context features C it needs; 0 means it takes none.
        exact_log_det: False where log_det is an estimate, as it is where a part's is.
        forward_passes: Passes through a network that `forward` needs one after another: 1, or D where it undoes an
            autoregressive map; the most that a part needs.
        inverse_passes: The same for `inverse`.

    Shape:
        x, y: (*batch, D), any number of batch axes. context: (C,), or as many batch axes as x, where an axis of size 1
        stretches. log_det: (*batch,), log|det dy/dx| in nats.
    """

    features: int | None = None
    context_features: int = 0
    exact_log_det = FromParts[bool](all)
    forward_passes = FromParts[int](lambda passes: max(passes, default=1))
    inverse_passes = FromParts[int](lambda passes: max(passes, default=1))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        in_own_dtype(cls, "forward", "inverse", unless=hands_on)

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latent: x -> y, log|det dy/dx|."""

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent to data: y -> x, log|det dx/dy|, which is minus the forward's at x."""

    # ---- what it is made of --------------------------------------------------------------------------------------

    def parts(self) -> "list[Transform]":
        """Return the transforms that this one holds: its own modules, and those in lists or dictionaries of modules."""
        return list(outermost(self, Transform))  # type: ignore[type-abstract]

    def in_sequence(self) -> "list[tuple[str, Transform]]":
        """Return the named maps, data to latent, that it runs one after another; itself where it is one map."""
        return [(type(self).__name__, self)]

    def fixed(self) -> "Transform":
        """Return what stays when all that is learned is left out: its fixed mixing, around that of its parts."""
        learned = set(self.parameters())
        if not learned:
            return self
        parts = self.parts()
        stays: dict[nn.Module, Transform] = {part: part.fixed() for part in parts}
        if learned - {parameter for part in parts for parameter in part.parameters()}:
            return Compose([stays[part] for part in parts])  # the map around the parts is itself learned
        twin = twin_with(self, stays)
        if self.context_features == shared_context("the parts", parts):
            twin.context_features = shared_context("the parts", stays.values())
        return twin

    # ---- hooks of `fit` ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Learn from training rows, once, before the first step: by default, each part from the rows that reach it."""
        hooks: dict[nn.Module, RemovableHandle] = {}

        def learn_first(part: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            hooks[part].remove()
            part.initialize(*arguments, **named)  # type: ignore[operator]

        for part in self.parts():
            hooks[part] = part.register_forward_pre_hook(learn_first, with_kwargs=True)
        try:
            if hooks:
                self(x, context)
        finally:
            for hook in hooks.values():
                hook.remove()

    def redraw(self, generator: torch.Generator) -> None:
        """Draw random probes anew, once a training step: by default, those of the parts."""
        for part in self.parts():
            part.redraw(generator)

    def kernel_link(self) -> Link | None:
        """Return how a kernel runs this map as one link of a chain; None, the default, where none can."""

    # ---- every step ----------------------------------------------------------------------------------------------

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return every step of `forward`; the last value is the result, the log_dets add up to its log_det."""
        steps = []
        for name, part in self.in_sequence():
            x, log_det = part(x, context if part.context_features else None)
            steps.append(Step(name, x, log_det))
        return steps

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return every step of `inverse`; the last value is the result."""
        steps = []
        for name, part in reversed(self.in_sequence()):
            y, log_det = part.inverse(y, context if part.context_features else None)
            steps.append(Step(name, y, log_det))
        return steps


def check_transform(name: str, value: Any) -> None:
    """Raise InputError unless `value` is a transform: says what was expected, what came and what to use."""
    check_part(name, value, Transform)


def check_transforms(name: str, values: Any) -> list[Transform]:
    """Return transforms as a list, or raise InputError naming the first that is none."""
    return check_parts(name, values, Transform)


class Compose(Specified, Transform):
    """Several transforms, one after another: `forward` runs them first to last, `inverse` last to first.

    Indexing gives a part, by position or name; a slice or `prefix(n)` gives a `Compose` that shares the parts.
    Context goes to the parts that take one.

    Args:
        transforms: The parts, in the order in which data meets them.
        names: One name a part, used by `steps`; by default the part's type and position, "Scale 1".

    Raises:
        InputError: If a part is no transform, the names are not unique or not one a part, or the parts
            disagree on features or context.

    Example:
        >>> import torch, pushforward as pf
        >>> both = pf.transforms.Compose([pf.transforms.Scale((2.0, 0.5)), pf.transforms.Shift((1.0, -1.0))])
        >>> both(torch.ones(2))
        (tensor([ 3.0000, -0.5000]), tensor(0.))
    """

    def __init__(self, transforms: Sequence[Transform], *, names: Sequence[str] | None = None) -> None:
        super().__init__()
        transforms = check_transforms("transforms", transforms)
        if names is None:
            names = [f"{type(part).__name__} {position}" for position, part in enumerate(transforms, 1)]
        if isinstance(names, str) or len(names) != len(transforms) or len(set(names)) != len(names):
            raise InputError(
                f"names must be unique, one a transform; got {described(names)} for {len(transforms)} transforms."
            )
        self.context_features = shared_context("transforms in one Compose", transforms)
        self.transforms = nn.ModuleList(transforms)
        self.names = tuple(names)
        self.features = shared_features(self, transforms)

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
        return self[: require_count("num_transforms", num_transforms, 0, len(self))]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        found = fused(self, x, context, inverse=False)
        return in_turn(self.transforms, x, context, inverse=False) if found is None else found

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        found = fused(self, y, context, inverse=True)
        return in_turn(self.transforms, y, context, inverse=True) if found is None else found

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialize each part on the rows as the parts before it leave them."""
        check_context(self, context, x.shape[:-1])
        for position, part in enumerate(self):
            own = context if part.context_features else None
            part.initialize(x, own)
            if position + 1 < len(self):  # what the last part gives no one waits for
                x = torch.cat([part(*rows)[0] for rows in chunks(x, own)]).reshape(x.shape)

    def parts(self) -> list[Transform]:  # noqa: D102
        return list(self)

    def in_sequence(self) -> list[tuple[str, Transform]]:
        """Return the parts, first to last, under their names."""
        return list(zip(self.names, self, strict=True))

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return one step a part, first to last, under the parts' names."""
        check_context(self, context, x.shape[:-1])
        return super().steps(x, context)

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return one step a part, last to first, under the parts' names."""
        check_context(self, context, y.shape[:-1])
        return super().steps_inverse(y, context)


class Inverse(Specified, Transform):
    """A transform run backwards: `forward` is the other's `inverse`.

    An inverse autoregressive flow is `Inverse(Autoregressive(...))`. The steps of the other are its steps, in the other
    order. `initialize` does nothing: data that arrive at this side are not what the inner transform would learn from.

    Args:
        transform: The transform to invert.

    Raises:
        InputError: If it is no transform.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        check_transform("transform", transform)
        self.transform = transform
        self.features, self.context_features = transform.features, transform.context_features

    def kernel_link(self) -> Link | None:  # noqa: D102
        link = self.transform.kernel_link() if type(self) is Inverse else None
        return None if link is None else replace(link, inverted=not link.inverted)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.transform.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.transform(y, context)

    @property
    def forward_passes(self) -> int:  # noqa: D102
        return self.transform.inverse_passes

    @property
    def inverse_passes(self) -> int:  # noqa: D102
        return self.transform.forward_passes

    def in_sequence(self) -> list[tuple[str, Transform]]:
        """Return the other's maps, last to first, each run backwards."""
        return [(name, Inverse(part)) for name, part in reversed(self.transform.in_sequence())]

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Do nothing."""

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:  # noqa: D102
        return self.transform.steps_inverse(x, context)

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:  # noqa: D102
        return self.transform.steps(y, context)
