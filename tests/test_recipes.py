"""Recipes: published flows from the parts, for any number of features and every mixing; and what must be installed."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.nets import MLP, MaskedMLP, TimeMLP
from pushforward.transforms import (
    Additive,
    Affine,
    Asinh,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    LULinear,
    Orthogonal,
    Permutation,
    RationalQuadratic,
    Standardize,
    Sylvester,
    masks,
)

MIXINGS = ("swap", "flip", "permute", "orthogonal", "lu")
COUPLINGS = ("nice", "realnvp", "nsf")
every = pytest.mark.parametrize("name", pf.recipes.RECIPES)
MIXED = [name for name, recipe in pf.recipes.RECIPES.items() if "mixing" in inspect.signature(recipe).parameters]
LAYERED = [name for name, recipe in pf.recipes.RECIPES.items() if "num_layers" in inspect.signature(recipe).parameters]


def size_of(name):
    """Options that make a recipe small."""
    return {"num_layers": 2} if name in LAYERED else {"method": "rk4", "num_steps": 8}


def learned(flow, kind):
    """The learned layers of a type, in order."""
    return [module for module in flow.transform.modules() if isinstance(module, kind)]


# ---- sizes -----------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("features", [1, 2, 3, 5])
@pytest.mark.parametrize("context_features", [0, 3])
def test_any_number_of_features_with_and_without_context(name, features, context_features):
    flow = pf.recipes.RECIPES[name](features, hidden_features=(8,), context_features=context_features, **size_of(name))
    zoo.perturb(flow)
    x, context = torch.randn(20, features, generator=torch.Generator().manual_seed(0)), zoo.context_for(flow, 20)
    assert flow.log_prob(x, context).shape == (20,)
    assert flow.sample(4, context).shape == ((20, 4, features) if context_features else (4, features))
    assert pf.verify(flow, x, context, tolerance=None if name in LAYERED else 1e-3).ok
    if context_features:
        assert not torch.allclose(flow.log_prob(x, context), flow.log_prob(x, context.flip(0)), atol=1e-3)


@pytest.mark.parametrize("name", ["nice", "realnvp", "nsf", "maf"])
@torch.no_grad()
def test_512_features_work(name):
    flow = pf.recipes.RECIPES[name](512, num_layers=2, hidden_features=(64,))
    zoo.perturb(flow)
    x = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    assert flow.log_prob(x).isfinite().all()
    assert_close(flow.decode(flow.encode(x)), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MIXED)
def test_num_layers_counts_the_learned_steps(name):
    flow = pf.recipes.RECIPES[name](4, num_layers=3, mixing="orthogonal")
    assert isinstance(flow, pf.Flow)
    assert flow.transform.names == ("layer 1", "layer 2", "layer 3")
    assert len(learned(flow, (Coupling, Autoregressive))) == 3
    assert len(learned(flow, Orthogonal)) == 2
    assert len([step for step in flow.transform if any(True for _ in step.parameters())]) == 3
    flow.from_base(3)


def test_the_univariate_maps_are_the_papers():
    made = {name: pf.recipes.RECIPES[name](4, num_layers=2) for name in LAYERED}
    assert {type(layer.univariate) for layer in learned(made["nice"], Coupling)} == {Additive}
    assert [layer.univariate for layer in learned(made["nice"], Elementwise)] == [Affine("plain")]
    assert {layer.univariate for layer in learned(made["realnvp"], Coupling)} == {Affine("soft")}
    assert {layer.univariate for layer in learned(made["nsf"], Coupling)} == {RationalQuadratic(8, 5.0)}
    assert {layer.univariate for layer in learned(made["maf"], Autoregressive)} == {Affine("soft")}
    assert len(learned(made["iaf"], Inverse)) == 2
    splines = learned(pf.recipes.nsf(4, autoregressive=True, bins=5, bound=3.0), Autoregressive)
    assert {layer.univariate for layer in splines} == {RationalQuadratic(5, 3.0)}


@every
def test_options_of_the_networks_reach_every_network(name):
    options = {"hidden_features": (7, 5), "context_features": 3, "activation": "silu"}
    dropout = {"dropout": 0.25} if name in LAYERED else {}
    flow = pf.recipes.RECIPES[name](4, **options, **dropout)
    networks = [module for module in flow.modules() if isinstance(module, (MLP, MaskedMLP, TimeMLP))]
    assert networks
    for network in networks:
        assert {option: getattr(network, option) for option in options} == options
        assert getattr(network, "dropout", None) == dropout.get("dropout")


def test_options_of_the_solver_reach_the_continuous_map():
    options = {
        "method": "tsit5", "num_steps": 3, "train_steps": 2, "tolerance": 1e-4, "max_steps": 50, "trace": "hutchinson",
        "num_probes": 4, "adjoint": True,
    }  # fmt: skip
    transform = pf.recipes.cnf(2, **options).transform
    assert {name: getattr(transform, name) for name in options} == options


def test_a_hypernetwork_takes_its_number_of_velocities_from_the_last_width():
    network = pf.recipes.cnf(2, velocity="hypernetwork", hidden_features=(8, 20)).transform.velocity
    assert (network.hidden, network.width) == (8, 20)


@pytest.mark.parametrize(("features", "rank"), [(3, 3), (40, 32)])
def test_sylvester_maps_are_of_full_rank_up_to_32(features, rank):
    flow = pf.recipes.planar(features, kind="sylvester", num_layers=2)
    assert [layer.rank for layer in learned(flow, Sylvester)] == [rank] * 2


def test_nice_keeps_volume_up_to_its_scale():
    flow = zoo.FLOWS["nice"]().double()
    (scale,) = learned(flow, Elementwise)
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, log_det = flow.transform(x)
    assert_close(log_det, scale.params[:, 1].sum().expand(10))


# ---- mixing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COUPLINGS)
@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("features", [2, 5])
def test_every_feature_is_transformed(name, mixing, features):
    torch.manual_seed(0)
    options = {"mixing": mixing, "num_layers": 2 if features == 2 else 3, "hidden_features": (8,)}
    flow = zoo.perturb(pf.recipes.RECIPES[name](features, **options)).double()
    x = torch.randn(30, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = (flow.encode(x) - flow.from_base(0).encode(x)).abs().amax(0)
    assert torch.all(moved > 1e-4)


@pytest.mark.parametrize("mask", ["halves", "alternating", "random"])
def test_random_permutations_keep_no_feature_in_every_layer(mask):
    for seed in range(5):
        torch.manual_seed(seed)
        flow = zoo.perturb(pf.recipes.realnvp(64, num_layers=2, mixing="permute", mask=mask)).double()
        x = torch.randn(20, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        assert torch.all((flow.encode(x) - flow.from_base(0).encode(x)).abs().amax(0) > 1e-6)


@pytest.mark.parametrize("mixing", ["swap", "flip", "lu"])
@pytest.mark.parametrize("mask", ["halves", "alternating", "random", "chequerboard"])
def test_kept_and_transformed_features_change_roles(mixing, mask):
    flow = pf.recipes.realnvp(9, num_layers=4, mixing=mixing, mask=mask)
    reverse = torch.arange(9).flip(0)
    place = torch.arange(9)  # where each feature of the data is now
    kept = []
    for step in flow.transform:
        for part in step if isinstance(step, Compose) else [step]:
            if isinstance(part, Permutation):
                place = reverse[place]
            elif isinstance(part, Coupling):
                kept.append(part.mask[place])
    assert torch.equal(kept[0], ~kept[1])
    assert torch.equal(kept[2], ~kept[3])


def test_fixed_permutations_always_change_roles():
    for seed in range(20):
        torch.manual_seed(seed)
        for layer in list(pf.recipes.realnvp(3, mixing="permute", num_layers=4).transform)[1:]:
            permutation, coupling = layer
            assert not torch.equal(coupling.mask[permutation.permutation], coupling.mask)


def test_mixing_puts_its_part_before_every_layer_but_the_first():
    for mixing, kind in (("flip", Permutation), ("permute", Permutation), ("orthogonal", Orthogonal), ("lu", LULinear)):
        steps = list(pf.recipes.nsf(4, mixing=mixing, num_layers=3).transform)
        assert isinstance(steps[0], Coupling)
        assert all(isinstance(step, Compose) and isinstance(step[0], kind) for step in steps[1:])
    assert all(isinstance(step, Coupling) for step in pf.recipes.nsf(4, mixing="swap").transform)


@pytest.mark.parametrize("name", ["maf", "iaf"])
def test_autoregressive_recipes_turn_the_order_around(name):
    for mixing in ("swap", "flip"):
        orders = [layer.order.tolist() for layer in learned(pf.recipes.RECIPES[name](3, mixing=mixing), Autoregressive)]
        assert orders == [[0, 1, 2], [2, 1, 0], [0, 1, 2], [2, 1, 0], [0, 1, 2]]


def test_an_iaf_samples_in_one_pass_and_scores_in_d():
    assert (pf.recipes.iaf(5).forward_passes, pf.recipes.maf(5).forward_passes) == (5, 1)


def test_a_mask_of_ones_own_is_used_and_swapped():
    mask = torch.tensor([True, False, False, False])
    first, second = learned(pf.recipes.realnvp(4, num_layers=2, mask=mask), Coupling)
    assert torch.equal(first.mask, mask)
    assert torch.equal(second.mask, ~mask)


def test_random_masks_are_drawn_anew_for_each_pair_of_layers():
    kept = [layer.mask for layer in learned(pf.recipes.realnvp(30, mask="random", num_layers=6), Coupling)]
    assert len({tuple(mask.tolist()) for mask in kept[::2]}) == 3


def test_the_same_seed_makes_the_same_flow():
    flows = []
    for _ in range(2):
        torch.manual_seed(5)
        flows.append(pf.recipes.nsf(4, mask="random", mixing="orthogonal").state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(flow.values() for flow in flows), strict=True))


@every
def test_base_and_preprocessing_are_used(name):
    base = pf.bases.DiagonalNormal(2)
    flow = pf.recipes.RECIPES[name](2, base=base, preprocessing=[Standardize(2)])
    assert flow.base is base
    assert isinstance(flow.preprocessing[0], Standardize)


# ---- the chooser -----------------------------------------------------------------------------------------------------


AFFINE, SPLINE = Affine("soft"), RationalQuadratic(8, 5.0)


@pytest.mark.parametrize(
    ("rows", "features", "max_seconds", "layers", "width", "dropout"),
    [
        (1_999, 2, None, (Coupling, SPLINE, 4), 32, 0.1),
        (2_000, 2, 20.0, (Coupling, SPLINE, 6), 64, 0.0),
        (2_000, 2, 19.9, (Coupling, SPLINE, 6), 32, 0.0),
        (1_999, 3, None, (Autoregressive, SPLINE, 3), 128, 0.35),
        (2_000, 3, None, (Autoregressive, SPLINE, 3), 192, 0.0),
        (2_000, 3, 20.0, (Autoregressive, SPLINE, 3), 192, 0.0),
        (2_000, 3, 19.9, (Autoregressive, SPLINE, 3), 128, 0.0),
        (2_000, 32, None, (Autoregressive, SPLINE, 3), 192, 0.0),
        (2_000, 33, None, (Coupling, SPLINE, 6), 192, 0.0),
        (2_000, 100, None, (Coupling, SPLINE, 6), 192, 0.0),
        (2_000, 101, None, (Coupling, AFFINE, 6), 192, 0.0),
        (100, 101, None, (Coupling, AFFINE, 6), 128, 0.35),
    ],
)
def test_auto_goes_by_rows_columns_and_time(rows, features, max_seconds, layers, width, dropout):
    flow = pf.recipes.auto(torch.zeros(rows, features), max_seconds=max_seconds)
    kind, univariate, num_layers = layers
    assert [layer.univariate for layer in learned(flow, kind)] == [univariate] * num_layers
    for layer in learned(flow, kind):
        assert (layer.conditioner.hidden_features, layer.conditioner.dropout) == ((width, width), dropout)
    assert [type(part) for part in flow.preprocessing] == [Asinh]


@pytest.mark.parametrize(
    ("rows", "features", "mixing", "number"),
    [
        (1_999, 2, LULinear, 0),
        (2_000, 2, LULinear, 5),
        (2_000, 3, LULinear, 2),
        (2_000, 100, LULinear, 5),
        (1_999, 3, LULinear, 2),
        (1_999, 33, LULinear, 0),
        (1_999, 33, Permutation, 5),
        (2_000, 256, LULinear, 5),
        (2_000, 257, LULinear, 0),
        (2_000, 257, Permutation, 5),
    ],
)
def test_auto_mixes_by_learned_matrices_where_they_cost_little(rows, features, mixing, number):
    assert len(learned(pf.recipes.auto(torch.zeros(rows, features)), mixing)) == number


@pytest.mark.parametrize("rows", [100, 5_000])
def test_auto_gives_one_column_four_finer_splines(rows):
    flow = pf.recipes.auto(torch.zeros(rows, 1), torch.zeros(rows, 2))
    assert [layer.univariate for layer in learned(flow, Elementwise)] == [RationalQuadratic(16, 5.0)] * 4
    assert flow.context_features == 2
    assert [(type(part), part.features) for part in flow.context_preprocessing] == [(Asinh, 2)]


# ---- bad input -------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features must be (an integer|integers) of at least 1; got 0"),
        ({"features": 2.0}, "features must be (an integer|integers) of at least 1; got 2.0"),
        ({"activation": "sigmoid"}, "activation must be one of relu, gelu, silu, tanh; got 'sigmoid'"),
        ({"hidden_features": ()}, "hidden_features must name at least one layer"),
    ],
)
def test_impossible_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        pf.recipes.RECIPES[name](**{"features": 3, "context_features": 1, **options})


@pytest.mark.parametrize("name", LAYERED)
def test_a_flow_has_at_least_one_layer(name):
    with pytest.raises(ValueError, match="num_layers must be an integer of at least 1; got 0"):
        pf.recipes.RECIPES[name](3, num_layers=0)


@pytest.mark.parametrize("name", MIXED)
def test_an_unknown_mixing_is_refused(name):
    with pytest.raises(ValueError, match="mixing must be one of swap, flip, permute, orthogonal, lu; got 'shuffle'"):
        pf.recipes.RECIPES[name](3, mixing="shuffle")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("thirds", "mask, where it is a name, must be one of halves, alternating, random, chequerboard; got 'thirds'"),
        (masks.halves(3), r"mask must be boolean of shape \(4,\); got bool of shape \(3,\)"),
        (torch.tensor([1, 0, 1, 0]), r"mask must be boolean of shape \(4,\); got int64 of shape \(4,\)"),
        (torch.ones(4, dtype=torch.bool), "it keeps 4 of 4"),
        (torch.zeros(4, dtype=torch.bool), "it keeps 0 of 4"),
    ],
)
def test_impossible_masks_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        pf.recipes.realnvp(4, mask=mask)


def test_a_chequerboard_of_no_square_is_refused():
    with pytest.raises(ValueError, match="a chequerboard mask of 8 features needs"):
        pf.recipes.realnvp(8, mask="chequerboard")


def test_recipes_have_one_order_of_arguments():
    for name, recipe in pf.recipes.RECIPES.items():
        first, *others = inspect.signature(recipe).parameters.values()
        assert first.name == "features"
        assert all(parameter.kind == inspect.Parameter.KEYWORD_ONLY for parameter in others), name


# ---- what must be installed ------------------------------------------------------------------------------------------

WITH_TORCH_AND_NUMPY_ALONE = """
import importlib.machinery
import sys

torchs = {"typing_extensions", "sympy", "mpmath", "networkx", "filelock", "fsspec", "torchgen", "functorch"}


class Path(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names | torchs | {"torch", "numpy", "pushforward"} or top.startswith("_sysconfig"):
            return super().find_spec(name, path, target)
        return None


sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, Path]
import torch
import pushforward as pf

x = torch.randn(300, 2)
for name, recipe in pf.recipes.RECIPES.items():
    flow = recipe(2, hidden_features=(8,))
    assert flow.sample(3).shape == (3, 2)
pf.Flow(pf.transforms.Scale(2.0), pf.bases.StandardNormal(2)).log_prob(x)
pf.fit(flow, x, num_steps=3, progress=False, device="cpu")
assert pf.verify(pf.transforms.Scale(2.0), x).ok
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"polars", "pyarrow", "sklearn", "scipy", "matplotlib", "rich", "narwhals", "safetensors"}
print("done")
"""


def test_flow_recipes_and_fit_need_torch_and_numpy_alone():
    source = Path(pf.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", WITH_TORCH_AND_NUMPY_ALONE], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith("done")
