"""The processes that share a run: each takes its rows of a batch, and one sum a step lets all of them go alike."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as group

from pushforward.errors import InputError, RunError
from pushforward.losses import Batch
from pushforward.training.clock import Clock
from pushforward.training.interrupt import SIGNALS, Flag
from pushforward.training.random_states import global_noise, set_global_noise

RIDERS = 2 + len(SIGNALS)  # numbers summed along with the gradient: loss, seconds of the first process, signals seen
Anything = TypeVar("Anything")


class Ranks:
    """The processes of a run, and which of them this one is; a single one shares nothing and waits for nobody.

    All have the same rows, the same generators and the same weights, so each knows the whole batch and takes its part
    of the rows. Its loss is their sum over the number of rows of the whole batch: the sum of all gradients is that of
    one process. Along with it go the numbers by which all decide alike: the loss, the first one's time, and signals.

    Args:
        rank: Which process this is, counted from 0. The first alone writes and prints.
        size: How many there are.

    Attributes:
        clock: Of the run; with several processes it shows the time of the first.
        flag: Set by signals, on all of them at the same step.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.clock, self.flag = Clock(shared=size > 1), Flag(shared=size > 1)

    @classmethod
    def here(cls) -> "Ranks":
        """Return those of torch's default process group; without one, this process alone."""
        if group.is_available() and group.is_initialized():
            return cls(group.get_rank(), group.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        """Whether the run is shared."""
        return self.size > 1

    def new_clock(self, used: float = 0.0) -> Clock:
        """Return a clock for the run in place of the one it has, on which so many seconds have gone by."""
        self.clock = Clock(used, shared=self.are_several)
        return self.clock

    # ---- a step ------------------------------------------------------------------------------------------------------

    def bounds(self, size: int) -> tuple[int, int]:
        """Return where this process's rows of so many begin and end: shares differ by one row at most."""
        return self.rank * size // self.size, (self.rank + 1) * size // self.size

    def share(self, batch: Batch) -> Batch:
        """Return this process's rows of a batch, which may be none."""
        if not self.are_several:
            return batch
        first, end = self.bounds(batch.size)
        x, context, weight = (None if value is None else value[first:end] for value in batch[:3])
        return Batch(x, context, weight, end - first)

    def sum_gradient(self, summed: Tensor, loss: Tensor) -> Tensor:
        """Sum gradients over the processes, in place, and hear on the way how late it is and whether to stop.

        Args:
            summed: (parameters + RIDERS,), the gradient in front.
            loss: This process's part of the mean loss, a scalar.

        Returns:
            The mean loss, a scalar.

        Raises:
            RunError: If another process has ended.
        """
        if not self.are_several:
            return loss
        riders = summed[-RIDERS:]
        riders[0] = loss
        signals = [float(self.flag.came == name) for name in SIGNALS.values()]
        seconds = self.clock.own if self.is_first else 0.0
        riders[1:] = torch.tensor([seconds, *signals], dtype=summed.dtype)
        self._together(lambda: group.all_reduce(summed))
        self.clock.agreed, *signals = riders[1:].tolist()
        self.flag.name = next((name for name, seen in zip(SIGNALS.values(), signals, strict=True) if seen), None)
        return riders[0].clone()

    @contextmanager
    def own_noise(self, generator: torch.Generator) -> Iterator[None]:
        """Let this process draw noise of its own meanwhile, from `generator` and torch's global one.

        Both are left as alike on all processes as they were found, and one draw further.
        """
        if not self.are_several:
            yield
            return
        device = generator.device
        seed = int(torch.randint(2**62, (), device=device)) + self.rank
        ours, globally = generator.get_state(), global_noise(device)
        generator.manual_seed(seed)
        set_global_noise(device, generator.get_state())
        try:
            yield
        finally:
            generator.set_state(ours)
            set_global_noise(device, globally)

    # ---- besides -----------------------------------------------------------------------------------------------------

    def sum_rows(self, losses: Tensor) -> Tensor:
        """Sum one number a row, (N,), over the processes, each 0 where another has the row; hear how late it is."""
        if not self.are_several:
            return losses
        summed = torch.cat([losses, losses.new_tensor([self.clock.own if self.is_first else 0.0])])
        self._together(lambda: group.all_reduce(summed))
        self.clock.agreed = summed[-1].item()
        return summed[:-1]

    def from_first(self, make: Callable[[], Anything]) -> Anything:
        """Return what the first process makes, or raise its InputError or RunError, on all of them.

        Tensors of the others lie on the CPU if those of the first do.
        """
        if not self.are_several:
            return make()
        said: list[Any] = [None, None]
        if self.is_first:
            try:
                said[0] = make()
            except (InputError, RunError) as error:
                said[1] = error
        self._together(lambda: group.broadcast_object_list(said, src=0))
        if said[1] is not None:
            raise said[1]
        return said[0]

    def require_alike(self, identity: dict[str, Any]) -> None:
        """Raise InputError, on all processes, unless all were given the same; the message names what differs."""
        if not self.are_several:
            return
        given: list[str] = [""] * self.size
        self._together(lambda: group.all_gather_object(given, json.dumps(identity, default=str)))
        first, *others = (json.loads(text) for text in given)
        for rank, other in enumerate(others, 1):
            if differing := [name for name in {**first, **other} if first.get(name) != other.get(name)]:
                raise InputError(
                    f"process {rank} of this run was given another {', '.join(differing)} than process 0: give all of "
                    "them the same, and all rows; fit shares them out."
                )

    def _together(self, collective: Callable[[], Any]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise RunError(
                "another process of this run has ended, or did not answer: start all of them again, with resume=True "
                "(--resume) where out= (--out) was given."
            ) from error
