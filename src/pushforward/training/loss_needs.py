"""Whether a model has what a loss says it needs, before the first batch."""

import functools
import inspect

from torch import nn

from pushforward import losses
from pushforward.errors import InputError

MOST_PASSES = 64  # that a step of likelihood training may take


def check_call(loss: losses.Loss) -> None:
    """Raise InputError unless the loss can be called as `fit` does: an option without a default must be bound to it."""
    function = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        inspect.signature(function).bind(None, None, None)
    except (TypeError, ValueError) as error:  # ValueError: an option is bound to it that it does not have
        raise InputError(f"loss must be callable as loss(model, batch, generator): {error}.") from error


def check_needs(model: nn.Module, loss: losses.Loss) -> None:
    """Raise InputError if the model lacks the method that the loss says it needs, or takes too long for it.

    A loss of the user's own may say so, too: `my_loss.needs = "log_prob"`. A partial needs what its loss does.
    """
    while isinstance(loss, functools.partial) and not hasattr(loss, "needs"):
        loss = loss.func
    method = getattr(loss, "needs", None)
    if method is None:
        return
    if not isinstance(method, str):
        raise InputError(f"loss.needs must be the name of a method; got {method!r}.")
    if not hasattr(model, method):
        suited = (name for name, own in vars(losses).items() if hasattr(model, getattr(own, "needs", "")))
        name = next(suited, None)
        remedy = f"give loss=pf.losses.{name}" if name else "give a loss that suits the model"
        raise InputError(
            f"the loss {getattr(loss, '__name__', type(loss).__name__)} needs a model with {method}; "
            f"{type(model).__name__} has none: {remedy}."
        )
    passes = getattr(model, "forward_passes", 1)
    if method == "log_prob" and passes > MOST_PASSES:
        raise InputError(
            f"the likelihood of this model takes {passes} passes a step (it is inverse autoregressive), "
            f"more than {MOST_PASSES}: use recipes.maf, which scores in one pass."
        )
