"""Files of format 1 are read for ever, and give the densities that they gave.

The files of format_1/ were written by pushforward 0.1.0: one for each recipe and base, `parts` with what no recipe
uses, an autoencoder with each kind of prior, and learned dequantization. Widths are tiny, every parameter was
perturbed, so that no step is the identity, and the flow was initialized on random rows. expected.json holds rows and
what 0.1.0 said of them after `pf.load(...).double()`. `maf_narrow` has fewer hidden units than sets of inputs: which
unit stands for which set was decided by float32 rounding, and stands in the file's masks alone.
"""

import json
from pathlib import Path

import pytest
import torch

import pushforward as pf
from pushforward.model_file import read_metadata

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
