"""Saving and loading: everything comes back bit for bit, and what could not come back is not saved."""

import base64
import copy
import errno
import hashlib
import json
import os
import pathlib
import zlib

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import distributions, nn

import pushforward as pf
import zoo
from pushforward import model_file, rows
from pushforward.errors import InputError, RunError
from pushforward.model_file import MODEL_FILE
from pushforward.model_file.format import check_specification
from pushforward.specification import Specified
from pushforward.storage import json_and_tensors


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


def autoencoders():
    yield "normal", None
    yield "vampprior", None
    yield "flow", pf.recipes.planar(2, num_layers=2, context_features=3, hidden_features=(4,))
    yield pf.bases.DiagonalNormal(2), pf.transforms.Planar(2)


def test_a_specification_has_at_most_ten_thousand_values():
    def of(size):
        return {"type": "Flow", "numbers": [0] * (size - 3)}  # with the whole, its type and the list

    check_specification(of(10_000))
    with pytest.raises(InputError, match="it takes 10001 values to describe; a model file holds 10000"):
        check_specification(of(10_001))


@pytest.mark.parametrize(("prior", "posterior_flow"), list(autoencoders()))
def test_an_autoencoder_comes_back_bit_for_bit(prior, posterior_flow, path):
    options = {"latent_features": 2, "hidden_features": (5,), "prior": prior, "posterior_flow": posterior_flow}
    model = zoo.perturb(pf.vae.mlp_vae(6, **options))
    again = through_file(model, path, kind=pf.vae.VAE)
    x = pf.vae.binarize(torch.rand(4, 6))
    bounds = [each.iwae(x, 3, generator=torch.Generator().manual_seed(1)) for each in (model, again)]
    assert torch.equal(*bounds)
    assert again.specification() == model.specification()
    assert not any(module.training for module in again.modules())
    if prior == "vampprior":
        assert again.prior.encoder is again.encoder


def test_learned_noise_comes_back_bit_for_bit(path):
    flow = pf.recipes.realnvp(2, num_layers=2, preprocessing=pf.data.pixel_units("logit"))
    noise = pf.recipes.realnvp(2, num_layers=2, context_features=2)
    model = zoo.perturb(pf.VariationalDequantization(flow, noise, levels=16))
    again = through_file(model, path, kind=pf.VariationalDequantization)
    x = torch.randint(16, (5, 2))
    bounds = [each.bound(x, generator=torch.Generator().manual_seed(1)) for each in (model, again)]
    assert torch.equal(*bounds)
    assert again.levels == 16


def test_a_file_of_another_kind_of_model_says_how_to_load_it(path):
    pf.save(pf.vae.mlp_vae(6, latent_features=2, hidden_features=(5,)), path)
    with pytest.raises(InputError, match=r"holds a VAE, not a Flow \(in Python: pf.load\(path, kind=pf.vae.VAE\)\)"):
        pf.load(path)
    pf.save(zoo.FLOWS["realnvp"](), path)
    with pytest.raises(InputError, match=r"holds a Flow, not a VAE \(in Python: pf.load\(path, kind=pf.Flow\)\)"):
        pf.load(path, kind=pf.vae.VAE)
    for kind in ("VAE", None, nn.Module, (pf.Flow,)):
        with pytest.raises(ValueError, match="kind must be one of pf.Flow, pf.vae.VAE, pf.VariationalDequantization"):
            pf.load(path, kind=kind)
    with pytest.raises(ValueError, match="types must map names to classes; got VAE: did you mean kind="):
        pf.load(path, pf.vae.VAE)
    with pytest.raises(ValueError, match="types must map names to classes, .*; got \\[<class"):
        pf.load(path, [pf.vae.VAE])


def vamp_vae(wrapped=lambda prior: prior):
    torch.manual_seed(0)
    encoder = pf.nets.MLP(6, 4, hidden_features=(3,))
    return zoo.perturb(pf.vae.VAE(encoder, pf.nets.MLP(2, 6), wrapped(pf.vae.VampPrior(encoder, 2, 6, 5))))


