"""From settings to a flow and its training, and the same as a Python script."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from pushforward import bases, losses, recipes
from pushforward.data import TOYS
from pushforward.flows import Flow
from pushforward.losses import Loss
from pushforward.nets import MLP
from pushforward.play.points import HELD_OUT, HELD_OUT_SHARE, TEST_SEED, toy_arguments
from pushforward.play.settings import DRAWN, DRAWN_UNIT, SAMPLES_BEFORE, Settings
from pushforward.transforms import Additive, Affine, Compose, Coupling, RationalQuadratic, Standardize, Univariate

SOLVER = {"method": "rk4", "num_steps": 8}
UNIVARIATE: dict[str, type[Univariate]] = {"nice": Additive, "realnvp": Affine, "nsf": RationalQuadratic}
BOX = {"low": -3.0, "high": 3.0}


def flow_call(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the name of the recipe and its arguments beside features, base and preprocessing."""
    s, recipe = settings, settings.recipe
    hidden = {"hidden_features": (s.width, s.width)}
    if recipe in ("planar", "radial", "sylvester"):
        return "planar", {"num_layers": s.layers, "kind": recipe}
    if recipe.startswith("cnf"):
        return "cnf", {**hidden, **SOLVER, "activation": s.activation}
    arguments: dict[str, Any] = {"num_layers": s.layers, **hidden, "activation": s.activation}
    if recipe in ("realnvp", "maf"):
        arguments["log_scale"] = s.log_scale
    if s.mixing != "none":
        arguments["mixing"] = "flip" if recipe == "maf" and s.mixing == "swap" else s.mixing
    return recipe, arguments


def without_swap(settings: Settings) -> bool:
    """Return whether every coupling keeps the same feature, so that no recipe makes the flow."""
    return settings.mixing == "none" and settings.recipe in UNIVARIATE


def flow_of(settings: Settings) -> Flow:
    """Return the flow, its weights drawn by the seed."""
    torch.manual_seed(settings.seed)
    box = partial(bases.Box, low=BOX["low"], high=BOX["high"])
    base: dict[str, Callable[[int], bases.Base]]
    base = {"normal": bases.StandardNormal, "box": box, "mixture": bases.GaussianMixture}
    latent, standardize = base[settings.base](2), [Standardize(2)]
    if not without_swap(settings):
        name, arguments = flow_call(settings)
        return getattr(recipes, name)(2, **arguments, base=latent, preprocessing=standardize)
    kind = UNIVARIATE[settings.recipe]
    univariate = kind(settings.log_scale) if kind is Affine else kind()
    kept = torch.tensor([True, False])
    layers = [Coupling(kept, univariate, _network(settings, univariate)) for _ in range(settings.layers)]
    names = [f"layer {number}" for number in range(1, len(layers) + 1)]
    return Flow(Compose(layers, names=names), latent, standardize)


def _network(settings: Settings, univariate: Univariate) -> MLP:
    widths = (settings.width, settings.width)
    return MLP(1, univariate.num_params, hidden_features=widths, activation=settings.activation)


def loss_of(settings: Settings) -> Loss:
    """Return the loss: the likelihood, or flow matching."""
    return losses.flow_matching if settings.recipe == "cnf-matching" else losses.nll


def training(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `pf.fit` beside flow, data and loss."""
    return {
        "num_steps": settings.num_steps, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate,
        "validation": None, "seed": settings.seed,
    }  # fmt: skip


def script(settings: Settings) -> str:
    """Return a Python script that trains the same flow to the same step, and prints the held-out NLL."""
    s, (name, arguments) = settings, flow_call(settings)
    if s.data in TOYS:
        call = "".join(f", {name}={value!r}" for name, value in toy_arguments(s).items())
        data = [
            f'data = pf.data.TOYS["{s.data}"]({s.num_points}, seed={s.seed}{call})',
            f"train, test = data.x, data.density.sample({HELD_OUT}, {TEST_SEED})",
        ]
    elif s.data.startswith(SAMPLES_BEFORE):
        data = [f'train, test = pf.data.three_sets("{s.data.removeprefix(SAMPLES_BEFORE)}", seed={s.seed})']
    else:
        drawn = f'units = np.frombuffer(base64.urlsafe_b64decode("{s.drawn}{"=" * (-len(s.drawn) % 4)}"), "<i2")'
        file = "x = torch.tensor(pl.read_csv('your-file.csv').to_numpy(), dtype=torch.float32)"
        data = [
            *(["import base64", "import numpy as np", drawn] if s.data == DRAWN else ["import polars as pl", file]),
            *([f'x = torch.tensor(units.reshape(-1, 2).astype("float32")) * {DRAWN_UNIT}'] if s.data == DRAWN else []),
            f"order = torch.randperm(len(x), generator=torch.Generator().manual_seed({s.seed}))",
            f"test, train = (x[part] for part in order.tensor_split([max(round({HELD_OUT_SHARE} * len(x)), 2)]))",
        ]
    base = {
        "normal": "pf.bases.StandardNormal(2)",
        "box": "pf.bases.Box(2, low={low}, high={high})".format(**BOX),
        "mixture": "pf.bases.GaussianMixture(2)",
    }
    options = "".join(f", {key}={value!r}" for key, value in arguments.items())
    flow = [f"flow = pf.recipes.{name}(2{options}, base=base, preprocessing=standardize)"]
    if without_swap(s):
        scale = repr(s.log_scale) if s.recipe == "realnvp" else ""
        univariate = f"pf.transforms.{UNIVARIATE[s.recipe].__name__}({scale})"
        net = f"pf.nets.MLP(1, by.num_params, hidden_features=({s.width}, {s.width}), activation={s.activation!r})"
        coupling = f"pf.transforms.Coupling(torch.tensor([True, False]), by, {net})"
        flow = [
            f"by = {univariate}",
            f"layers = [{coupling} for _ in range({s.layers})]",
            "flow = pf.Flow(pf.transforms.Compose(layers), base, standardize)",
        ]
    fit = "".join(f", {key}={value!r}" for key, value in training(s).items())
    loss = ", loss=pf.losses.flow_matching" if s.recipe == "cnf-matching" else ""
    watch = f", watch=lambda step: {s.step} - step" if s.step < s.num_steps else ""
    return "\n".join(
        [
            "import torch",
            "import pushforward as pf",
            "",
            *data,
            f"torch.manual_seed({s.seed})",
            f"base, standardize = {base[s.base]}, [pf.transforms.Standardize(2)]",
            *flow,
            f"pf.fit(flow, train{loss}{fit}{watch})",
            'print(f"held-out NLL: {pf.metrics.nll(flow, test).mean:.4f} nats")',
            "",
        ]
    )
