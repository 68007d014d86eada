"""Every public constructor and function checks its counts, numbers, names, seeds and parts, and names what is wrong."""

import dataclasses
import importlib
import inspect
import json
import math
import typing

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.errors import InputError, require_count, require_number, require_seed, require_widths

T, MODULES = pf.transforms, ("bases", "data", "flows", "metrics", "nets", "recipes", "studies", "tables", "training",
                             "transforms", "transforms.masks", "vae", "verification")  # fmt: skip


def flow(**options):
    return pf.recipes.realnvp(2, num_layers=2, hidden_features=(4,), **options)


def vae():
    return pf.vae.mlp_vae(4, latent_features=2, hidden_features=(3,))


def learned_noise():
    return pf.VariationalDequantization(flow(), flow(context_features=2), levels=4)


def rows(n=12):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def one_mask():
    return torch.tensor([True, False])


# What is called, and arguments with which it works: each of them is then replaced by wrong ones.
CALLS = {
    "bases.Box": (pf.bases.Box, {"features": 2, "low": 0.0, "high": 2.0}),
    "bases.DiagonalNormal": (pf.bases.DiagonalNormal, {"features": 2}),
    "bases.FromTorch": (pf.bases.FromTorch, {"distribution": torch.distributions.Normal(0.0, 1.0), "features": 2}),
    "bases.GaussianMixture": (pf.bases.GaussianMixture, {"features": 2, "num_components": 3}),
    "bases.Joint": (pf.bases.Joint, {"bases": [pf.bases.Box(1)]}),
    "bases.StandardNormal": (pf.bases.StandardNormal, {"features": 2}),
    "data.digits": (pf.data.digits, {"validation": 0.2, "test": 0.2, "seed": 0}),
    "data.mixed_table": (pf.data.mixed_table, {"num_rows": 10, "missing": 0.2, "seed": 0}),
    "data.mnist_sample": (pf.data.mnist_sample, {"size": 28}),
    "data.pixel_units": (pf.data.pixel_units, {"name": "logit"}),
    "data.three_sets": (pf.data.three_sets, {"name": "boomerang", "seed": 1}),
    **{
        f"data.{toy.__name__}": (
            toy,
            {
                name: {"num_samples": 3, "seed": 1, "noise": 0.1, "factor": 0.5, "num_labels": 2}[name]
                for name in inspect.signature(toy).parameters
                if name != "standardize"
            },
        )
        for toy in pf.data.TOYS.values()
    },
    "flows.Flow": (pf.Flow, {"transform": T.Scale(2.0), "base": pf.bases.StandardNormal(2), "preprocessing": [],
                             "context_preprocessing": []}),
    "flows.VariationalDequantization": (
        pf.VariationalDequantization, {"flow": flow(), "noise": flow(context_features=2), "levels": 4},
    ),
    "flows.latent_path": (
        pf.latent_path, {"flow": flow(), "start": rows(), "end": rows(), "num_points": 3, "kind": "straight"},
    ),
    "metrics.bits_per_dim": (pf.metrics.bits_per_dim, {"nats": 1, "features": 2, "bin_width": 1.0}),
    "metrics.c2st": (pf.metrics.c2st, {"a": rows(), "b": rows() + 1, "folds": 2, "seed": 0}),
    "metrics.excess": (
        pf.metrics.excess,
        {"flow": flow(), "density": pf.data.two_moons(2).density, "num_samples": 5, "seed": 0, "batch_size": 3},
    ),
    "metrics.gain": (
        pf.metrics.gain, {"flow": flow(), "other": flow(), "x": rows(), "batch_size": 3},
    ),
    "metrics.latent_normality": (
        pf.metrics.latent_normality,
        {"z": rows(), "num_quantiles": 3, "num_simulations": 2, "max_rows": 9, "seed": 0},
    ),
    "metrics.mmd": (pf.metrics.mmd, {"a": rows(), "b": rows(), "bandwidth": 0.5}),
    "metrics.mmd_null": (
        pf.metrics.mmd_null, {"a": rows(), "b": rows(), "bandwidth": 0.5, "num_permutations": 3, "seed": 0},
    ),
    "metrics.nearest_neighbour_distance": (
        pf.metrics.nearest_neighbour_distance, {"a": rows(), "b": rows(), "batch_size": 3},
    ),
    "metrics.nll": (
        pf.metrics.nll,
        {"flow": flow(), "x": torch.ones(9, 2), "dequantize": 4, "units": (), "batch_size": 3, "seed": 0},
    ),
    "metrics.random_forest": (
        pf.metrics.random_forest, {"x": rows(), "labels": torch.arange(12) % 2, "num_trees": 2, "seed": 0},
    ),
    "nets.ConvNet": (
        pf.nets.ConvNet,
        {"mask": one_mask(), "shape": (2, 1, 1), "num_params": 2, "hidden_channels": 2, "num_blocks": 1,
         "context_features": 1, "activation": "relu", "dropout": 0.1},
    ),
    "nets.HyperNetwork": (pf.nets.HyperNetwork, {"features": 2, "width": 2, "hidden": 2, "context_features": 1}),
    "nets.MLP": (
        pf.nets.MLP,
        {"in_features": 2, "out_features": 2, "hidden_features": 3, "context_features": 1, "activation": "relu",
         "dropout": 0.1},
    ),
    "nets.MaskedMLP": (
        pf.nets.MaskedMLP,
        {"adjacency": torch.eye(2).bool(), "num_params": 2, "hidden_features": 3, "context_features": 1,
         "activation": "relu", "dropout": 0.1},
    ),
    "nets.ResidualMLP": (
        pf.nets.ResidualMLP,
        {"in_features": 2, "out_features": 2, "hidden_features": 3, "num_blocks": 1, "context_features": 1,
         "activation": "relu", "dropout": 0.1},
    ),
    "nets.TimeMLP": (
        pf.nets.TimeMLP,
        {"features": 2, "hidden_features": 3, "context_features": 1, "activation": "relu", "time": "film"},
    ),
    **{
        f"recipes.{name}": (
            getattr(pf.recipes, name),
            {
                parameter: {
                    "features": 2, "shape": (1, 4, 4), "num_layers": 2, "num_levels": 1, "hidden_features": 3,
                    "hidden_channels": 2, "num_blocks": 1, "context_features": 1, "dropout": 0.1, "bins": 3,
                    "bound": 2.0, "num_steps": 2, "train_steps": 1, "tolerance": 1e-3, "max_steps": 5, "num_probes": 2,
                    "activation": "tanh", "log_scale": "soft", "mixing": "flip", "mask": "halves", "kind": "radial",
                    "velocity": "mlp", "method": "dopri5", "trace": "exact", "base": None, "preprocessing": (),
                    "context_preprocessing": (),
                }[parameter]
                for parameter in inspect.signature(getattr(pf.recipes, name)).parameters
                if parameter not in ("autoregressive", "inverted", "adjoint")
            },
        )
        for name in (*pf.recipes.RECIPES, "glow", "realnvp_image")
    },
    "training.fit": (
        pf.fit,
        {"model": None, "data": rows(), "loss": pf.losses.nll, "optimizer": "adam", "learning_rate": 1e-3,
         "schedule": "constant", "epochs": 1, "num_steps": 1, "max_seconds": 9.0, "batch_size": 4, "dequantize": None,
         "seed": 0, "weight_decay": 0.0, "clip_norm": 1.0, "patience": 1, "progress": False},
    ),
    "transforms.Affine": (T.Affine, {"log_scale": "soft"}),
    "transforms.Autoregressive": (
        T.Autoregressive,
        {"order": [1, 0], "univariate": T.Affine(),
         "conditioner": pf.nets.MaskedMLP(T.autoregressive_adjacency([1, 0]), 2)},
    ),
    "transforms.Compose": (T.Compose, {"transforms": [T.Scale(2.0)]}),
    "transforms.Compose.prefix": (T.Compose([T.Scale(2.0)]).prefix, {"num_transforms": 1}),
    "transforms.Continuous": (
        T.Continuous,
        {"velocity": pf.nets.TimeMLP(2), "method": "dopri5", "num_steps": 2, "train_steps": 1, "tolerance": 1e-3,
         "max_steps": 5, "trace": "exact", "num_probes": 2},
    ),
    "transforms.Coupling": (
        T.Coupling, {"mask": one_mask(), "univariate": T.Affine(), "conditioner": pf.nets.MLP(1, 2)},
    ),
    "transforms.Elementwise": (
        T.Elementwise, {"features": 2, "univariate": T.Affine(), "conditioner": pf.nets.MLP(0, 4)},
    ),
    "transforms.Inverse": (T.Inverse, {"transform": T.Scale(2.0)}),
    "transforms.Logit": (T.Logit, {"alpha": 0.01}),
    "transforms.OnFeatures": (T.OnFeatures, {"indices": (0, 2), "transform": T.Scale(2.0)}),
    "transforms.Orthogonal": (T.Orthogonal, {"features": 2, "generator": None}),
    "transforms.PerPixel": (T.PerPixel, {"shape": (2, 1, 1), "transform": T.Scale(2.0)}),
    "transforms.Permutation": (T.Permutation, {"permutation": [1, 0]}),
    "transforms.Permutation.random": (T.Permutation.random, {"features": 3, "generator": None}),
    "transforms.Permutation.reverse": (T.Permutation.reverse, {"features": 3}),
    "transforms.Permutation.swap_halves": (T.Permutation.swap_halves, {"features": 3}),
    "transforms.Planar": (T.Planar, {"features": 2, "conditioner": pf.nets.MLP(0, 5)}),
    "transforms.Radial": (T.Radial, {"features": 2, "conditioner": pf.nets.MLP(0, 4)}),
    "transforms.RationalQuadratic": (T.RationalQuadratic, {"bins": 3, "bound": 2.0}),
    "transforms.Scale": (T.Scale, {"factor": 2.0}),
    "transforms.Shift": (T.Shift, {"offset": 2.0}),
    "transforms.Sylvester": (T.Sylvester, {"features": 2, "rank": 1, "mode": "orthogonal"}),
    "transforms.ActNorm": (T.ActNorm, {"features": 2}),
    "transforms.Asinh": (T.Asinh, {"features": 2}),
    "transforms.LULinear": (T.LULinear, {"features": 2}),
    "transforms.Standardize": (T.Standardize, {"features": 2}),
    "transforms.autoregressive_adjacency": (T.autoregressive_adjacency, {"order": [1, 0]}),
    "transforms.squeeze": (T.squeeze, {"shape": (1, 2, 2)}),
    "transforms.masks.halves": (T.masks.halves, {"features": 4}),
    "transforms.masks.alternating": (T.masks.alternating, {"features": 4}),
    "transforms.masks.random": (T.masks.random, {"features": 4, "generator": None}),
    "transforms.masks.chequerboard": (T.masks.chequerboard, {"features": 4}),
    "vae.VAE": (
        pf.vae.VAE,
        {"encoder": pf.nets.MLP(4, 4), "decoder": pf.nets.MLP(2, 4), "prior": pf.bases.StandardNormal(2),
         "posterior_flow": None},
    ),
    "vae.VampPrior": (pf.vae.VampPrior, {"encoder": None, "features": 2, "data_features": 4, "num_components": 3}),
    "vae.binarize": (pf.vae.binarize, {"x": torch.rand(3, 4), "how": "dynamic", "generator": None}),
    "vae.mlp_vae": (
        pf.vae.mlp_vae,
        {"features": 4, "latent_features": 2, "prior": "normal", "posterior_flow": None, "hidden_features": 3,
         "activation": "relu"},
    ),
    "verification.verify": (pf.verify, {"transform_or_flow": flow(), "x": rows(), "tolerance": 1e-3}),
    # methods
    "Flow.sample": (flow().sample, {"num_samples": 3, "temperature": 0.5, "generator": None}),
    "Flow.sample_and_log_prob": (
        flow().sample_and_log_prob, {"num_samples": 3, "temperature": 0.5, "generator": None},
    ),
    "Flow.from_base": (flow().from_base, {"num_layers": 1}),
    "Base.sample": (pf.bases.StandardNormal(2).sample, {"shape": 3, "temperature": 0.5, "generator": None}),
    "Density.sample": (pf.data.two_moons(1).density.sample, {"num_samples": 3, "seed": 0}),
    "Density.sample_with_labels": (pf.data.two_moons(1).density.sample_with_labels, {"num_samples": 3, "seed": 0}),
    "VAE.sample": (vae().sample, {"num_samples": 3, "temperature": 0.5, "generator": None}),
    "VAE.sample_prior": (vae().sample_prior, {"num_samples": 3, "temperature": 0.5, "generator": None}),
    **{
        f"VAE.{name}": (getattr(vae(), name), {"x": torch.ones(3, 4), "num_samples": 2, "generator": None})
        for name in ("encode", "terms", "elbo", "iwae")
    },
    "VariationalDequantization.bound": (
        learned_noise().bound, {"x": torch.ones(3, 2).long(), "num_samples": 2, "generator": None},
    ),
}  # fmt: skip
ELSEWHERE = {  # what is checked by other tests, or has only arguments of other kinds
    "data.images", "data.mnist", "flows.FlowDistribution", "recipes.auto", "studies.run", "tables.as_table",
    "tables.check_for_fitting", "tables.column_warnings", "tables.read_table", "tables.write_table", "metrics.judge",
    "metrics.median_bandwidth", "transforms.Additive",
}  # fmt: skip
CHOICES = {"activation", "kind", "log_scale", "method", "mixing", "mode", "name", "schedule", "time", "trace", "mask"}
CHOICES |= {"velocity"}
PARTS = {
    "transform",
    "base",
    "univariate",
    "conditioner",
    "generator",
    "velocity",
    "encoder",
    "decoder",
    "flow",
    "noise",
}
LISTS = {"preprocessing", "context_preprocessing", "transforms", "units", "bases"}
STRUCTURE = {"shape", "mask", "order", "indices", "permutation", "adjacency"}
NO_COUNTS = (-1, 1.5, "3", True, math.nan, np.bool_(True), torch.tensor(2.0), torch.tensor([1, 2]))
NO_NUMBERS = ("0.1", math.nan, math.inf, True, 1j, {}, torch.tensor([[0.5]]))