@pytest.mark.parametrize(
    "wrapped", [lambda prior: pf.Flow(pf.transforms.Planar(2), prior), lambda prior: pf.bases.Joint([prior])]
)
def test_a_vampprior_inside_the_prior_shares_the_encoder_after_loading(wrapped, path):
    model = vamp_vae(wrapped)
    again = through_file(model, path, kind=pf.vae.VAE)
    assert len(list(again.parameters())) == len(list(model.parameters()))
    (vamp,) = [module for module in again.prior.modules() if isinstance(module, pf.vae.VampPrior)]
    assert vamp.encoder is again.encoder


def test_an_autoencoder_whose_prior_has_lost_its_encoder_is_not_saved(path):
    model = vamp_vae()
    model.encoder = pf.nets.MLP(6, 4, hidden_features=(3,))
    with pytest.raises(InputError, match="the VampPrior has another encoder than its VAE"):
        pf.save(model, path)
    assert not path.exists()


def test_an_encoder_that_a_vampprior_shares_is_written_once(path):
    pf.save(vamp_vae(), path)
    names = safetensors.torch.load_file(path).keys()
    assert "encoder.last.bias" in names
    assert not any("prior.encoder" in name for name in names)
    assert model_file.read_metadata(path)["flow"]["prior"]["encoder"] is None


def test_a_network_of_ones_own_in_an_autoencoder_is_named(path):
    decoder = nn.Linear(2, 6)
    model = pf.vae.VAE(pf.nets.MLP(6, 4), decoder, pf.bases.StandardNormal(2))
    with pytest.raises(InputError, match="model.decoder is of type Linear, which a model file cannot hold"):
        pf.save(model, path)
    assert not path.exists()


