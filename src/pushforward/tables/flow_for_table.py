"""The flow that a recipe makes for a table's rows, the loss that trains it, and what it costs to measure it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import losses, recipes
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.numerics.default_device import on_the_cpu
from pushforward.tables.splitting import Part
from pushforward.transforms import Asinh

FLOW = "flow"  # what auto takes for real columns, whatever the columns are
FEW_FEATURES = 8
FRESH_POINTS = 100_000


def check_recipe(recipe: str) -> None:
    """Raise InputError unless there is such a recipe."""
    names = ["auto", FLOW, *recipes.RECIPES]
    if recipe not in names:
        raise InputError(f'there is no recipe "{recipe}" (recipes: {", ".join(names)})')


@on_the_cpu()
def build(recipe: str, train: Part, *, max_seconds: float | None, seed: int) -> Flow:
    """Return a new flow for these rows; its initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe in ("auto", FLOW):
            return recipes.auto(train.x, train.context, max_seconds=max_seconds)
        features, context_features = train.x.shape[1], 0 if train.context is None else train.context.shape[1]
        options: dict[str, Any] = {"context_features": context_features, "preprocessing": [Asinh(features)]}
        if context_features:
            options["context_preprocessing"] = [Asinh(context_features)]
        if recipe == "cnf" and features <= FEW_FEATURES:
            options["hidden_features"] = (64, 64, 64)  # matches better than two layers; its divergence costs D passes
        return recipes.RECIPES[recipe](features, **options)


def training_of(recipe: str, flow: Flow, *, validated: bool) -> dict[str, Any]:
    """Return the options that a recipe's flow is trained with; `validated`: there are held-out rows to go by."""
    options: dict[str, Any] = {"loss": loss_of(recipe)}
    if recipe in ("auto", FLOW):
        has_dropout = any(isinstance(module, nn.Dropout) for module in flow.modules())  # one column needs no networks
        options |= {"optimizer": "adamw", "raise_dropout": validated and has_dropout}
    return options


def loss_of(recipe: str) -> Callable[..., Tensor]:
    """Return what a recipe minimizes: a continuous flow is matched, since its equation takes too long to solve."""
    return losses.flow_matching if recipe == "cnf" else losses.nll


def fresh_points(recipe: str) -> int:
    """Return on how many points of a known truth to measure: fewer where each takes solving an equation."""
    return FRESH_POINTS // 5 if recipe == "cnf" else FRESH_POINTS