def hints(called):
    function = CALLS[called][0]
    return typing.get_type_hints(function.__init__ if isinstance(function, type) else function)


def kind_of(called, name):
    """Return what sort of argument it is, by its name, its annotation and the valid value."""
    hint, valid = hints(called)[name], CALLS[called][1][name]
    allowed = {hint, *typing.get_args(hint)}
    if name == "seed":
        return "seed"
    if int in allowed and isinstance(valid, int):
        return "count"
    if float in allowed and isinstance(valid, float):
        return "number"
    if name in CHOICES and isinstance(valid, str):
        return "choice"
    if name in STRUCTURE:
        return "structure"
    if name in LISTS:
        return "list"
    return "part" if name in PARTS and not called.startswith("metrics.") else "other"


def arguments(*kinds):
    """Return the arguments of these kinds in all calls: the call's name and the argument's."""
    named = ((called, name) for called, (_, valid) in CALLS.items() for name in valid)
    return [pytest.param(*pair, id="-".join(pair)) for pair in named if kind_of(*pair) in kinds]


def call_with(called, **changes):
    function, valid = CALLS[called]
    if function is pf.fit:
        valid = {**valid, "model": flow()}
    return function(**{**valid, **changes})


def refused(called, name, value):
    """Assert that one wrong argument is refused under its name."""
    with pytest.raises(InputError) as caught:
        call_with(called, **{name: value})
    assert name in str(caught.value)


