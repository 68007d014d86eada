"""The model file: everything comes back bit for bit, and anything else is refused in words."""

import copy
import errno
import hashlib
import json
import os
import pathlib
import pickle
import re
import resource
import sys
import zipfile

import pytest
import safetensors.torch
import torch
from torch import distributions, nn

import pushforward as pf
import zoo
from pushforward import model_file
from pushforward.errors import InputError, RunError
from pushforward.model_file import MODEL_FILE
from pushforward.specification import Specified
from pushforward.storage import safe_container


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


def test_copies_of_one_network_that_differ_are_refused(path):
    pf.save(vamp_vae(), path)
    document, tensors = safe_container.read(path, MODEL_FILE)
    safe_container.write(path, document, {**tensors, "encoder.last.bias": tensors["encoder.last.bias"] + 7}, MODEL_FILE)
    with pytest.raises(InputError, match="tensors encoder.last.bias and prior.encoder.last.bias differ, and stand for"):
        pf.load(path, kind=pf.vae.VAE)


def test_autoencoders_inside_one_another_are_refused_at_once(path):
    network = pf.nets.MLP(1, 2, hidden_features=(1,)).specification()
    sizes = {"features": 1, "data_features": 1, "num_components": 1}
    inner = network
    for _ in range(28):
        prior = {"type": "VampPrior", "encoder": network, **sizes}
        inner = {"type": "VAE", "encoder": inner, "decoder": network, "prior": prior, "posterior_flow": None}
    safe_container.write(path, {"flow": inner}, {"x": torch.zeros(1)}, MODEL_FILE)
    with pytest.raises(InputError, match="it holds a VAE inside another model"):
        pf.load(path)


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
    parts = [getattr(room, name) for room in (pf, pf.vae, pf.transforms, pf.nets, pf.bases) for name in dir(room)]
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


def test_any_safetensors_reader_sees_the_tensors(path):
    flow = zoo.FLOWS["realnvp"]()
    pf.save(flow, path)
    assert safetensors.torch.load_file(path).keys() == flow.state_dict().keys()


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
    safe_container.write(path, {"flow": {"type": "Flow"}}, {}, MODEL_FILE)
    assert model_file.read_metadata(path)["summary"] is None


def test_metadata_of_another_kind_are_refused(path):
    safe_container.write(path, {"summary": [1, 2]}, {}, MODEL_FILE)
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
    message = "(is truncated: it has|is damaged: its digest).*copy the file again"
    refused(path, good[: max(int(share * len(good)), 1)], message)


def test_a_file_with_something_after_it_is_refused(good, path):
    refused(path, good + b"\0", "is damaged: its digest is not that of its content")


