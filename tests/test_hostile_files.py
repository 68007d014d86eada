"""Files under a right digest whose specification and tensors do not fit: each is refused in words, at little cost."""

import os
import pathlib
import re
import resource

import pytest
import torch

import pushforward as pf
from model_files import by_hand, refused
from pushforward.errors import InputError
from pushforward.model_file import MODEL_FILE
from pushforward.specification import plain
from pushforward.storage import json_and_tensors
from pushforward.storage.packed_tensors import pack


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def flow():
    """One with everything that has indices: a permutation, an order, a mask of any layout."""
    mask = torch.tensor([True, False, True])
    spline = pf.transforms.RationalQuadratic(4, 3.0)
    adjacency = pf.transforms.autoregressive_adjacency([2, 0, 1])
    parts = [
        pf.transforms.Permutation([1, 2, 0]),
        pf.transforms.Coupling(mask, spline, pf.nets.ResidualMLP(2, spline.num_params, hidden_features=4)),
        pf.transforms.Autoregressive([2, 0, 1], pf.transforms.Affine(), pf.nets.MaskedMLP(adjacency, 2)),
    ]
    preprocessing = [pf.transforms.Standardize(3), pf.transforms.Shift((0.5, 0.0, -1.0))]
    return pf.Flow(pf.transforms.Compose(parts), pf.bases.StandardNormal(3), preprocessing)


def test_a_flow_saved_by_hand_comes_back(flow, path):
    by_hand(flow, path)
    x = torch.randn(5, 3)
    assert torch.equal(pf.load(path).log_prob(x), flow.log_prob(x))


def put(value, *keys):
    def change(specification):
        for key in keys[:-1]:
            specification = specification[key]
        specification[keys[-1]] = value

    return change


def packed(values):
    return plain(torch.as_tensor(values))


