"""Any cells of a row given any others: one network over columns in every order."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.losses import Batch
from pushforward.rows.cells import CHUNK, Places, in_chunks, split
from pushforward.rows.heads import Heads, bounded
from pushforward.rows.network import RowNetwork
from pushforward.specification import Specified

IN_ORDER = 0.3  # share of the questions that ask for a column given all before it


class RowQuestions(Specified, nn.Module):
    """The law of each column given any others, and so of any columns given any others.

    Rows and arguments are those of `RowJoint`. The network has learned from columns given random others
    (arXiv:1310.1757; 30 % of the time given all before them); several columns are asked one after the other, in their
    order. Every answer is a law whose probabilities sum to one; two answers agree as far as training took them.
    """

    def __init__(
        self, num_codes: Sequence[int], numbers: Sequence[bool], *, num_context: int = 0, components: int = 10,
        width: int = 256, num_blocks: int = 2, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_codes, self.numbers, self.num_context = list(num_codes), list(numbers), num_context
        self.components, self.width, self.num_blocks, self.dropout = components, width, num_blocks, dropout
        self.network = RowNetwork(
            Heads(num_codes, numbers, components), width=width, num_blocks=num_blocks, dropout=dropout,
            num_context=num_context, in_order=False,
        )  # fmt: skip

    def initialize(self, rows: Tensor, context: None = None) -> None:
        """Let every column begin with the shares of its codes in rows (n, 3 D): `fit` calls it once."""
        self.network.initialize(split(rows)[0])

    def log_prob(self, rows: Tensor, given: Sequence[int] = ()) -> Tensor:
        """Return the log probability of each row's cells given some, (n,), in nats; missing cells are left out.

        Args:
            rows: (n, 3 D).
            given: Positions of the columns whose cells are given; the context always is.
        """
        return in_chunks(lambda part: self._given(part, {*range(self.num_context), *given}), rows)

    def _given(self, rows: Tensor, given: set[int]) -> Tensor:
        code, z, half = split(rows)
        seen, total = torch.zeros_like(z), torch.zeros_like(z[:, 0])
        seen[:, sorted(given)] = 1.0
        for column in (d for d in range(code.shape[1]) if d not in given):
            total = total + self.network.heads.log_prob(self.network(code, z, seen), code, z, half)[:, column]
            seen[:, column] = 1.0
        return total

    def columns_log_prob(self, rows: Tensor, columns: Sequence[int] | None = None) -> Tensor:
        """Return log p(cell | all other cells that are there), (n, columns), in nats: 0 where no cell is.

        Args:
            rows: (n, 3 D).
            columns: Positions of those asked; by default all but the context.
        """
        asked = range(self.num_context, len(self.num_codes)) if columns is None else columns
        return in_chunks(lambda part: self._each_given_the_others(part, asked), rows)

    def _each_given_the_others(self, rows: Tensor, columns: Sequence[int]) -> Tensor:
        code, z, half = split(rows)
        found = [
            self.network.heads.column_log_prob(d, *self.law_of(d, code, z), code[:, d], z[:, d], half[:, d])
            for d in columns
        ]
        return torch.stack(found, 1) if found else z[:, :0]

    def law_of(self, column: int, code: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the law of a column given all other cells that are there: logits (n, codes) and mixture (n, 3 K).

        Args:
            column: Its position.
            code: (n, D), -1 where there is no cell; the column's own is not looked at.
            z: (n, D).
        """
        seen = torch.ones_like(z)
        seen[:, column] = 0.0
        logits, mixture = self.network.of_column(column, code, z, seen)
        return bounded(logits), mixture

    @torch.no_grad()
    def fill(
        self,
        rows: Tensor,
        places: Sequence[Places],
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw the missing cells given the others, one after the other: rows (n, 3 D), and log p(drawn | given), (n,).

        Args:
            rows: (n, 3 D); missing context stays missing.
            places: Where each column's numbers may lie, and where its single values do.
            temperature: Below 1 draws lie nearer the mode; the log probability is that at 1.
            generator: Decides the draws.
        """  # fmt: skip
        rows, log_prob = rows.clone(), torch.zeros(len(rows), dtype=torch.float64)
        heads = self.network.heads
        for start in range(0, len(rows), CHUNK):
            cells = rows[start : start + CHUNK].unflatten(1, (3, -1))
            for column in range(self.num_context, len(self.num_codes)):
                gaps = (cells[:, 0, column] < 0).nonzero()[:, 0]
                if not len(gaps):
                    continue
                law = self.law_of(column, cells[gaps, 0].long(), cells[gaps, 1])
                code, z = heads.draw(column, *law, places[column], temperature=temperature, generator=generator)
                middle, half = (part.to(z.dtype) for part in places[column].cells_at(z.double()))
                z = torch.where(code == self.num_codes[column] - 1, middle, z) if self.numbers[column] else z
                half = torch.where(code == self.num_codes[column] - 1, half, 0.0)
                log_prob[start + gaps] += heads.column_log_prob(column, *law, code, z, half).double()
                cells[gaps, :, column] = torch.stack((code.to(z.dtype), z, half), 1)
        return rows, log_prob


def question_nll(model: RowQuestions, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Negative log-likelihood of each row, (size,), in nats, estimated at one place of a random order of its columns.

    The columns from that place on are each asked given those before it, and weighted so that the mean over places is
    the likelihood in that order (arXiv:1310.1757, eq. 8). In eval() orders and places are the same each time.

    Args:
        model: A `RowQuestions`.
        batch: Its rows, (size, 3 D).
        generator: Decides orders and places.
    """
    code, z, half = split(batch.x)  # type: ignore[arg-type]
    size, context = len(z), model.num_context
    left = z.shape[1] - context
    if not model.training:
        generator = torch.Generator(z.device).manual_seed(size)

    def random(columns: int) -> Tensor:
        return torch.rand(size, columns, generator=generator, dtype=z.dtype, device=z.device)

    place = (random(1) * left).long().clamp(max=left - 1)  # so many columns come before
    in_order = torch.arange(left, device=z.device).expand(size, left)
    order = torch.where(random(1) < IN_ORDER, in_order, random(left).argsort(1).argsort(1))
    before = order < place
    seen = torch.cat((torch.ones_like(z[:, :context]), before.to(z.dtype)), 1)
    answers = model.network.heads.log_prob(model.network(code, z, seen), code, z, half)[:, context:]
    return -torch.where(before, 0.0, answers).sum(1) * (left / (left - place[:, 0]))


question_nll.needs = "law_of"  # type: ignore[attr-defined]
