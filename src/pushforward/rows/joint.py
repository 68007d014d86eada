"""The joint density of a row of mixed cells: one pass scores it, the work of one pass draws it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.losses import Batch
from pushforward.rows.cells import CHUNK, in_chunks, split
from pushforward.rows.drawing import draw_in_order
from pushforward.rows.heads import Heads
from pushforward.rows.network import RowNetwork
from pushforward.specification import Specified

MOST_HIDDEN = 0.2  # share of a row's cells that are hidden in training, drawn from 0 to this for each row


class Joint(Specified, nn.Module):
    """The density of all cells of a row, a product over the columns in order (arXiv:1502.03509).

    A row holds a cell a column: a code (a category, an atom, or "a number"; -1 where the cell is missing), the place z
    of a number on the column's scale, and half the width of the cell in z (0 where the column has a density). As a
    tensor it is (3 D,): all codes, all z, all halves. Log probabilities are those of codes and cells, and log densities
    in z of the others, in nats. Cells are hidden from the network while it trains, so what is missing is left out of
    the event, whichever cells these are.

    Args:
        num_codes: Number of codes of each column; for one of numbers the last stands for "a number".
        numbers: Whether each column holds numbers.
        num_context: The first so many columns are given, and not modelled.
        components: Logistics in the mixture over a column's numbers.
        width: Width of the network.
        num_blocks: Residual blocks.
        dropout: Share of hidden values dropped while training.
    """

    def __init__(
        self, num_codes: Sequence[int], numbers: Sequence[bool], *, num_context: int = 0, components: int = 10,
        width: int = 256, num_blocks: int = 2, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_codes, self.numbers, self.num_context = list(num_codes), list(numbers), num_context
        self.components, self.width, self.num_blocks, self.dropout = components, width, num_blocks, dropout
        self.network = RowNetwork(
            Heads(num_codes, numbers, components), width=width, num_blocks=num_blocks, dropout=dropout,
            num_context=num_context, in_order=True,
        )  # fmt: skip

    def cells_log_prob(self, rows: Tensor) -> Tensor:
        """Return log p(cell | cells before it), (n, D), of rows (n, 3 D): 0 for missing cells and for context."""
        return in_chunks(self._cells_log_prob, rows)

    def log_prob(self, rows: Tensor, context: None = None) -> Tensor:
        """Return the log probability of each row, (n,), of rows (n, 3 D), which hold their context."""
        return self.cells_log_prob(rows).sum(1)

    def _cells_log_prob(self, rows: Tensor) -> Tensor:
        code, z, half = split(rows)
        return self.modelled(self.network.heads.log_prob(self.network(code, z, torch.ones_like(z)), code, z, half))

    def modelled(self, cells: Tensor) -> Tensor:
        """Return cells (n, D) with 0 for those of the context."""
        return torch.cat((torch.zeros_like(cells[:, : self.num_context]), cells[:, self.num_context :]), 1)

    @torch.no_grad()
    def draw(
        self,
        rows: Tensor,
        ends: Sequence[tuple[float, float]],
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw all columns but the context: codes and z, (n, D) each.

        Args:
            rows: (n, 3 D); of their cells only those of the context are looked at.
            ends: The z between which each column's numbers are drawn.
            temperature: Below 1 rows lie nearer the mode.
            generator: Decides the rows.
        """  # fmt: skip
        code, z, _ = split(rows)
        code, z = code.clone(), z.clone()
        for start in range(0, len(code), CHUNK):
            part = slice(start, start + CHUNK)
            draw_in_order(
                self.network, code[part], z[part], self.num_context,
                lambda d, logits, mixture: self.network.heads.draw(
                    d, logits, mixture, ends[d], temperature=temperature, generator=generator
                ),
            )  # fmt: skip
        return code, z


def joint_nll(model: Joint, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Negative log-likelihood of each row, (size,), in nats; while the model trains, some cells are hidden from it.

    Args:
        model: A `Joint`.
        batch: Its rows, (size, 3 D).
        generator: Decides which cells.
    """
    rows = batch.x
    if not model.training:
        return -model.log_prob(rows)  # type: ignore[arg-type]
    code, z, half = split(rows)  # type: ignore[arg-type]
    hidden = MOST_HIDDEN * torch.rand(len(z), 1, generator=generator, dtype=z.dtype, device=z.device)
    shown = (torch.rand(z.shape, generator=generator, dtype=z.dtype, device=z.device) >= hidden).to(z.dtype)
    return -model.modelled(model.network.heads.log_prob(model.network(code, z, shown), code, z, half)).sum(1)


joint_nll.needs = "cells_log_prob"  # type: ignore[attr-defined]
