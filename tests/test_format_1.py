"""Files of format 1 are read for ever, and give the densities that they gave.

The files of format_1/ were written by pushforward 0.1.0: one for each recipe and base, `parts` with what no recipe
uses, an autoencoder with each kind of prior, and learned dequantization. Widths are tiny, every parameter was
perturbed, so that no step is the identity, and the flow was initialized on random rows. expected.json holds rows and
what 0.1.0 said of them after `pf.load(...).double()`. `maf_narrow` has fewer hidden units than sets of inputs: which
unit stands for which set was decided by float32 rounding, and stands in the file's masks alone.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError
from pushforward.model_file import MODEL_FILE, read_metadata
from pushforward.storage import json_and_tensors

FOLDER = Path(__file__).parent / "format_1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
KINDS = {kind.__name__: kind for kind in (pf.Flow, pf.vae.VAE, pf.VariationalDequantization)}


def load(path):
    return pf.load(path, kind=KINDS[read_metadata(path)["flow"]["type"]])


def said(model, rows):
    """What a model says of the rows kept in expected.json, under the names there."""
    model = model.double()
    given = {name: None if value is None else torch.tensor(value, dtype=torch.float64) for name, value in rows.items()}
    if isinstance(model, pf.Flow):
        return {"log_prob": model.log_prob(given["x"], given["context"])}
    if isinstance(model, pf.VariationalDequantization):
        noise = model.noise.log_prob(given["noise"], given["context"])
        return {"log_prob": model.flow.log_prob(given["x"]), "noise_log_prob": noise}
    return {
        "posterior_mean": model.posterior(given["x"])[0],
        "prior": model.prior.log_prob(given["z"]),
        "decoded": model.decode(given["z"]),
        "reconstructed": model.reconstruct(given["x"]),
    }


def test_every_file_has_its_numbers():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_format_1_gives_what_it_gave(name):
    for key, value in said(load(FOLDER / f"{name}.safetensors"), EXPECTED[name]).items():
        torch.testing.assert_close(value, torch.tensor(EXPECTED[name][key], dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_format_1_saved_again_loads_to_the_same_model(name, tmp_path):
    model = load(FOLDER / f"{name}.safetensors")
    pf.save(model, tmp_path / "again.safetensors")
    again = load(tmp_path / "again.safetensors")
    assert again.specification() == model.specification()
    for (name, tensor), (other, restored) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert tensor.dtype == restored.dtype
        assert torch.equal(tensor, restored)


@pytest.fixture
def changed(tmp_path):
    """Return a function that writes a file of format 1 with other tensors or another specification, and loads it."""

    def write_and_load(name, tensors, change=lambda specification: None):
        document, state = json_and_tensors.read(FOLDER / f"{name}.safetensors", MODEL_FILE)
        assert document["format_version"] == 1
        change(document["flow"])
        assert tensors.keys() <= state.keys()
        path = tmp_path / "changed.safetensors"
        json_and_tensors.write(path, document, {**state, **tensors}, replace(MODEL_FILE, format_version=1))
        return load(path)

    return write_and_load


PART = "transform.transforms"
TENSORS = {  # of parts.safetensors
    "a permutation out of range": (
        {f"{PART}.6.permutation": [2, 0, 10**9, 1]},
        r"permutation must hold each of 0\.\.3",
    ),
    "a permutation that repeats": ({f"{PART}.6.permutation": [2, 0, 2, 1]}, r"\(Permutation\).*each of 0\.\.3 once"),
    "a permutation of floats": (
        {f"{PART}.6.permutation": [2.0, 0.0, 3.0, 1.0]},
        "6.permutation is not what its specif",
    ),
    "a permutation of another length": ({f"{PART}.6.permutation": [0, 1, 2]}, "6.permutation is not what its specif"),
    "a wrong inverse": (
        {f"{PART}.6.inverse_permutation": [0, 1, 2, 3]},
        "inverse_permutation is not what follows from",
    ),
    "an inverse of floats": (
        {f"{PART}.6.inverse_permutation": [1.0, 3.0, 0.0, 2.0]},
        "inverse_permutation is not what",
    ),
    "kept out of range": ({f"{PART}.5.kept": [0, 4]}, "5.kept is not what follows from the rest"),
    "kept of another length": ({f"{PART}.5.kept": [0]}, "5.kept is not what follows from the rest"),
    "transformed also kept": ({f"{PART}.5.transformed": [1, 3]}, "5.transformed is not what follows from the rest"),
    "another mask": ({f"{PART}.5.mask": [True, True, False, False]}, "has no place for 3 tensors, such as .*5.kept"),
    "an empty mask": ({f"{PART}.5.mask": [False] * 4}, r"\(Coupling\).*mask must keep at least one feature"),
    "indices that repeat": ({f"{PART}.7.indices": [3, 3]}, r"\(OnFeatures\).*indices must be different"),
    "a negative order": ({f"{PART}.12.transform.order": [2, -1, 3, 1]}, r"\(Autoregressive\).*order must hold each"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_indices_of_format_1_that_do_not_fit_are_refused(name, changed):
    tensors, message = TENSORS[name]
    with pytest.raises(InputError, match=message):
        changed("parts", {key: torch.as_tensor(value) for key, value in tensors.items()})


def test_an_order_of_floats_in_format_1_is_refused(changed):
    def change(specification):
        specification["transform"]["transforms"][12]["transform"]["order"]["dtype"] = "float32"

    with pytest.raises(InputError, match=r"\(Autoregressive\) cannot be built: order must be at least one integer"):
        changed("parts", {f"{PART}.12.transform.order": torch.tensor([2.0, 0.0, 3.0, 1.0])}, change)


def test_copies_of_one_network_that_differ_are_refused(changed):
    with pytest.raises(
        InputError, match="the tensor prior.base.encoder.last.bias is not what follows from the rest of"
    ):
        changed("vae_vampprior", {"prior.base.encoder.last.bias": torch.ones(4)})


@pytest.mark.parametrize("name", ["prior.base.encoder.last.bias", "prior.base.pseudo_logits", "decoder.last.bias"])
def test_float8_in_format_1_is_refused(name, changed):
    with pytest.raises(InputError, match=f"the tensor {name} is float8_e4m3fn of shape .*; its dtype may be bool, "):
        changed("vae_vampprior", {name: torch.ones(4).to(torch.float8_e4m3fn)})


@pytest.mark.parametrize("shape", [[2], [10**9], "x", None])
def test_a_distribution_of_format_1_has_the_shape_of_its_numbers(shape, changed):
    def change(specification):
        specification["base"]["shape"] = shape

    assert changed("base_from_torch", {}, change).base.df.shape == (2,)
