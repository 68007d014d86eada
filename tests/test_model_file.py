"""The model file: everything comes back bit for bit, and anything else is refused in words."""

import copy
import errno
import json
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import safetensors.torch
import torch
import zoo
from torch import distributions, nn

import pushforward as pf
from pushforward import container, model_file
from pushforward.errors import InputError, RunError
from pushforward.specification import Specified


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_same(flow, again):
    """Same tensors, densities, samples and structure."""
    assert again.specification() == flow.specification()
    assert not any(module.training for module in again.modules())
    for (name, tensor), (other, restored) in zip(flow.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(tensor, restored)
        assert tensor.dtype == restored.dtype
    assert [p.requires_grad for p in again.parameters()] == [True] * len(list(flow.parameters()))
    dtype = flow._dtype
    x = 0.1 + 0.8 * torch.rand(9, flow.features, generator=torch.Generator().manual_seed(0), dtype=dtype)
    context = zoo.context_for(flow, 9)
    assert torch.equal(again.log_prob(x, context), flow.log_prob(x, context))
    samples = [each.sample(5, context, generator=torch.Generator().manual_seed(1)) for each in (flow, again)]
    assert torch.equal(*samples)
    assert samples[0].dtype == samples[1].dtype


def through_file(flow, path, **options):
    pf.save(flow, path)
    return pf.load(path, **options)


# ---- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_every_recipe_comes_back_bit_for_bit(name, path):
    flow = zoo.FLOWS[name]()
    assert_same(flow, through_file(flow, path))


@pytest.mark.parametrize("name", zoo.TRANSFORMS)
def test_every_transform_comes_back_bit_for_bit(name, path):
    transform, x, context = zoo.TRANSFORMS[name]()
    flow = pf.Flow(transform, pf.bases.StandardNormal(x.shape[-1]).double())
    again = through_file(flow, path)
    assert again.specification() == flow.specification()
    assert again.sample(1, context).dtype == torch.float64
    for ours, theirs in zip(transform(x, context), again.transform(x, context), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(transform.inverse(x, context), again.transform.inverse(x, context), strict=True):
        assert torch.equal(ours.nan_to_num(7), theirs.nan_to_num(7))


BASES = {
    "diagonal normal": lambda: zoo.perturb(pf.bases.DiagonalNormal(2)),
    "mixture": lambda: zoo.perturb(pf.bases.GaussianMixture(2, 3)),
    "box": lambda: pf.bases.Box(2, low=-1.0, high=4.0),
    "standard normal": lambda: pf.bases.StandardNormal(2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BASES)
def test_every_base_comes_back_bit_for_bit(name, dtype, path):
    flow = pf.Flow(pf.transforms.Shift(0.25), BASES[name]()).to(dtype)
    assert_same(flow, through_file(flow, path))


@pytest.mark.parametrize("name", pf.bases.SAVEABLE_DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [(), (2,)])
def test_every_distribution_of_the_closed_table_comes_back_bit_for_bit(name, shape, path):
    numbers = dict.fromkeys(pf.bases.SAVEABLE_DISTRIBUTIONS[name], torch.full(shape, 1.5))
    if name == "Uniform":
        numbers = {"low": torch.full(shape, -1.0), "high": torch.full(shape, 2.0)}
    base = pf.bases.FromTorch(getattr(distributions, name)(**numbers), 2)
    flow = pf.Flow(pf.transforms.Shift(0.0), base)
    assert_same(flow, through_file(flow, path))


@pytest.mark.parametrize("hidden", [{"hidden_features": (5,)}, {"hidden_features": (6, 5, 4), "dropout": 0.3}])
def test_preprocessing_names_and_dropout_come_back(hidden, path):
    standardize, asinh = pf.transforms.Standardize(3), pf.transforms.Asinh(3)
    flow = pf.recipes.nsf(3, num_layers=2, bins=4, context_features=3, preprocessing=[standardize, asinh], **hidden)
    flow.initialize(torch.randn(50, 3) * 4 + 2, torch.randn(50, 3))
    again = through_file(zoo.perturb(flow), path)
    assert_same(flow, again)
    assert again.transform.names == ("layer 1", "layer 2")
    assert bool(again.preprocessing[1].initialized)


def test_a_loaded_flow_trains_as_the_saved_one_does(path):
    flow = zoo.FLOWS["nsf"]()
    again = through_file(flow, path)
    for each in (flow, again):
        optimizer = torch.optim.Adam(each.parameters(), 1e-2)
        for step in range(3):
            optimizer.zero_grad()
            x = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
            (-each.log_prob(x).mean()).backward()
            optimizer.step()
    assert_same(flow, again)


def test_a_flow_with_mixed_dtypes_comes_back_as_saved(path):
    flow = zoo.FLOWS["realnvp, orthogonal, context"]().float()
    flow.transform[0].double()
    assert {t.dtype for t in through_file(flow, path).state_dict().values()} >= {torch.float32, torch.float64}
    assert through_file(flow.half(), path).state_dict()["base._like"].dtype == torch.float16


def test_saving_twice_gives_the_same_bytes(path):
    flow = zoo.FLOWS["maf"]()
    pf.save(flow, path)
    before = path.read_bytes()
    pf.save(copy.deepcopy(flow), path)
    assert path.read_bytes() == before


def test_saving_and_loading_leave_the_random_state_alone(path):
    flow = zoo.FLOWS["nsf, autoregressive, orthogonal"]()
    before = torch.get_rng_state()
    through_file(flow, path)
    assert torch.equal(torch.get_rng_state(), before)


def test_any_safetensors_reader_sees_the_tensors(path):
    flow = zoo.FLOWS["realnvp"]()
    pf.save(flow, path)
    assert safetensors.torch.load_file(path).keys() == flow.state_dict().keys()


def test_metadata_come_back(path):
    kept = {"schema": {"columns": ["a", "ü"], "context": ["a"]}, "seed": 3, "plan": {"steps": 7}, "summary": {"nll": 1.5}}
    pf.save(zoo.FLOWS["maf"](), path, **kept)
    metadata = model_file.read_metadata(path)
    assert {name: metadata[name] for name in kept} == kept
    assert metadata["versions"]["torch"] == torch.__version__
    assert metadata["flow"]["type"] == "Flow"


# ---- what cannot be saved --------------------------------------------------------------------------------------------


class Double(nn.Module):
    """A conditioner without specification."""

    def forward(self, kept, context=None):
        return torch.cat((kept, kept), -1)


class MyNet(Specified, nn.Module):
    """A conditioner with one."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layer = nn.Linear(1, width)
        self.register_buffer("gain", torch.tensor(3.0))

    def forward(self, kept, context=None):
        return self.gain * self.layer(kept)


def with_conditioner(net):
    coupling = pf.transforms.Coupling(torch.tensor([True, False]), pf.transforms.Affine(), net)
    parts = [pf.transforms.Scale(2.0), pf.transforms.Permutation.reverse(2), coupling]
    return pf.Flow(pf.transforms.Compose(parts), pf.bases.StandardNormal(2))


def test_a_class_without_specification_is_named_with_its_place_and_leaves_no_file(path):
    with pytest.raises(InputError, match=r"flow\.transform\.transforms\[2\]\.conditioner is of type Double.*specification"):
        pf.save(with_conditioner(Double()), path)
    assert os.listdir(path.parent) == []


def test_a_class_of_ones_own_comes_back_through_types(path):
    flow = with_conditioner(MyNet(2))
    assert_same(flow, through_file(flow, path, types={"MyNet": MyNet}))
    with pytest.raises(InputError, match=r"transforms\[2\]\.conditioner has the unknown type 'MyNet'.*types="):
        pf.load(path)


def test_types_cannot_replace_a_built_in_one(path):
    with pytest.raises(ValueError, match="types must not give 'MLP', a built-in type, another meaning"):
        pf.load(path, types={"MLP": MyNet})


def test_a_class_with_the_name_of_a_built_in_one_is_not_saved(path):
    impostor = type("MLP", (MyNet,), {})
    with pytest.raises(InputError, match=r"transforms\[2\]\.conditioner is of a class of your own .* built-in one, MLP"):
        pf.save(with_conditioner(impostor(2)), path)


def test_a_buffer_that_would_be_lost_is_not_saved(path):
    net = MyNet(2)
    net.register_buffer("table", torch.ones(3), persistent=False)
    with pytest.raises(InputError, match=r"flow\.transform\.transforms\.2\.conditioner\.table would be lost"):
        pf.save(with_conditioner(net), path)


def test_a_distribution_outside_the_closed_table_is_not_saved(path):
    base = pf.bases.FromTorch(distributions.Poisson(3.0), 2)
    with pytest.raises(InputError, match="a FromTorch base of Poisson cannot be saved; these can: Beta"):
        pf.save(pf.Flow(pf.transforms.Shift(0.0), base), path)


def test_a_number_that_no_reader_takes_is_not_saved(path):
    flow = with_conditioner(MyNet(2))
    flow.transform[2].conditioner.width = 2**31
    with pytest.raises(InputError, match=r"conditioner\.width is the number 2147483648"):
        pf.save(flow, path)


def test_more_values_or_levels_than_a_reader_takes_are_not_saved(path):
    many = pf.Flow(pf.transforms.Compose([pf.transforms.Logit()] * 4000), pf.bases.Box(1))
    with pytest.raises(InputError, match="a model file holds 10000"):
        pf.save(many, path)
    deep = pf.transforms.Shift(0.0)
    for _ in range(20):
        deep = pf.transforms.Compose([deep])
    with pytest.raises(ValueError, match="nests at most 32 levels deep"):
        pf.save(pf.Flow(deep, pf.bases.Box(1)), path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("summary", [{"nll": float("nan")}, {"nll": torch.ones(())}])
def test_a_summary_that_is_not_json_is_not_saved(summary, path):
    with pytest.raises(ValueError, match="a model file holds JSON values, numbers finite"):
        pf.save(zoo.FLOWS["maf"](), path, summary=summary)


def test_a_summary_too_long_to_be_read_is_not_saved(path):
    with pytest.raises(ValueError, match="the text of a model file may take 16777216 bytes"):
        pf.save(zoo.FLOWS["maf"](), path, summary={"log": "x" * 2**24})


def test_only_a_flow_is_saved(path):
    with pytest.raises(ValueError, match="save takes a Flow; got Linear"):
        pf.save(nn.Linear(1, 1), path)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    pf.save(zoo.FLOWS["maf"](), path)
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="model.safetensors: writing failed: No space left on device"):
        pf.save(zoo.FLOWS["nsf"](), path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_folder_is_refused(path):
    with pytest.raises(InputError, match="no/model: cannot be written: No such file or directory"):
        pf.save(zoo.FLOWS["maf"](), path.parent / "no" / "model")


# ---- what cannot be loaded -------------------------------------------------------------------------------------------


@pytest.fixture
def good(path):
    pf.save(zoo.FLOWS["realnvp"](), path, summary={"nll": 1.5})
    return path.read_bytes()


def refused(path, data, message):
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        pf.load(path)


@pytest.mark.parametrize("share", [0.0001, 0.2, 0.5, 0.99999])
def test_a_truncated_file_is_refused(share, good, path):
    refused(path, good[: max(int(share * len(good)), 1)], "(is truncated: it has|is damaged: its digest).*copy the file again")


def test_a_file_with_something_after_it_is_refused(good, path):
    refused(path, good + b"\0", "is damaged: its digest is not that of its content")


def test_a_flipped_bit_anywhere_is_refused(good, path):
    length = int.from_bytes(good[:8], "little")
    places = [*range(0, 8), *range(8, 8 + length, 97), *range(8 + length, len(good), len(good) // 50), len(good) - 1]
    for number, place in enumerate(places):
        damaged = bytearray(good)
        damaged[place] ^= 1 << number % 8
        refused(path, damaged, r"\(.+\)$")


@pytest.mark.parametrize("text", [b"1.5", b"realnvp", b"layer 1", b"mask", b"_like", b"F32"])
def test_a_changed_letter_in_the_text_is_refused(text, good, path):
    refused(path, good.replace(text, text[:-1] + bytes([text[-1] ^ 1]), 1), r"\(.+\)$") if text in good else None
    assert text in good or text == b"realnvp"


def test_a_flipped_bit_in_the_weights_is_called_damage(good, path):
    refused(path, good[:-9] + bytes([good[-9] ^ 4]) + good[-8:], "is damaged: its digest is not that of its content")
