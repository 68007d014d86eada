"""Rows of which the cells of one column are exchanged: what does not depend on these is computed once for each row."""

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.rows.network import Block, RowNetwork

Cells = tuple[Tensor, Tensor, Tensor]  # codes, places and halves


@torch.no_grad()
def log_prob_with(network: RowNetwork, cells: Cells, first: int, column: int, others: Cells) -> Tensor:
    """Return the log probability of rows with other cells in one column, (n, m) like these.

    A unit in order sees the columns up to its last one. Those that do not see the column are computed once for a row,
    as are the laws of the columns up to it.

    Args:
        network: In order, in eval().
        cells: (n, D) each; the column's own are not looked at.
        first: Columns from this one on count.
        column: Its position.
        others: (n, m) each.
    """
    (code, z, _), num = cells, others[0].shape[1]
    own_code, own_z, own_half = (part.reshape(-1).to(like.dtype) for part, like in zip(others, cells, strict=True))
    start = network.first_unit(column)
    given = (code >= 0).to(z.dtype)
    given[:, column] = 0.0
    entry = network.entry(code, z, given)
    units = entry[:, :start]
    later_units = entry[:, start:].repeat_interleave(num, 0) + network.entry_of(column, own_code, own_z, start)
    for block in network.blocks:
        units, later_units = _through(block, network.mask_block, start, units, later_units)  # type: ignore[arg-type]
    units, later_units = functional.silu(units), functional.silu(later_units)

    heads, last = network.heads, network.last
    weight: Tensor = last.weight * network.mask_last
    logits, mixture = (
        functional.linear(units, weight[place, :start], last.bias[place]).repeat_interleave(num, 0)
        for place in heads.params_of(column)
    )
    total = heads.column_log_prob(column, logits, mixture, own_code, own_z, own_half).view(-1, num)
    if column > first:
        before, place = heads.part(first, column)
        params = functional.linear(units, weight[place, :start], last.bias[place])
        total = total + before.log_prob(params, *(part[:, first:column] for part in cells)).sum(1, keepdim=True)
    if column + 1 < code.shape[1]:
        after, place = heads.part(column + 1, code.shape[1])
        params = functional.linear(units, weight[place, :start], last.bias[place]).repeat_interleave(num, 0)
        params += functional.linear(later_units, weight[place, start:])
        later = (part[:, column + 1 :].repeat_interleave(num, 0) for part in cells)
        total = total + after.log_prob(params, *later).sum(1).view(-1, num)
    return total


def _through(block: Block, mask: Tensor, start: int, units: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """Return the units before `start`, (n, start), and the later ones, (n m, width - start), after a block."""
    inner, inner_later = units, later
    for layer in (block.first, block.second):
        weight, num = layer.weight * mask, len(later) // max(len(units), 1)
        inner, inner_later = functional.silu(inner), functional.silu(inner_later)
        shared = functional.linear(inner, weight[start:, :start], layer.bias[start:]).repeat_interleave(num, 0)
        inner_later = functional.linear(inner_later, weight[start:, start:]) + shared
        inner = functional.linear(inner, weight[:start, :start], layer.bias[:start])
    return units + inner, later + inner_later
