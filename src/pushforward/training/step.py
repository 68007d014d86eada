"""One training step: loss, gradient, clipping and the optimizer's update, eager or compiled as a whole."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.losses import Batch, Loss
from pushforward.numerics.precision import float32_products
from pushforward.training.flat_weights import Weights
from pushforward.training.ranks import Ranks

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


def mean_loss(losses: Tensor, weight: Tensor | None, num_rows: int) -> Tensor:
    """Return what some rows contribute to the weighted mean of so many; weights have mean 1, so this is unbiased."""
    weighted = losses if weight is None else losses * weight
    return weighted.mean() if len(losses) == num_rows else weighted.sum() / num_rows


def clip(gradient: Tensor, most: float | None) -> None:
    """Shorten a gradient, in place, to the norm allowed."""
    if most is not None:
        gradient.mul_((most / torch.linalg.vector_norm(gradient)).clamp_(max=1.0))


class EagerStep:
    """A step of plain PyTorch.

    Args:
        model, loss: `loss(model, batch, generator)` gives one number a row.
        weights: The model's parameters, laid flat.
        optimizer: Over `weights`; its learning rate is set before each step.
        clip_norm: Largest norm of the gradient, or None.
        generator: Handed to the loss.
        exact: Whether CUDA computes gradients in float32 throughout, or may round products to TF32.
        ranks: The processes that share the run.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        weights: Weights,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None,
        generator: torch.Generator,
        exact: bool,
        ranks: Ranks,
    ) -> None:
        self.model, self.loss, self.weights, self.optimizer, self.ranks = model, loss, weights, optimizer, ranks
        self.clip_norm, self.generator, self.exact = clip_norm, generator, exact

    def __call__(self, batch: Batch) -> Tensor:
        """Take a step at the optimizer's learning rate; return the batch's mean loss before it, a scalar."""
        gradient = self.weights.flat.grad
        assert gradient is not None
        gradient.zero_()
        with self.ranks.own_noise(self.generator):
            loss = self._learn_from(self.ranks.share(batch), batch.size)
        loss = self.ranks.sum_gradient(self.weights.summed, loss)
        clip(gradient, self.clip_norm)
        self.optimizer.step()
        return loss

    def _learn_from(self, share: Batch, num_rows: int) -> Tensor:
        """Add to the gradient what these rows contribute to that of so many; return their part of the mean loss."""
        if not share.size:
            return self.weights.summed.new_zeros(())
        loss = mean_loss(self.loss(self.model, share, self.generator), share.weight, num_rows)
        with float32_products(self.exact) if self.weights.flat.device.type == "cuda" else nullcontext():
            loss.backward()
        return loss.detach()


