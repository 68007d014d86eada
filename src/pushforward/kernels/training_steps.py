"""Whole steps of maximum likelihood in C: gather, loss, gradient, clipping and Adam's update, many steps a call."""

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.kernels.chain import Chain, aligned
from pushforward.kernels.native.library import Training


@dataclass(frozen=True)
class Adam:
    """The settings of Adam (arXiv:1412.6980) and AdamW (arXiv:1711.05101), and the largest norm of a gradient."""

    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    decoupled: bool
    clip_norm: float | None
    seed: int  # of dropout


@dataclass(frozen=True)
class SeenRows:
    """Rows as the chain sees them.

    Attributes:
        x: (N, D).
        context: (N, C), or None.
        weight: (N,), or None.
        constant: What each row's log-likelihood has beside the chain's, (N,), or None.
    """

    x: Tensor
    context: Tensor | None
    weight: Tensor | None
    constant: Tensor | None


class TrainingSteps:
    """Adam on the mean negative log-likelihood of a chain with a standard normal base.

    Args:
        chain: The map; its parameters, all of them, are views of `flat`.
        flat: All parameters, (P,).
        moments: Adam's running means of the gradient and of its square, (P,) each, changed in place.
        rows: The first rows to learn from.
        adam: Its settings.
        batch_size: Rows of a step.

    Raises:
        ValueError: If there is no compiled library, or a parameter of the chain lies elsewhere.
    """

    def __init__(
        self,
        chain: Chain,
        flat: Tensor,
        moments: tuple[Tensor, Tensor],
        rows: SeenRows,
        adam: Adam,
        batch_size: int,
    ) -> None:
        tensors = [tensor for link in chain.links for tensor in link.tensors()]
        # A struct of its own: here gradients lie as the parameters do, in one vector.
        struct = Chain(chain.features, chain.links, chain.plain).struct(flat.dtype, tensors)
        size, start = flat.element_size(), flat.data_ptr()
        places = [(tensor.data_ptr() - start) // size for tensor in tensors]
        if struct is None or any(
            not 0 <= place <= flat.numel() - t.numel() for place, t in zip(places, tensors, strict=True)
        ):
            raise ValueError("the chain's parameters are not all in the flat vector, or there is no compiled library")
        struct.gradients_at(places, flat.numel())
        struct.point_at(tensors)
        self._struct, self.batch_size, self.num_parameters = struct, batch_size, flat.numel()
        self._settings = (
            start, *(moment.data_ptr() for moment in moments), *adam.betas, adam.epsilon, adam.weight_decay,
            adam.clip_norm or 0.0, int(adam.decoupled), adam.seed,
        )  # fmt: skip
        self._flat, self._moments = flat, moments  # kept alive
        self._work: dict[int, Tensor] = {}
        self.use(rows)

    def use(self, rows: SeenRows) -> None:
        """Learn from these rows from now on."""
        parts = (rows.x, rows.context, rows.weight, rows.constant)
        self._kept = [part if part is None else part.contiguous() for part in parts]
        at = [None if part is None else part.data_ptr() for part in self._kept]
        self._training = Training(self.batch_size, len(rows.x), *at, *self._settings)

    def __call__(self, index: Tensor, rates: list[float], taken: int, threads: int) -> Tensor:
        """Take steps and return the mean loss before each, (steps,).

        Args:
            index: Numbers of the rows of each step, (steps, batch_size), int64.
            rates: The learning rate of each step.
            taken: Steps taken before.
            threads: How many to use; the bits depend on it.
        """
        threads = threads if self._struct.library.runs_parallel() else 1
        if threads not in self._work:
            numbers = self._struct.library.train_numbers(self._struct.address, self.batch_size, threads)
            self._work[threads] = aligned(self._flat, numbers)
        index, losses = index.contiguous(), np.empty(len(rates))
        given = np.asarray(rates, dtype=np.float64)
        self._struct.library.train(
            self._struct.address, ctypes.addressof(self._training), index.data_ptr(), given.ctypes.data, len(rates),
            taken, self._work[threads].data_ptr(), losses.ctypes.data, threads,
        )  # fmt: skip
        return torch.from_numpy(losses)