def test_a_flipped_bit_anywhere_is_refused(good, path):
    length = int.from_bytes(good[:8], "little")
    places = [*range(0, 8), *range(8, 8 + length, 97), *range(8 + length, len(good), len(good) // 50), len(good) - 1]
    for number, place in enumerate(places):
        damaged = bytearray(good)
        damaged[place] ^= 1 << number % 8
        refused(path, damaged, r"\(.+\)$")


@pytest.mark.parametrize("text", [b"1.5", b"soft", b"layer 1", b"relu", b"_like", b"F32"])
def test_a_changed_letter_in_the_text_is_refused(text, good, path):
    assert text in good
    refused(path, good.replace(text, text[:-1] + bytes([text[-1] ^ 1]), 1), r"\(.+\)$")


def test_a_flipped_bit_in_the_weights_is_called_damage(good, path):
    refused(path, good[:-9] + bytes([good[-9] ^ 4]) + good[-8:], "is damaged: its digest is not that of its content")


def test_an_empty_file_is_refused(path):
    refused(path, b"", "the file is empty")


def test_a_missing_file_and_a_folder_are_refused(path):
    with pytest.raises(InputError, match="model.safetensors: cannot be read: No such file or directory"):
        pf.load(path)
    with pytest.raises(InputError, match="is a folder, not a model file"):
        pf.load(path.parent)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_is_refused_and_not_run(protocol, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    refused(path, pickle.dumps([Bomb(), "x" * 300], protocol), "looks like a pickle")
    assert not os.path.exists("bomb")


def test_a_zip_as_torch_writes_it_is_refused(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    refused(path, path.read_bytes(), "looks like a pickle or a file of torch.save")


def test_a_header_that_claims_two_to_the_sixty_bytes_is_refused(good, path):
    refused(path, (2**60).to_bytes(8, "little") + good[8:], "its header claims 1152921504606846976 bytes, 16777216 are")


def test_a_safetensors_file_of_another_program_is_refused(path):
    for metadata in (None, {"format": "pt"}):
        refused(
            path, safetensors.torch.save({"a": torch.ones(2)}, metadata), 'a safetensors file without "pushforward"'
        )


def sealed(text, tensors=None):
    """A file with this text under `pushforward`, and the digest as docs/model-file.md describes it."""
    return resealed(safetensors.torch.save(tensors or {}, {"pushforward": text}))


def resealed(data):
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


HEAD = '{"digest": "' + "0" * 64 + '", "format_version": 1, "flow": '


def test_a_newer_format_is_refused(path):
    refused(path, sealed('{"format_version": 2}'), "has format 2; .* reads formats up to 1 .upgrade pushforward")


@pytest.mark.parametrize("version", ["null", "true", '"1"', "0", "1.0"])
def test_a_format_version_that_is_no_number_is_refused(version, path):
    refused(path, sealed(f'{{"format_version": {version}}}'), "its format_version is .*, not a number of at least 1")


@pytest.mark.parametrize(
    "text", [HEAD + "[" * 200_000 + "]" * 200_000 + "}", HEAD + '{"type": "Inverse", "transform": ' * 33, "[" * 200_000]
)
def test_deep_nesting_is_refused_whatever_the_recursion_limit(text, path):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**9)
    try:
        refused(path, sealed(text), "it is nested deeper than 32 levels")
    finally:
        sys.setrecursionlimit(limit)


def test_two_hundred_thousand_nodes_are_refused(path):
    nodes = ", ".join(['{"type": "Additive"}'] * 200_000)
    refused(path, sealed(f"{HEAD}[{nodes}]}}"), "its specification has more than 10000 values")


@pytest.mark.parametrize("text", ["", "{", "[1]", "1", '{"a" 1}', "nonsense", "9" * 5000])
def test_text_that_is_no_json_object_is_refused(text, path):
    refused(path, sealed(text), "is damaged or no model file: its header: ")


def test_a_file_without_digest_is_refused(path):
    refused(path, sealed('{"format_version": 1, "flow": {}}'), "is damaged: its digest")
    refused(path, sealed('{"digest": "", "format_version": 1, "flow": {}}'), "is damaged: its digest")


def test_a_number_beyond_every_bound_is_refused(path):
    refused(path, sealed(HEAD + '{"type": "Logit", "alpha": 1e400}}'), r"flow\.alpha is inf")


def test_wrong_offsets_under_a_right_digest_are_refused(good, path):
    data = sealed(HEAD + "{}}", {"a": torch.ones(2), "b": torch.ones(2)})
    digest = re.search(b"[0-9a-f]{64}", data)[0]
    shifted = data.replace(digest, b"0" * 64).replace(b"[8,16]", b"[0,8] ")
    assert b"[0,8] " in shifted
    refused(path, resealed(shifted), "its table of tensors is wrong")


# ---- specifications and tensors that do not fit, under a right digest ------------------------------------------------


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
    return pf.Flow(pf.transforms.Compose(parts), pf.bases.StandardNormal(3), [pf.transforms.Standardize(3)])


def rebuild(flow, path, *, change=None, tensors=None):
    """Save by hand, with a changed specification or changed tensors."""
    specification = json.loads(json.dumps(flow.specification()))
    if change is not None:
        specification = change(specification) or specification
    state = {**flow.state_dict(), **(tensors or {})}
    safe_container.write(
        path, {"flow": specification}, {name: t for name, t in state.items() if t is not None}, MODEL_FILE
    )
    return path


def coupling(specification):
    return specification["transform"]["transforms"][1]


def test_a_flow_saved_by_hand_comes_back(flow, path):
    assert_same(flow, pf.load(rebuild(flow, path)))


def put(value, *keys):
    def change(specification):
        for key in keys[:-1]:
            specification = specification[key]
        specification[keys[-1]] = value

    return change


COUPLING = ("transform", "transforms", 1)
NET = (*COUPLING, "conditioner")
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
    "a tensor for a number": (
        put({"type": "Tensor", "shape": [], "dtype": "int64"}, "base", "features"),
        r"features cannot be of type Tensor",
    ),
    "bins out of range": (put(501, *COUPLING, "univariate", "bins"), "bins must be from 2 to 500; got 501"),
    "10**12 features": (put(10**12, "base", "features"), r"flow\.base\.features is 1000000000000; numbers are finite"),
    "2**31 - 1 features": (put(2**31 - 1, "preprocessing", 0, "features"), "2147483647"),
    "a billion blocks": (
        put(10**9, *NET, "num_blocks"),
        r"conditioner \(ResidualMLP\).* far more parameters than the file",
    ),
    "a tensor larger than memory": (
        put(2**20, *NET, "hidden_features"),
        r"conditioner\.first\.weight is float32 of",
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
    "an unknown dtype": (
        put("load", *COUPLING, "mask", "dtype"),
        r"mask \(Tensor\).*dtype must be one of bool, .*'load'",
    ),
    "a negative shape": (put([-1], *COUPLING, "mask", "shape"), r"mask \(Tensor\) cannot be built"),
    "a shape of text": (put(["a"], *COUPLING, "mask", "shape"), r"shape cannot be of type list"),
    "two kept features too many": (put(5, *COUPLING, "num_kept"), r"num_kept 5 .* does not fit a mask of 3 features"),
    "another layout": (
        put("first", *COUPLING, "layout"),
        r"has no place for 3 tensors, such as 'transform\.transforms\.1\.",
    ),
    "one layer less": (lambda s: s["transform"]["names"].pop() and None, r"names must be unique, one a transform"),
    "no preprocessing": (put([], "preprocessing"), r"has no place for 3 tensors, such as 'preprocessing\.0\."),
    "another name": (put("Shift", "preprocessing", 0, "type"), r"preprocessing\[0\] \(Shift\).*missing a required"),
    "no flow": (lambda s: s["base"], "it holds a StandardNormal, not a Flow"),
    "a list": (lambda s: ["x"], "it holds a list, not a Flow"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_specification_that_does_not_fit_is_refused(name, flow, path):
    change, message = CHANGES[name]
    refused(path, rebuild(flow, path, change=change).read_bytes(), message)


def test_sizes_beyond_memory_are_refused_without_taking_memory(flow, path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("2**31 - 1 features", "a tensor larger than memory", "a billion blocks"):
        change, message = CHANGES[name]
        refused(path, rebuild(flow, path, change=change).read_bytes(), message)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


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
    "floats for integers": ({f"{PART}0.permutation": torch.tensor([1.0, 2.0, 0.0])}, "permutation is float32 of shape"),
    "a permutation out of range": (
        {f"{PART}0.permutation": torch.tensor([1, 2, 10**9])},
        r"transforms\.0 \(Permutation\) has indices that are no permutation",
    ),
    "a permutation that repeats": ({f"{PART}0.permutation": torch.tensor([1, 1, 0])}, r"0 \(Permutation\) has indices"),
    "a wrong inverse": ({f"{PART}0.inverse_permutation": torch.tensor([0, 1, 2])}, r"0 \(Permutation\) has indices"),
    "kept out of range": ({f"{PART}1.kept": torch.tensor([0, 3])}, r"transforms\.1 \(Coupling\) has indices"),
    "transformed also kept": ({f"{PART}1.transformed": torch.tensor([0])}, r"transforms\.1 \(Coupling\) has indices"),
    "another mask": ({f"{PART}1.mask": torch.tensor([True, True, False])}, r"transforms\.1 \(Coupling\) has indices"),
    "an empty mask": ({f"{PART}1.mask": torch.tensor([False] * 3)}, r"transforms\.1 \(Coupling\) has indices"),
    "a negative order": ({f"{PART}2.order": torch.tensor([2, -1, 0])}, r"transforms\.2 \(Autoregressive\) has indices"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit_are_refused(name, flow, path):
    tensors, message = TENSORS[name]
    refused(path, rebuild(flow, path, tensors=tensors).read_bytes(), message)


def test_indices_that_are_not_integers_are_refused(flow, path):
    def change(specification):
        specification["transform"]["transforms"][2]["order"]["dtype"] = "float32"

    data = rebuild(flow, path, change=change, tensors={f"{PART}2.order": torch.tensor([2.0, 0.0, 1.0])}).read_bytes()
    refused(path, data, r"transforms\.2 \(Autoregressive\) has indices that are no permutation")


def test_a_part_of_ones_own_that_cannot_be_built_is_named(path):
    class Picky(MyNet):
        def __init__(self, width):
            super().__init__(width)
            if width == 2:
                raise KeyError("two")

    pf.save(with_conditioner(MyNet(2)), path)
    with pytest.raises(InputError, match=r"transforms\[2\]\.conditioner \(MyNet\) cannot be built: 'two'"):
        pf.load(path, types={"MyNet": Picky})


def test_no_source_file_unpickles():
    for source in pathlib.Path(pf.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"(?<!safetensors\.)torch\.(save|load)\(|import pickle|allow_pickle=True", source.read_text()
        ), source