STEP = ("transform", "transforms")
COUPLING = (*STEP, 1)
NET, MASK = (*COUPLING, "conditioner"), (*COUPLING, "mask")
PERMUTATION, ORDER = (*STEP, 0, "permutation"), (*STEP, 2, "order")
CHANGES = {
    "an import path": (
        put("os.system", *NET, "type"),
        r"transforms\[1\]\.conditioner has the unknown type 'os.system'",
    ),
    "a private name": (put("__class__", "base", "type"), r"flow\.base has the unknown type '__class__'"),
    "a type that is a list": (put([], "base", "type"), r"flow\.base has the unknown type \[\]"),
    "no type": (lambda s: s["base"].pop("type") and None, r"flow\.base has the unknown type None"),
    "text for a number": (put("x", *COUPLING, "univariate", "bins"), r"univariate \(RationalQ.*: bins cannot be 'x'"),
    "half a bin": (put(4.5, *COUPLING, "univariate", "bins"), r"univariate \(RationalQ.*: bins cannot be 4.5"),
    "true for a number": (put(True, "base", "features"), r"flow\.base \(Stand.*: features cannot be True"),
    "a number for text": (put(1, *NET, "activation"), r"conditioner \(ResidualMLP\).*activation cannot be 1"),
    "an unknown activation": (put("eval", *NET, "activation"), r"activation must be one of relu, .*; got 'eval'"),
    "a base for a transform": (
        put({"type": "Box", "features": 3}, "transform"),
        r"flow \(Flow\).*transform cannot be of type Box",
    ),
    "a number for a module": (put(3, *NET), r"conditioner cannot be 3"),
    "a list for a module": (put([], "transform"), r"transform cannot be of type list"),
    "a tensor for a number": (put(packed(torch.tensor(3)), "base", "features"), r"features cannot be of type Tensor"),
    "a tensor that the file lacks": (
        put({"type": "Tensor", "shape": [], "dtype": "float32"}, "base", "features"),
        r"flow\.base\.features \(Tensor\) cannot be built: the file lacks the tensor base\.features",
    ),
    "a tensor of another shape": (
        put({"type": "Tensor", "shape": [4], "dtype": "float32"}, "preprocessing", 1, "offset"),
        r"the tensor preprocessing\.1\.offset is float32 of shape \(3,\), not float32 of shape \(4,\)",
    ),
    "a tensor of another dtype": (
        put({"type": "Tensor", "shape": [3], "dtype": "float64"}, "preprocessing", 1, "offset"),
        r"the tensor preprocessing\.1\.offset is float32 of shape \(3,\), not float64",
    ),
    "floating-point numbers in the text": (
        put({**packed(torch.ones(3, dtype=torch.int64)), "dtype": "float32"}, "preprocessing", 1, "offset"),
        r"a float32 tensor of shape \(3,\) has no content in a specification",
    ),
    "bins out of range": (put(501, *COUPLING, "univariate", "bins"), "bins must be an integer from 2 to 500; got 501"),
    "10**12 features": (put(10**12, "base", "features"), r"flow\.base\.features is 1000000000000; numbers are finite"),
    "2**31 - 1 features": (put(2**31 - 1, "preprocessing", 0, "features"), "2147483647"),
    "a billion blocks": (
        put(10**9, *NET, "num_blocks"),
        r"conditioner \(ResidualMLP\).* far more parameters than the file",
    ),
    "a tensor larger than memory": (
        put(2**20, *NET, "hidden_features"),
        r"conditioner \(ResidualMLP\) cannot be built: it has far more parameters than the file",
    ),
    "masks larger than memory": (
        put([2**20, 2**20], *STEP, 2, "conditioner", "hidden_features"),
        r"conditioner \(MaskedMLP\) cannot be built: it has far more parameters than the file",
    ),
    "an argument too many": (
        put(1, "base", "device"),
        r"flow\.base \(Stand.*got an unexpected keyword argument 'device'",
    ),
    "an argument too few": (lambda s: s["base"].pop("features") and None, r"missing a required argument: 'features'"),
    "an argument with a name to fool a terminal": (
        put(1, "base", "\x1b[2J"),
        r"flow\.base has an argument whose name is no",
    ),
    "an unknown dtype": (put("load", *MASK, "dtype"), r"mask \(Tensor\).*dtype must be one of bool, .*'load'"),
    "a dtype that is a list": (put([], *MASK, "dtype"), r"mask \(Tensor\).*dtype cannot be of type list"),
    "a negative shape": (put([-3], *MASK, "shape"), r"a bool tensor of shape \(-3,\) has no content"),
    "a shape of text": (put(["a"], *MASK, "shape"), r"shape cannot be of type list"),
    "a mask of another length": (put([9], *MASK, "shape"), r"the content is not that of a bool tensor of shape \(9,\)"),
    "a mask of two axes": (put([1, 3], *MASK, "shape"), r"\(Coupling\) cannot be built: mask must be boolean of shape"),
    "a mask that keeps nothing": (put(packed([False] * 3), *MASK), r"mask must keep at least one feature .* 0 of 3"),
    "no mask": (put(None, *MASK), r"mask cannot be None"),
    "content that is no base64": (put("%%%%", *MASK, "content"), "the content is not that of a bool tensor"),
    "content that is no zlib": (put("AAAA", *MASK, "content"), "the content is not that of a bool tensor"),
    "content cut short": (
        put(pack(torch.arange(3))[:8], *ORDER, "content"),
        "the content is not that of a int64 tensor",
    ),
    "content without an end": (put(pack(torch.zeros(10**8, dtype=torch.bool)), *MASK, "content"), "not that of a bool"),
    "content larger than memory": (
        put({**packed([True]), "shape": [2**31 - 1]}, *MASK),
        "the specification holds far more booleans and integers than a file of this size may",
    ),
    "content beyond its dtype": (
        put({**packed([0, 300, 1]), "dtype": "uint8"}, *ORDER),
        "the content is not that of a uint8 tensor",
    ),
    "a permutation out of range": (put(packed([1, 2, 10**9]), *PERMUTATION), "permutation must hold each of 0..2 once"),
    "a permutation that repeats": (put(packed([1, 1, 0]), *PERMUTATION), r"0..2 once; got \[1, 1, 0\]"),
    "a permutation of booleans": (
        put(packed([True, False, True]), *PERMUTATION),
        "at least one integer in a row; got bool",
    ),
    "a negative order": (put(packed([2, -1, 0]), *ORDER), r"\(Autoregressive\).*order must hold each of 0..2 once"),
    "an order of another length": (
        put(packed([1, 0]), *ORDER),
        "parts of a Compose must have the same number of features",
    ),
    "one layer less": (lambda s: s["transform"]["names"].pop() and None, r"names must be unique, one a transform"),
    "no preprocessing": (put([], "preprocessing"), r"has no place for 4 tensors, such as 'preprocessing\.0\."),
    "another name": (put("Shift", "preprocessing", 0, "type"), r"preprocessing\[0\] \(Shift\).*missing a required"),
    "no flow": (lambda s: s["base"], "it holds a StandardNormal, not a Flow"),
    "a list": (lambda s: ["x"], "it holds a list, not a Flow"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_specification_that_does_not_fit_is_refused(name, flow, path):
    change, message = CHANGES[name]
    refused(path, by_hand(flow, path, change=change), message)


def test_sizes_beyond_memory_are_refused_without_taking_memory(flow, path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = ("larger than memory", "2**31", "billion", "without an end")
    names = [name for name in CHANGES if any(word in name for word in large)]
    assert len(names) == 6
    for name in names:
        change, message = CHANGES[name]
        refused(path, by_hand(flow, path, change=change), message)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def places(node, keys=()):
    """Yield the keys that lead to every value of a specification."""
    if keys:
        yield keys
    for key, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(item, (*keys, key))


@pytest.mark.parametrize("value", [None, 2**31 - 1, {"type": "Compose", "transforms": []}, packed([1, 0, 2])], ids=str)
def test_any_value_in_any_place_ends_in_a_flow_or_an_input_error(value, flow, path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    number = 0
    for keys in places(flow.specification()):
        by_hand(flow, path, change=put(value, *keys))
        try:
            again = pf.load(path)
        except InputError:
            number += 1
        else:
            assert not any(tensor.is_meta for tensor in again.state_dict().values())
    assert number > 40


PART = "transform.transforms."
TENSORS = {
    "a missing tensor": ({"preprocessing.0.mean": None}, "lacks 1 tensors, such as 'preprocessing.0.mean'"),
    "an extra tensor": ({"evil": torch.ones(1)}, "has no place for 1 tensors, such as 'evil'"),
    "another shape": (
        {"preprocessing.0.mean": torch.ones(4).double()},
        r"mean is float64 of shape \(4,\), and its spec",
    ),
    "integers for floats": (
        {"preprocessing.0.mean": torch.ones(3).long()},
        r"mean is int64 of shape \(3,\), and its spec",
    ),
    "structure": ({f"{PART}0.permutation": torch.tensor([1, 2, 0])}, r"has no place for 1 tensors, such as .*permut"),
    "float8": (
        {"preprocessing.0.mean": torch.ones(3).to(torch.float8_e4m3fn)},
        r"mean is float8_e4m3fn of shape \(3,\); its dtype may be bool, ",
    ),
    "float8 under a constructor": (
        {"preprocessing.1.offset": torch.ones(3).to(torch.float8_e5m2)},
        r"offset is float8_e5m2 of shape \(3,\); its dtype may be bool, ",
    ),
    "complex numbers": ({"preprocessing.0.mean": torch.ones(3).cfloat()}, r"mean is complex64 of shape \(3,\); its"),
    "unsigned integers": ({"evil": torch.ones(3).to(torch.uint16)}, r"evil is uint16 of shape \(3,\); its dtype"),
}


def test_structure_without_end_is_refused_before_it_is_unpacked(flow, path):
    def change(specification):
        specification["transform"]["transforms"] += [masked] * 20
        specification["transform"]["names"] = [f"step {number}" for number in range(23)]

    masked = {"type": "Coupling", "mask": packed(torch.arange(10**5) % 2 == 0), "univariate": {"type": "Additive"}}
    masked["conditioner"] = {"type": "MLP", "in_features": 1, "out_features": 1, "hidden_features": [1]}
    message = (
        r"transforms\[1\d\]\.mask \(Tensor\) cannot be built: the specification holds far more booleans and integers"
    )
    refused(path, by_hand(flow, path, change=change), message)


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit_are_refused(name, flow, path):
    tensors, message = TENSORS[name]
    refused(path, by_hand(flow, path, tensors=tensors), message)


def test_no_source_file_unpickles():
    for source in pathlib.Path(pf.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"(?<!safetensors\.)torch\.(save|load)\(|import pickle|allow_pickle=True", source.read_text()
        ), source


def test_autoencoders_inside_one_another_are_refused_at_once(path):
    network = pf.nets.MLP(1, 2, hidden_features=(1,)).specification()
    sizes = {"features": 1, "data_features": 1, "num_components": 1}
    inner = network
    for _ in range(28):
        prior = {"type": "VampPrior", "encoder": network, **sizes}
        inner = {"type": "VAE", "encoder": inner, "decoder": network, "prior": prior, "posterior_flow": None}
    json_and_tensors.write(path, {"flow": inner}, {"x": torch.zeros(1)}, MODEL_FILE)
    with pytest.raises(InputError, match="it holds a VAE inside another model"):
        pf.load(path)


def test_an_encoder_that_a_thousand_priors_share_counts_a_thousand_times(path):
    encoder = {**pf.nets.MLP(1, 2).specification(), "hidden_features": [1] * 20}
    prior = {"type": "VampPrior", "encoder": None, "features": 1, "data_features": 1, "num_components": 1}
    priors = {"type": "Joint", "bases": [prior] * 1000}
    vae = {"type": "VAE", "encoder": encoder, "decoder": encoder, "prior": priors, "posterior_flow": None}
    json_and_tensors.write(path, {"flow": vae}, {"x": torch.zeros(1)}, MODEL_FILE)
    with pytest.raises(InputError, match="it takes 340[0-9][0-9] values to describe"):
        pf.load(path)


def test_numbers_of_a_distribution_do_not_stretch_over_one_another(path):
    flow = pf.Flow(pf.transforms.Shift(0.0), pf.bases.FromTorch(torch.distributions.Weibull(torch.ones(2), 1.0), 2))

    def change(specification):
        specification["base"]["scale"]["shape"] = [10**4, 1]
        specification["base"]["concentration"]["shape"] = [10**4]

    tensors = {"base.scale": torch.ones(10**4, 1), "base.concentration": torch.ones(10**4)}
    refused(
        path, by_hand(flow, path, change=change, tensors=tensors), "scale must be one floating-point number, or one a"
    )
