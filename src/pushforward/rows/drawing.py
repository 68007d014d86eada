"""Rows drawn column by column from a network in order, each unit computed once: the cost of one pass."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from pushforward.rows.network import RowNetwork

Cell = tuple[Tensor, Tensor]  # code and z, (n,)


def draw_in_order(
    network: RowNetwork, code: Tensor, z: Tensor, first: int, draw: Callable[[int, Tensor, Tensor], Cell]
) -> None:
    """Fill the columns from `first` on, in place.

    A unit sees the columns up to its last one, and units of lesser last columns: it is computed when that column is
    there, from what is there, and never again.

    Args:
        network: In order, in eval().
        code: (n, D), integers; the columns before `first` hold their cells, -1 where there is none.
        z: (n, D).
        first: The first column to draw.
        draw: Given a column, its logits and its mixture, (n, size) each, returns a cell for each row.
    """
    state = _Units(network, len(code), z)
    for column in range(first):
        state.see(column, code[:, column], z[:, column])
    for column in range(first, code.shape[1]):
        logits, mixture = (state.params(place) for place in network.heads.params_of(column))
        code[:, column], z[:, column] = draw(column, logits, mixture)
        state.see(column, code[:, column], z[:, column])


class _Units:
    """The units of a network whose columns are seen one after the other."""

    def __init__(self, network: RowNetwork, rows: int, like: Tensor) -> None:
        self.network, width = network, len(network.last_seen)
        self.h = like.new_zeros(rows, width)  # of the entry: sums over the columns seen so far
        if network.place is not None:
            self.h += network.place.bias
        num_blocks = len(network.blocks)
        self.outer = [like.new_zeros(rows, width) for _ in range(num_blocks + 1)]  # silu(h) before each block, and last
        self.inner = [like.new_zeros(rows, width) for _ in range(num_blocks)]
        self.done = 0  # units computed

    def see(self, column: int, code: Tensor, z: Tensor) -> None:
        """Take a column's cells in, and compute the units whose last column it is."""
        network = self.network
        start = network.first_unit(column)
        self.h[:, start:] += network.entry_of(column, code, z, start)
        end = network.first_unit(column + 1)
        if end > self.done:
            self._compute(slice(self.done, end))
            self.done = end

    def _compute(self, units: slice) -> None:
        """Compute some units from those before them and themselves."""
        h, end = self.h[:, units].clone(), units.stop
        masks = self.network.mask_block[units, :end]
        for block, outer, inner in zip(self.network.blocks, self.outer, self.inner, strict=False):
            first: nn.Linear = block.first  # type: ignore[assignment]
            second: nn.Linear = block.second  # type: ignore[assignment]
            outer[:, units] = functional.silu(h)
            entering = functional.linear(outer[:, :end], first.weight[units, :end] * masks, first.bias[units])
            inner[:, units] = functional.silu(entering)
            h += functional.linear(inner[:, :end], second.weight[units, :end] * masks, second.bias[units])
        self.outer[-1][:, units] = functional.silu(h)

    def params(self, place: slice) -> Tensor:
        """Return some of the last layer's outputs, of a column that has not been seen."""
        last = self.network.last
        return functional.linear(self.outer[-1][:, : self.done], last.weight[place, : self.done], last.bias[place])