def none_is_refused_unless_it_is_a_default(called, name):
    if type(None) in typing.get_args(hints(called)[name]):
        call_with(called, **{name: None})
    else:
        refused(called, name, None)


def test_no_public_function_is_left_out():
    found = set()
    for module in MODULES:
        room = importlib.import_module(f"pushforward.{module}")
        for name in room.__all__:
            value = getattr(room, name)
            if isinstance(value, type) and (
                issubclass(value, tuple) or inspect.isabstract(value) or getattr(value, "_is_protocol", False)
            ):
                continue  # a result of several numbers, or not to be made
            if dataclasses.is_dataclass(value) and not issubclass(value, T.Univariate):
                continue
            if callable(value):
                found.add(f"{module}.{name}")
    assert found - set(CALLS) == ELSEWHERE


@pytest.mark.parametrize("called", CALLS)
def test_the_arguments_to_be_replaced_are_valid(called):
    call_with(called)


@pytest.mark.parametrize(("called", "name"), arguments("count"))
def test_what_is_no_count_is_refused_by_name(called, name):
    for wrong in NO_COUNTS[: -1 if name == "hidden_features" else None]:  # two widths in a tensor are two widths
        refused(called, name, wrong)
    none_is_refused_unless_it_is_a_default(called, name)


@pytest.mark.parametrize("library", [np.int64, np.uint8, torch.tensor])
@pytest.mark.parametrize(("called", "name"), arguments("count", "seed"))
def test_integers_of_numpy_and_torch_are_integers(called, name, library):
    valid = CALLS[called][1][name]
    torch.manual_seed(0)
    made = call_with(called, **{name: library(valid)})
    torch.manual_seed(0)
    if hasattr(made, "specification"):  # kept as Python's, which a model file can hold
        assert json.dumps(made.specification()) == json.dumps(call_with(called).specification())


