"""The joint density of a row of mixed cells: one pass scores it, the work of one pass draws it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.losses import Batch
from pushforward.rows.cells import CHUNK, Places, in_chunks, split
from pushforward.rows.drawing import draw_in_order
from pushforward.rows.exchanged_cells import log_prob_with
from pushforward.rows.heads import Heads, integers
from pushforward.rows.network import RowNetwork
from pushforward.specification import Specified, hold_structure

# Share of a row's cells that are hidden in training, drawn from 0 to this for each row: where cells of the table are
# missing, and where none are.
HIDDEN_WITH_GAPS, HIDDEN = 0.5, 0.15


class RowJoint(Specified, nn.Module):
    """The density of all cells of a row, a product over the columns in order (arXiv:1502.03509).

    A row holds a cell a column: a code (a category, an atom, or "a number"; -1 where the cell is missing), the place z
    of a number on the column's scale, and half the width of the cell in z (0 where the column has a density). As a
    tensor it is (3 D,): all codes, all z, all halves. Log probabilities are those of codes and cells, and log densities
    in z of the others, in nats. Cells are hidden from the network while it trains, so what is missing is left out of
    the event, whichever cells these are.

    Where cells of a column are missing in the table, a mark stands before it: whether the cell is missing, given all
    before. Marks are drawn with the rows, and a cell that is marked is not drawn; they are no part of log_prob.

    Args:
        num_codes: Number of codes of each column; for one of numbers the last stands for "a number".
        numbers: Whether each column holds numbers.
        num_context: The first so many columns are given, and not modelled.
        marked: Positions of modelled columns of which cells are missing.
        components: Logistics in the mixture over a column's numbers.
        width: Width of the network.
        num_blocks: Residual blocks.
        dropout: Share of hidden values dropped while training.
    """

    place: Tensor
    mark_place: Tensor

    def __init__(
        self, num_codes: Sequence[int], numbers: Sequence[bool], *, num_context: int = 0, marked: Sequence[int] = (),
        components: int = 10, width: int = 256, num_blocks: int = 2, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_codes, self.numbers, self.num_context = list(num_codes), list(numbers), num_context
        self.marked = [int(column) for column in marked]
        self.components, self.width, self.num_blocks, self.dropout = components, width, num_blocks, dropout
        codes: list[int] = []  # of columns and marks, in the network's order
        is_number, place, mark_place = [], [], []
        for column, (size, number) in enumerate(zip(num_codes, numbers, strict=True)):
            if column in self.marked:
                mark_place.append(len(codes))
                codes.append(2)
                is_number.append(False)
            place.append(len(codes))
            codes.append(size)
            is_number.append(bool(number))
        hold_structure(self, None, place=integers(place), mark_place=integers(mark_place))
        self.network = RowNetwork(
            Heads(codes, is_number, components), width=width, num_blocks=num_blocks, dropout=dropout,
            num_context=num_context, in_order=True,
        )  # fmt: skip

    def initialize(self, rows: Tensor, context: None = None) -> None:
        """Let every column begin with the shares of its codes in rows (n, 3 D): `fit` calls it once."""
        self.network.initialize(
            self.with_marks(rows, torch.ones(len(rows), 1, dtype=torch.bool, device=rows.device))[0]
        )

    def cells_log_prob(self, rows: Tensor) -> Tensor:
        """Return log p(cell | cells before it), (n, D), of rows (n, 3 D): 0 for missing cells and for context."""
        return in_chunks(self._cells_log_prob, rows)

    def log_prob(self, rows: Tensor, context: None = None) -> Tensor:
        """Return the log probability of each row, (n,), of rows (n, 3 D), which hold their context."""
        return self.cells_log_prob(rows).sum(1)

    @torch.no_grad()
    def whole_log_prob(self, rows: Tensor) -> Tensor:
        """Return the log probability of each row, (n,), NaN where more cells are missing than were when it trained."""
        return torch.where(self._has_law(rows), self.log_prob(rows), math.nan)

    @torch.no_grad()
    def log_prob_with(self, rows: Tensor, column: int, code: Tensor, z: Tensor, half: Tensor) -> Tensor:
        """Return what `whole_log_prob` does of rows with other cells in one column, (n, m) like these."""
        place = int(self.place[column])
        found = log_prob_with(self.network, self.with_marks(rows), self.num_context, place, (code, z, half))
        return torch.where(self._has_law(rows, column)[:, None], found, math.nan)

    def _has_law(self, rows: Tensor, column: int | None = None) -> Tensor:
        """Whether no more cells are missing, of columns other than one, than were when it trained, (n,)."""
        others = [d for d in range(self.num_context, len(self.num_codes)) if d != column]
        missing = (split(rows)[0][:, others] < 0).sum(1)
        most = (HIDDEN_WITH_GAPS if self.marked else HIDDEN) * (len(self.num_codes) - self.num_context)
        return missing <= max(most, 1)

    def _cells_log_prob(self, rows: Tensor) -> Tensor:
        code, z, half = self.with_marks(rows)
        return self.of_columns(self.network.heads.log_prob(self.network(code, z, torch.ones_like(z)), code, z, half))

    def with_marks(self, rows: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return codes, places and halves of columns and marks, (n, network's columns) each.

        Args:
            rows: (n, 3 D).
            share: (n, 1), True where a row's marks are shown; None shows none.
        """
        code, z, half = split(rows)
        width = len(self.network.heads.num_codes)
        codes = code.new_full((len(code), width), -1).index_copy(1, self.place, code)
        places, halves = (z.new_zeros(len(z), width).index_copy(1, self.place, part) for part in (z, half))
        if share is not None and self.marked:
            marks = torch.where(share, (code[:, self.marked] < 0).long(), -1)
            codes = codes.index_copy(1, self.mark_place, marks)
        return codes, places, halves

    def of_columns(self, cells: Tensor) -> Tensor:
        """Return the part of columns, 0 for those of the context, (n, D), of cells of columns and marks."""
        cells = cells[:, self.place]
        return torch.cat((torch.zeros_like(cells[:, : self.num_context]), cells[:, self.num_context :]), 1)

    @torch.no_grad()
    def draw(
        self,
        rows: Tensor,
        places: Sequence[Places],
        *,
        complete: bool = False,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw all columns but the context: codes and z, (n, D) each; the code of a missing cell is -1.

        Args:
            rows: (n, 3 D); of their cells only those of the context are looked at.
            places: Where each column's numbers may lie, and where its single values do.
            complete: Draw every cell.
            temperature: Below 1 rows lie nearer the mode.
            generator: Decides the rows.
        """  # fmt: skip
        code, z, _ = self.with_marks(rows)
        columns = {place: column for column, place in enumerate(self.place.tolist())}
        marks = dict(zip(self.place[self.marked].tolist(), self.mark_place.tolist(), strict=True))
        for start in range(0, len(code), CHUNK):
            codes, zs = code[start : start + CHUNK], z[start : start + CHUNK]

            def draw(place: int, logits: Tensor, mixture: Tensor, codes: Tensor = codes) -> tuple[Tensor, Tensor]:
                if place not in columns and complete:
                    return codes[:, place], torch.zeros_like(logits[:, 0])
                where = places[columns[place]] if place in columns else Places()
                drawn, z = self.network.heads.draw(
                    place, logits, mixture, where, temperature=temperature, generator=generator
                )
                if place in marks:
                    drawn = torch.where(codes[:, marks[place]] == 1, -1, drawn)
                return drawn, z

            draw_in_order(self.network, codes, zs, self.num_context, draw)
        return code[:, self.place], z[:, self.place]


def joint_nll(model: RowJoint, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Negative log-likelihood of each row, (size,), in nats; while the model trains, some cells are hidden from it.

    In training half of the rows show which of their cells are missing, which is then learned, too.

    Args:
        model: A `RowJoint`.
        batch: Its rows, (size, 3 D).
        generator: Decides what is hidden.
    """
    rows = batch.x
    if not model.training:
        return -model.log_prob(rows)  # type: ignore[arg-type]

    def random(columns: int) -> Tensor:
        return torch.rand(batch.size, columns, generator=generator, dtype=rows.dtype, device=rows.device)  # type: ignore[union-attr]

    code, z, half = model.with_marks(rows, random(1) < 0.5 if model.marked else None)  # type: ignore[arg-type]
    most = HIDDEN_WITH_GAPS if model.marked else HIDDEN
    shown = (random(z.shape[1]) >= most * random(1)).to(z.dtype)
    cells = model.network.heads.log_prob(model.network(code, z, shown), code, z, half)
    return -cells[:, model.num_context :].sum(1)


joint_nll.needs = "cells_log_prob"  # type: ignore[attr-defined]