class CompiledStep:
    """The same step as one compiled graph over the flat vector, Adam's update included.

    Adam's state lives in the torch optimizer, as in the eager step. The loss is handed no generator: it draws from
    torch's global one, which `fit` has forked and seeded, since a graph cannot hold a generator. An optimizer of the
    user's own follows the compiled gradient uncompiled; so do the sum over several processes, clipping and Adam.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        weights: Weights,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None,
        generator: torch.Generator,
        ranks: Ranks,
    ) -> None:
        self.weights, self.optimizer, self.clip_norm, self.generator, self.ranks = (
            weights, optimizer, clip_norm, generator, ranks,
        )  # fmt: skip
        group = optimizer.param_groups[0]
        self._owns_adam = group["params"][0] is weights.flat and not ranks.are_several
        self._rate = torch.zeros((), dtype=weights.flat.dtype, device=weights.flat.device)
        gradient = _gradient_function(model, loss, weights, None if ranks.are_several else clip_norm)
        adam = _adam_function(group, decoupled=isinstance(optimizer, torch.optim.AdamW)) if self._owns_adam else None

        def whole(
            flat: Tensor, into: Tensor, state: tuple[Tensor, ...], rate: Tensor, data: tuple[Any, ...], num_rows: int
        ) -> Tensor:
            slope, value = gradient(flat, data, num_rows)
            if adam is None:
                into.copy_(slope)
            else:
                adam(flat, slope, state, rate)
            return value

        # torch counts recompilations by code object, and gives up at eight: each run brings a copy of its own.
        whole.__code__ = whole.__code__.replace()
        self._whole = torch.compile(whole, fullgraph=True, dynamic=False)
        self._ran = False

    def __call__(self, batch: Batch) -> Tensor:
        """Take a step at the optimizer's learning rate; return the batch's mean loss before it, a scalar."""
        gradient = self.weights.flat.grad
        assert gradient is not None
        with self.ranks.own_noise(self.generator):
            value = self._run(gradient, self.ranks.share(batch), batch.size)
        if self.ranks.are_several:
            value = self.ranks.sum_gradient(self.weights.summed, value)
            clip(gradient, self.clip_norm)
        if not self._owns_adam:
            self.optimizer.step()
        return value

    def _run(self, gradient: Tensor, share: Batch, num_rows: int) -> Tensor:
        """Run the graph on these rows out of so many; return their part of the mean loss."""
        if not share.size:
            gradient.zero_()
            return gradient.new_zeros(())
        self._rate.fill_(self.optimizer.param_groups[0]["lr"])
        own = self.optimizer.state[self.weights.flat] if self._owns_adam else {}
        state = tuple(own[name] for name in ADAM_STATE) if own else ()
        try:
            value = self._whole(self.weights.flat.detach(), gradient, state, self._rate, tuple(share), num_rows)
        except Exception as error:
            if self._ran:
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"the training step cannot be compiled ({reason[0]}): use compile=False.") from error
        self._ran = True
        return value


class _Loss(nn.Module):
    """A loss as a module that holds the model, so that `functional_call` can put other parameters in its place."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch, num_rows: int) -> Tensor:
        return mean_loss(self.loss(self.model, batch, None), batch.weight, num_rows)


def _gradient_function(model: nn.Module, loss: Loss, weights: Weights, clip_norm: float | None) -> Callable[..., Any]:
    """Return (flat, batch, num_rows) -> clipped gradient and mean loss, of a batch's rows out of so many."""
    whole = _Loss(model, loss)

    def value(parameters: dict[str, Tensor], data: tuple[Any, ...], num_rows: int) -> Tensor:
        named = {f"model.{name}": view for name, view in parameters.items()}
        return torch.func.functional_call(whole, named, (Batch(*data), num_rows))

    def gradient(flat: Tensor, data: tuple[Any, ...], num_rows: int) -> tuple[Tensor, Tensor]:
        slopes, result = torch.func.grad_and_value(value)(weights.views(flat), data, num_rows)
        slope = torch.cat([part.reshape(-1) for part in slopes.values()])
        if clip_norm is not None:
            # The norm from the parts: from the whole, the compiler would gather the parts twice.
            norm = torch.stack([part.square().sum() for part in slopes.values()]).sum().sqrt()
            slope = slope * (clip_norm / norm).clamp(max=1.0)
        return slope, result

    return gradient


def _adam_function(group: dict[str, Any], *, decoupled: bool) -> Callable[..., None]:
    """Return Adam's in-place update (arXiv:1412.6980, algorithm 1; decoupled decay: arXiv:1711.05101)."""
    (beta1, beta2), epsilon, decay = group["betas"], group["eps"], group["weight_decay"]

    def adam(flat: Tensor, slope: Tensor, state: tuple[Tensor, ...], rate: Tensor) -> None:
        step, mean, square = state
        step.add_(1)
        if decay and decoupled:
            flat.mul_(1 - rate * decay)
        elif decay:
            slope = slope + decay * flat
        mean.lerp_(slope, 1 - beta1)
        square.mul_(beta2).addcmul_(slope, slope, value=1 - beta2)
        root = (square / (1 - beta2**step)).sqrt() + epsilon
        flat.sub_(rate / (1 - beta1**step) * mean / root)

    return adam