BASES = {
    "diagonal normal": lambda: zoo.perturb(pf.bases.DiagonalNormal(2)),
    "mixture": lambda: zoo.perturb(pf.bases.GaussianMixture(2, 3)),
    "box": lambda: pf.bases.Box(2, low=-1.0, high=4.0),
    "joint": lambda: pf.bases.Joint([zoo.perturb(pf.bases.GaussianMixture(1, 2)), pf.bases.StandardNormal(1)]),
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
    recipe = pf.recipes.nsf(3, num_layers=2, bins=4, context_features=3, **hidden)
    of_context = [pf.transforms.Standardize(3)]
    flow = pf.Flow(recipe.transform, recipe.base, [standardize, asinh], context_preprocessing=of_context)
    flow.initialize(torch.randn(50, 3) * 4 + 2, torch.randn(50, 3))
    again = through_file(zoo.perturb(flow), path)
    assert_same(flow, again)
    assert again.transform.names == ("layer 1", "layer 2")
    assert bool(again.preprocessing[1].initialized)


def test_the_table_of_types_knows_every_public_part():
    parts = [getattr(room, name) for room in (pf, pf.vae, pf.transforms, pf.nets, pf.bases, rows) for name in dir(room)]
    wanted = {each.__name__ for each in parts if isinstance(each, type) and issubclass(each, Specified)}
    assert wanted - {"Specified"} == model_file.TYPES.keys()


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


def test_any_safetensors_reader_sees_the_tensors_and_structure_is_not_among_them(path):
    flow = zoo.FLOWS["realnvp, tanh, alternating, flip"]()
    pf.save(flow, path)
    structure = {name for name, tensor in flow.state_dict().items() if not tensor.is_floating_point()}
    assert safetensors.torch.load_file(path).keys() == flow.state_dict().keys() - structure
    assert len(structure) == 3 * 4 + 2 * 2  # three couplings of any layout, two permutations


def test_a_reader_that_knows_docs_model_file_alone_finds_everything(path):
    flow = zoo.FLOWS["realnvp, tanh, alternating, flip"]()
    pf.save(flow, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    document = json.loads(header.pop("__metadata__")["pushforward"])
    digest = document["digest"].encode()
    assert hashlib.sha256(data.replace(digest, b"0" * 64, 1)).hexdigest().encode() == digest
    assert document["format_version"] == 2
    permutation, coupling = document["flow"]["transform"]["transforms"][1]["transforms"]
    raw = zlib.decompress(base64.b64decode(coupling["mask"]["content"]))
    bits = [raw[i // 8] >> (7 - i % 8) & 1 for i in range(coupling["mask"]["shape"][0])]
    assert bits == flow.transform[1][1].mask.tolist()
    assert list(zlib.decompress(base64.b64decode(permutation["permutation"]["content"]))) == [4, 3, 2, 1, 0]
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        values = np.frombuffer(data[8 + length + begin : 8 + length + end], "<f4").reshape(tensor["shape"])
        assert np.array_equal(values, flow.state_dict()[name].numpy())


def test_a_mask_of_784_features_takes_98_bytes(path):
    mask = torch.rand(784) < 0.5
    text = pf.transforms.Coupling(mask, pf.transforms.Affine(), MyNet(2)).specification()["mask"]["content"]
    assert zlib.decompress(base64.b64decode(text)) == np.packbits(mask.numpy()).tobytes()
    assert len(zlib.decompress(base64.b64decode(text))) == 98


def test_metadata_come_back(path):
    schema = {"columns": ["a", "ü"], "context": ["a"]}
    kept = {"schema": schema, "seed": 3, "plan": {"steps": 7}, "summary": {"nll": 1.5}}
    pf.save(zoo.FLOWS["maf"](), path, **kept)
    metadata = model_file.read_metadata(path)
    assert {name: metadata[name] for name in kept} == kept
    assert metadata["versions"]["torch"] == torch.__version__
    assert metadata["flow"]["type"] == "Flow"


def test_a_model_and_its_metadata_come_from_one_reading(path, monkeypatch):
    pf.save(zoo.FLOWS["maf"](), path, seed=3)
    opened = []
    monkeypatch.setattr(pathlib.Path, "open", lambda self, mode: opened.append(self) or open(self, mode))  # noqa: PTH123
    flow, metadata = model_file.load_with_metadata(path)
    assert opened == [path]
    assert metadata == model_file.read_metadata(path)
    assert_same(zoo.FLOWS["maf"](), flow)


def test_metadata_that_were_not_given_are_none(path):
    json_and_tensors.write(path, {"flow": {"type": "Flow"}}, {}, MODEL_FILE)
    assert model_file.read_metadata(path)["summary"] is None


def test_metadata_of_another_kind_are_refused(path):
    json_and_tensors.write(path, {"summary": [1, 2]}, {}, MODEL_FILE)
    with pytest.raises(InputError, match=r"its summary is \[1, 2\], of another kind than pushforward writes"):
        model_file.read_metadata(path)


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
    with pytest.raises(InputError, match=r"flow\.transform\.transforms\[2\]\.conditioner is of type Double, which"):
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
    with pytest.raises(InputError, match=r"transforms\[2\]\.conditioner has a class of your own .* built-in one, MLP"):
        pf.save(with_conditioner(impostor(2)), path)


class MyScale(Specified, pf.transforms.Transform):
    """A transform that reads the tensors that it is made of."""

    def __init__(self, factor, sign):
        super().__init__()
        assert bool((factor > 0).all())
        assert sign.tolist() == [1, -1]
        self.register_buffer("factor", factor.clone())
        self.sign = sign

    def forward(self, x, context=None):
        factor = self.factor * self.sign
        return x * factor, factor.abs().log().sum().expand(x.shape[:-1])

    def inverse(self, y, context=None):
        factor = self.factor * self.sign
        return y / factor, -factor.abs().log().sum().expand(y.shape[:-1])


def test_a_constructor_is_handed_the_tensors_that_it_was_handed_then(path):
    flow = pf.Flow(MyScale(torch.tensor([2.0, 0.5]), torch.tensor([1, -1])), pf.bases.StandardNormal(2))
    again = through_file(flow, path, types={"MyScale": MyScale})
    assert_same(flow, again)
    assert again.transform.sign.tolist() == [1, -1]


def test_a_tensor_that_is_neither_parameter_nor_buffer_is_not_saved(path):
    flow = pf.Flow(MyScale(torch.tensor([2.0, 0.5]), torch.tensor([1, -1])), pf.bases.StandardNormal(2))
    del flow.transform.factor
    flow.transform.factor = torch.tensor([2.0, 0.5])
    with pytest.raises(
        InputError, match=r"flow\.transform\.factor would be lost: register it as a parameter or a buffer"
    ):
        pf.save(flow, path)


def test_a_flow_on_the_meta_device_is_not_saved(path):
    flow = zoo.FLOWS["realnvp, tanh, alternating, flip"]().to("meta")
    with pytest.raises(InputError, match="other tensors are on the meta device and have no content"):
        pf.save(flow, path)


def test_dtypes_that_no_reader_takes_are_not_saved(path):
    flow = pf.Flow(pf.transforms.Shift(torch.zeros(2)), pf.bases.StandardNormal(2))
    for dtype, message in ((torch.float8_e4m3fn, "float8_e4m3fn"), (torch.complex64, "complex64")):
        with pytest.raises(
            InputError, match=rf"the tensor transform.offset is {message} of shape \(2,\); a model file"
        ):
            pf.save(flow._apply(lambda tensor: tensor.to(dtype)), path)  # noqa: B023


def test_a_buffer_that_would_be_lost_is_not_saved(path):
    net = MyNet(2)
    net.register_buffer("table", torch.ones(3), persistent=False)
    with pytest.raises(InputError, match=r"flow\.transform\.transforms\.2\.conditioner\.table would be lost"):
        pf.save(with_conditioner(net), path)


def test_a_distribution_outside_the_closed_table_is_not_saved(path):
    base = pf.bases.FromTorch(distributions.FisherSnedecor(3.0, 5.0), 2)
    with pytest.raises(InputError, match="a FromTorch base of FisherSnedecor cannot be saved; these can: Beta"):
        pf.save(pf.Flow(pf.transforms.Shift(0.0), base), path)


def test_a_number_that_no_reader_takes_is_not_saved(path):
    flow = with_conditioner(MyNet(2))
    flow.transform[2].conditioner.width = 2**31
    with pytest.raises(InputError, match=r"conditioner\.width is 2147483648: a model file holds"):
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


def test_more_structure_than_a_reader_takes_is_not_saved(path):
    flow = pf.Flow(pf.transforms.Permutation.reverse(2**20 + 65), pf.bases.StandardNormal(2**20 + 65))
    with pytest.raises(
        InputError, match="of the flow have 1048641 elements; a model file holds 1048640 beside tensors"
    ):
        pf.save(flow, path)


@pytest.mark.parametrize("summary", [{"nll": float("nan")}, {"nll": torch.ones(())}])
def test_a_summary_that_is_not_json_is_not_saved(summary, path):
    with pytest.raises(ValueError, match="a model file holds JSON values, numbers finite"):
        pf.save(zoo.FLOWS["maf"](), path, summary=summary)


def test_a_summary_too_long_to_be_read_is_not_saved(path):
    with pytest.raises(ValueError, match="the text of a model file may take 16777216 bytes"):
        pf.save(zoo.FLOWS["maf"](), path, summary={"log": "x" * 2**24})


def test_a_model_without_a_flow_is_not_saved(path):
    with pytest.raises(ValueError, match=r"save takes a Flow, .*; got Linear: .*state_dict\(\) with safetensors"):
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


def test_a_part_of_ones_own_that_cannot_be_built_is_named(path):
    class Picky(MyNet):
        def __init__(self, width):
            super().__init__(width)
            if width == 2:
                raise KeyError("two")

    pf.save(with_conditioner(MyNet(2)), path)
    with pytest.raises(InputError, match=r"transforms\[2\]\.conditioner \(MyNet\) cannot be built: 'two'"):
        pf.load(path, types={"MyNet": Picky})
