"""Boolean and integer tensors as text: everything comes back, and nothing larger than its shape is made."""

import base64
import tracemalloc
import zlib

import pytest
import torch

from pushforward.storage.packed_tensors import pack, unpack

TENSORS = {
    "one bit": torch.tensor(True),
    "bits of two axes": torch.rand(5, 7) < 0.5,
    "no bits": torch.empty(0, dtype=torch.bool),
    "a byte each": torch.randperm(256),
    "two bytes each": torch.randperm(257),
    "four bytes each": torch.tensor([0, 2**32 - 1]),
    "eight bytes each": torch.tensor([[-1, 2**62], [0, -(2**63)]]),
    "one integer": torch.tensor(-9),
    "no integers": torch.empty(2, 0, dtype=torch.int32),
    "uint8": torch.tensor([0, 255], dtype=torch.uint8),
    "int16": torch.tensor([-(2**15), 2**15 - 1], dtype=torch.int16),
    "a view": torch.arange(12).reshape(3, 4).T[1:],
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back(name):
    tensor = TENSORS[name]
    again = unpack(pack(tensor), tensor.shape, tensor.dtype)
    assert again.dtype == tensor.dtype
    assert torch.equal(again, tensor)


def test_each_integer_takes_no_more_bytes_than_it_needs():
    for name, size in (("a byte each", 256), ("two bytes each", 2 * 257), ("four bytes each", 8)):
        assert len(zlib.decompress(base64.b64decode(pack(TENSORS[name])))) == size


@pytest.mark.parametrize("text", ["", "é", "%", "AAAA", pack(torch.arange(5)), pack(torch.arange(3))[:-4]])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64])
def test_text_that_does_not_fit_is_refused(text, dtype):
    with pytest.raises(ValueError, match=r"the content is not that of a (bool|int64) tensor of shape \(4,\)"):
        unpack(text, (4,), dtype)


def test_integers_beyond_the_dtype_are_refused():
    with pytest.raises(ValueError, match="the content is not that of a int8 tensor"):
        unpack(pack(torch.tensor([128])), (1,), torch.int8)


def test_text_that_unpacks_without_an_end_takes_no_memory():
    text = pack(torch.zeros(10**9 // 8, dtype=torch.bool))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="the content is not that of a bool tensor"):
            unpack(text, (8,), torch.bool)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(text) + 10**6
    finally:
        tracemalloc.stop()
