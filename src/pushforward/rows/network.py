"""A residual network with a head for each column: what the cells that are given say of the others."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.nets.mlp import zero_last
from pushforward.rows.heads import Heads
from pushforward.specification import hold_structure

NUM_STEPS = 16  # of a number's piecewise-linear encoding: steps of equal probability on its scale
UNITS_AT_ONCE = 128  # of a layer with masks
FURTHEST = 8.0  # places beyond are told apart by no network


class Block(nn.Module):
    """Two layers, the second of which starts at zero: h + second(silu(first(silu(h)))) is the identity at first.

    Args:
        width: Of both.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = zero_last(nn.Linear(width, width))


class RowNetwork(nn.Module):
    """From the cells of a row that are given to the parameters of every column's distribution.

    A cell enters as the embedding of its code and, in a column of numbers, with its place z: as it is, and as the share
    of each of 16 steps that lies below it (piecewise-linear encoding, arXiv:2203.05556). In order, weights are masked
    (arXiv:1502.03509): the parameters of a column depend on the columns before it alone, so one pass yields them all,
    and a row is drawn column by column at the cost of one pass.

    Args:
        heads: The distributions.
        width: Width of the network.
        num_blocks: Residual blocks, of two layers each.
        dropout: Share of hidden values dropped while training.
        num_context: The first so many columns are always given, and no one asks for their parameters.
        in_order: Whether a column depends on those before it alone.
    """

    first_code: Tensor
    edges: Tensor
    mask_codes: Tensor
    mask_block: Tensor
    mask_last: Tensor

    def __init__(
        self, heads: Heads, *, width: int, num_blocks: int, dropout: float, num_context: int, in_order: bool
    ) -> None:
        super().__init__()
        self.heads, self.in_order, columns = heads, in_order, len(heads.num_codes)
        codes = torch.tensor(heads.num_codes, device="cpu")
        numbers = heads.number_columns.cpu()
        self.embedding = nn.Parameter(torch.randn(int(codes.sum()), width) / math.sqrt(columns))
        self.place = nn.Linear(len(numbers) * (NUM_STEPS + 1), width) if len(numbers) else None
        self.blocks = nn.ModuleList(Block(width) for _ in range(num_blocks))
        self.last = zero_last(nn.Linear(width, heads.num_params))
        with torch.no_grad():
            self.last.bias.copy_(heads.start_values())
        self.dropout = nn.Dropout(dropout)
        shares = torch.linspace(0, 1, NUM_STEPS + 1, device="cpu").clamp(0.002, 0.998)
        hold_structure(self, None, first_code=codes.cumsum(0) - codes, edges=torch.special.ndtri(shares))
        # A unit sees the columns up to one, its last; units stand in the order of these.
        first = max(num_context - 1, 0)
        unit = first + torch.arange(width, device="cpu") * (max(columns - 1, first + 1) - first) // width
        self.last_seen = unit.tolist()
        if in_order:
            of_code = torch.arange(columns, device="cpu").repeat_interleave(codes)
            of_place = numbers.repeat_interleave(NUM_STEPS + 1)
            masks = {
                "place": of_place <= unit[:, None], "block": unit <= unit[:, None],
                "last": unit < heads.column_of_param()[:, None],
            }  # fmt: skip
            self.parts = {name: _parts(mask) for name, mask in masks.items()}
            hold_structure(
                self, None, mask_codes=(of_code[:, None] <= unit).float(),
                **{f"mask_{name}": mask.float() for name, mask in masks.items()},
            )  # fmt: skip

    @torch.no_grad()
    def initialize(self, code: Tensor) -> None:
        """Let every column begin with the shares of its codes in rows (n, D): rare ones would take long to learn."""
        self.last.bias[: self.heads.all_logits] = self.heads.log_shares(code).to(self.last.bias)

    def forward(self, code: Tensor, z: Tensor, given: Tensor) -> Tensor:
        """Return the parameters of all columns, (n, parameters).

        Args:
            code: (n, D), integers; -1 where there is no cell.
            z: (n, D).
            given: (n, D), 1 where the cell may be seen; cells without a code never are.
        """
        return self._linear(self.last, "last", self._hidden(code, z, given))

    def of_column(self, column: int, code: Tensor, z: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the mixture of one column out of the parameters, at less cost; not of one in order."""
        hidden = self._hidden(code, z, given)
        logits, mixture = (
            functional.linear(hidden, self.last.weight[place], self.last.bias[place])
            for place in self.heads.params_of(column)
        )
        return logits, mixture

    def _hidden(self, code: Tensor, z: Tensor, given: Tensor) -> Tensor:
        given = given.to(z.dtype) * (code >= 0)
        h = self.entry(code, z, given)
        for block in self.blocks:
            inner = functional.silu(self._linear(block.first, "block", functional.silu(h)))  # type: ignore[arg-type]
            h = h + self._linear(block.second, "block", self.dropout(inner))  # type: ignore[arg-type]
        return functional.silu(h)

    def entry(self, code: Tensor, z: Tensor, given: Tensor) -> Tensor:
        """Return what the first block takes, (n, width); arguments as those of `forward`."""
        table = self.embedding * self.mask_codes if self.in_order else self.embedding
        h = functional.embedding_bag(code.clamp(min=0) + self.first_code, table, mode="sum", per_sample_weights=given)
        if self.place is None:
            return h
        columns = self.heads.number_columns
        return h + self._linear(self.place, "place", self.steps(z[:, columns], given[:, columns]).flatten(1))

    def first_unit(self, column: int) -> int:
        """Return the first unit whose last column is this one or a later one; the width if none is. In order."""
        return next((unit for unit, last in enumerate(self.last_seen) if last >= column), len(self.last_seen))

    def entry_of(self, column: int, code: Tensor, z: Tensor, start: int) -> Tensor:
        """Return the part of `entry` that the cells of one column are, (n, units from `start` on); in order.

        Args:
            column: Its position.
            code: (n,), -1 where there is no cell.
            z: (n,).
            start: No unit before it, and each from it on, sees the column.
        """
        given = (code >= 0).to(z.dtype)
        entry = self.embedding[:, start:][code.clamp(min=0) + self.first_code[column]] * given[:, None]
        if not self.heads.numbers[column]:
            return entry
        steps = self.steps(z, given)
        size, place = steps.shape[1], sum(self.heads.numbers[:column])
        weight = self.place.weight[start:, place * size : (place + 1) * size]  # type: ignore[union-attr]
        return entry + functional.linear(steps, weight)

    def steps(self, z: Tensor, given: Tensor) -> Tensor:
        """Return z and the share of each step below it, (..., steps + 1), zero where it is not given."""
        low, high = self.edges[:-1], self.edges[1:]
        shares = ((z[..., None] - low) / (high - low)).clamp(0, 1)
        return torch.cat((z.clamp(-FURTHEST, FURTHEST)[..., None], shares), -1) * given[..., None]

    def _linear(self, layer: nn.Linear, mask: str, x: Tensor) -> Tensor:
        if not self.in_order:
            return functional.linear(x, layer.weight, layer.bias)
        weight = layer.weight * getattr(self, f"mask_{mask}")
        parts = [functional.linear(x[:, :end], weight[rows, :end], layer.bias[rows]) for rows, end in self.parts[mask]]
        return torch.cat(parts, 1)


def _parts(mask: Tensor) -> list[tuple[slice, int]]:
    """Return units of a layer and up to which of its inputs they see: the rest is not multiplied by zeros."""
    size = max(math.ceil(len(mask) / max(len(mask) // UNITS_AT_ONCE, 1)), 1)
    parts = []
    for start in range(0, max(len(mask), 1), size):
        seen = mask[start : start + size].any(0).nonzero()
        parts.append((slice(start, start + size), int(seen[-1]) + 1 if len(seen) else 0))
    return parts
