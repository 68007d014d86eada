"""Damaged files, files of other programs and of newer versions: each is refused in words, and runs nothing."""

import hashlib
import os
import pickle
import re
import sys
import zipfile

import pytest
import safetensors.torch
import torch

import pushforward as pf
import zoo
from model_files import refused
from pushforward.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def good(path):
    pf.save(zoo.FLOWS["realnvp"](), path, summary={"nll": 1.5})
    return path.read_bytes()


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


HEAD = '{"digest": "' + "0" * 64 + '", "format_version": 2, "flow": '


def test_a_newer_format_is_refused(path):
    refused(path, sealed('{"format_version": 3}'), "has format 3; .* reads formats up to 2 .upgrade pushforward")


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
    refused(path, sealed(f"{HEAD}[{nodes}]}}"), "it takes 400001 values to describe; a model file holds 10000")


@pytest.mark.parametrize("text", ["", "{", "[1]", "1", '{"a" 1}', "nonsense", "9" * 5000])
def test_text_that_is_no_json_object_is_refused(text, path):
    refused(path, sealed(text), "is damaged or no model file: its header: ")


def test_a_file_without_digest_is_refused(path):
    refused(path, sealed('{"format_version": 2, "flow": {}}'), "is damaged: its digest")
    refused(path, sealed('{"digest": "", "format_version": 2, "flow": {}}'), "is damaged: its digest")


def test_a_number_beyond_every_bound_is_refused(path):
    refused(path, sealed(HEAD + '{"type": "Logit", "alpha": 1e400}}'), r"flow\.alpha is inf")


def test_wrong_offsets_under_a_right_digest_are_refused(good, path):
    data = sealed(HEAD + "{}}", {"a": torch.ones(2), "b": torch.ones(2)})
    digest = re.search(b"[0-9a-f]{64}", data)[0]
    shifted = data.replace(digest, b"0" * 64).replace(b"[8,16]", b"[0,8] ")
    assert b"[0,8] " in shifted
    refused(path, resealed(shifted), "its table of tensors is wrong")