@pytest.mark.parametrize(("called", "name"), arguments("seed"))
def test_what_is_no_seed_is_refused_by_name(called, name):
    for wrong in (-1, 1.5, "0", None, True, 2**64):
        refused(called, name, wrong)
    call_with(called, **{name: 2**63 - 1})


@pytest.mark.parametrize(("called", "name"), arguments("number"))
def test_what_is_no_number_is_refused_by_name(called, name):
    for wrong in NO_NUMBERS:
        refused(called, name, wrong)
    call_with(called, **{name: np.float64(CALLS[called][1][name])})
    none_is_refused_unless_it_is_a_default(called, name)


@pytest.mark.parametrize(("called", "name"), arguments("choice"))
def test_what_is_no_name_is_refused_with_those_there_are(called, name):
    for wrong in ("no such", 3, ["relu"], {}):
        refused(called, name, wrong)


@pytest.mark.parametrize(
    ("called", "name"),
    [(called, name) for called in CALLS for name, hint in hints(called).items() if hint is bool and name != "resume"],
)
@pytest.mark.parametrize("value", ["no", 0, 1, None])
def test_what_is_no_truth_value_is_refused_by_name(called, name, value):
    refused(called, name, value)


@pytest.mark.parametrize(("called", "name"), arguments("part"))
def test_what_is_no_part_is_refused_by_name(called, name):
    for wrong in ("affine", 3, nn.BatchNorm1d, T.Scale, object(), torch.distributions.Normal(0.0, 1.0)):
        refused(called, name, wrong)


