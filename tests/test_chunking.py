"""Rows in chunks: on devices with a memory of their own, cut only where it runs out."""

import pytest
import torch

from pushforward.numerics.chunking import LEAST_ROWS, chunks, in_chunks


def map_within(most, seen):
    def function(x, context):
        seen.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("out of memory")
        return x.sum(-1) if context is None else x.sum(-1) + context.sum(-1)

    return function


@torch.no_grad()
def test_a_device_of_its_own_memory_is_given_all_rows_at_once():
    seen = []
    x = torch.empty(500_000, 64, device="meta")
    assert in_chunks(map_within(10**9, seen), x, None, x.shape[:-1]).shape == (500_000,)
    assert seen == [500_000]


@torch.no_grad()
@pytest.mark.parametrize("context", [None, torch.empty(3, device="meta"), torch.empty(100_000, 3, device="meta")])
def test_where_memory_runs_out_chunks_are_halved_until_they_fit(context):
    seen = []
    x = torch.empty(100_000, 2, device="meta")
    assert in_chunks(map_within(30_000, seen), x, context, x.shape[:-1]).shape == (100_000,)
    assert seen == [100_000, 50_000, 25_000, 25_000, 25_000, 25_000]


@torch.no_grad()
def test_rows_that_never_fit_end_in_the_devices_own_error():
    x = torch.empty(2_000, 2, device="meta")
    with pytest.raises(torch.OutOfMemoryError):
        in_chunks(map_within(LEAST_ROWS - 1, []), x, None, x.shape[:-1])


@torch.no_grad()
def test_chunks_of_a_given_size_keep_each_rows_context():
    x, context = torch.arange(1200.0).reshape(2, 600, 1), torch.arange(1200.0).reshape(2, 600, 1)
    pieces = list(chunks(x, context, 500))
    assert [len(rows) for rows, _ in pieces] == [500, 500, 200]
    assert all(torch.equal(rows, given) for rows, given in pieces)
    shared = torch.tensor([[[1.0]], [[2.0]]])
    given = torch.cat([given.flatten() for _, given in chunks(x, shared, 500)])
    assert torch.equal(given, torch.tensor([1.0, 2.0]).repeat_interleave(600))