@pytest.mark.parametrize(("called", "name"), arguments("list"))
def test_what_is_no_list_of_parts_is_refused_by_name(called, name):
    for wrong in ("affine", 3, T.Scale(2.0), T.Scale, ["affine"], [3], [T.Scale], [nn.BatchNorm1d(2)], [None]):
        refused(called, name, wrong)


@pytest.mark.parametrize(("called", "name"), arguments("structure"))
def test_what_is_no_structure_is_refused_by_name(called, name):
    for wrong in ("halves!", 1.5, None, [], [1.5, 2.5], [[1, 0]], object()):
        refused(called, name, wrong)


@pytest.mark.parametrize("name", pf.recipes.RECIPES)
def test_one_width_is_two_layers_of_it(name):
    torch.manual_seed(0)
    wide = call_with(f"recipes.{name}", hidden_features=5)
    torch.manual_seed(0)
    assert wide.specification() == call_with(f"recipes.{name}", hidden_features=(5, 5)).specification()


class TestOneCheck:
    def test_a_count_comes_back_as_an_int(self):
        for value in (3, np.int32(3), np.array(3), torch.tensor(3)):
            assert type(require_count("n", value)) is int

    def test_the_message_says_name_rule_and_value(self):
        with pytest.raises(InputError, match=r"^n must be an integer of at least 2; got 1\.$"):
            require_count("n", 1, 2)
        with pytest.raises(InputError, match=r"^n must be an integer from 2 to 4; got 5\.$"):
            require_count("n", 5, 2, 4)
        with pytest.raises(InputError, match=r"^n must be an integer of at least 1; got Tensor of shape \(2,\)\.$"):
            require_count("n", torch.zeros(2))
        with pytest.raises(InputError, match=r"^r must be above 0 and below 1; got 1\.0\.$"):
            require_number("r", 1.0, above=0, below=1)
        with pytest.raises(InputError, match=r"^r must be a number above 0; got '0\.1'\.$"):
            require_number("r", "0.1", above=0)
        with pytest.raises(InputError, match=r"^r must be above 0 and finite; got inf\.$"):
            require_number("r", math.inf, above=0)
        with pytest.raises(InputError, match=r"^seed must be an integer from 0 to 2\*\*63 - 1; got 1\.5\.$"):
            require_seed(1.5)
        with pytest.raises(InputError, match=r"^w\[1\] must be an integer of at least 1; got 0\.$"):
            require_widths("w", (3, 0))

    def test_a_count_on_the_meta_device_has_no_value(self):
        with pytest.raises(InputError, match="n must be an integer"):
            require_count("n", torch.tensor(3, device="meta"))
