"""Columns given others by the law of whole rows: a network proposes cells, and that law weighs them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pushforward.rows.cells import CHUNK, Places, split
from pushforward.rows.heads import of_numbers
from pushforward.rows.place_law import PlaceLaw
from pushforward.rows.questions import RowQuestions

CANDIDATES = 8  # draws of a row's missing cells, of which one is chosen
LEAST_SHARE = 1e-3  # of numbers among a column's codes, from which they are weighed
AT_ONCE = 512  # rows


class Whole(Protocol):
    """A law of whole rows: log probabilities in nats, of codes and places, NaN of a row that it has no law of."""

    def whole_log_prob(self, rows: Tensor) -> Tensor:
        """Return that of rows (n, 3 D), (n,)."""

    def log_prob_with(self, rows: Tensor, column: int, code: Tensor, z: Tensor, half: Tensor) -> Tensor:
        """Return that of rows with other cells in one column, (n, m) like these."""


@dataclass(frozen=True)
class Effort:
    """How many candidates for a cell are weighed.

    Attributes:
        codes: The most probable codes, as the network says.
        places: Places of numbers: the first at even shares of the network's law, those of each further stage at even
            shares of the law that is known by then.
        trust: How much of log p(cell | the others) is what is found by these; the rest is what the network says. Few
            candidates and the network err differently, and their mean tells wrong cells better than either does.
    """

    codes: int
    places: tuple[int, ...]
    trust: float


QUICK, THOROUGH = Effort(4, (4,), trust=0.5), Effort(32, (16, 16, 16), trust=1.0)


@dataclass(frozen=True, eq=False)
class ColumnLaw:
    """The laws of a column's cell in n rows.

    Attributes:
        log_share: (n, codes), float64, the log probabilities of its codes.
        numbers: Where its numbers lie; None for categories.
    """

    log_share: Tensor
    numbers: PlaceLaw | None

    def log_prob(self, code: Tensor, z: Tensor, half: Tensor) -> Tensor:
        """Return the log probability of cells as they are proposed, (n,) like these, and 0 where there is none."""
        there, code = code >= 0, code.clamp(min=0)
        of_code, of_last = self.log_share.gather(1, code[:, None])[:, 0], self.log_share[:, -1]
        if self.numbers is not None:
            is_number = code == self.log_share.shape[1] - 1
            of_code = of_numbers(of_code, of_last, is_number, self.numbers.mixture, z, half)
        return torch.where(there, of_code, 0.0)


class Conditionals:
    """Any cells of a row given others.

    p(cells | others) is the law of whole rows but for a factor, and that law is learned from every cell of every row,
    where a network for all questions sees a row with ever other cells hidden. So what this network says is a proposal:
    one column's law is the law of whole rows at the codes and places that it proposes, and missing cells are drawn by
    sampling importance resampling (Rubin 1987, JASA 82, 543-546).

    Args:
        questions: The network that proposes.
        places: Where each column's cells may lie.
        whole: The law of whole rows; None: the network answers alone.
    """

    def __init__(self, questions: RowQuestions, places: Sequence[Places], whole: Whole | None = None) -> None:
        self.questions, self.places, self.whole = questions, list(places), whole

    def law_of(self, column: int, rows: Tensor, effort: Effort = THOROUGH) -> ColumnLaw:
        """Return the law of a column given all other cells that are there.

        Args:
            column: Its position.
            rows: (n, 3 D); the column's own cells are not looked at.
            effort: How many candidates are weighed.
        """
        laws = [self._law_of(column, part, effort) for part in rows.split(AT_ONCE)]
        numbers = [law.numbers for law in laws if law.numbers is not None]
        return ColumnLaw(torch.cat([law.log_share for law in laws]), PlaceLaw.joined(numbers) if numbers else None)

    def columns_log_prob(self, rows: Tensor, columns: Sequence[int], effort: Effort = THOROUGH) -> Tensor:
        """Return log p(cell | all other cells that are there), (n, columns), float64, in nats: 0 where no cell is.

        Args:
            rows: (n, 3 D).
            columns: Positions of those asked.
            effort: How many candidates are weighed, the cell itself among them.
        """
        found = torch.zeros(len(rows), len(columns), dtype=torch.float64)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            own = None if self.whole is None else self.whole.whole_log_prob(part).double()
            for k, column in enumerate(columns):
                found[start : start + AT_ONCE, k] = self._own_log_prob(column, part, effort, own)
        return found

    def fill(
        self, rows: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw the missing cells given the others: codes and z, (n, D) each.

        Args:
            rows: (n, 3 D); missing context stays missing.
            temperature: Below 1 draws lie nearer the mode.
            generator: Decides the draws.
        """
        rows, num = rows.clone(), 1 if self.whole is None else CANDIDATES
        gaps = (split(rows)[0][:, self.questions.num_context :] < 0).any(1).nonzero()[:, 0]
        for some in gaps.split(CHUNK // num):
            pool, log_prob = self.questions.fill(
                rows[some].repeat_interleave(num, 0), self.places, temperature=temperature, generator=generator
            )
            if self.whole is not None:
                log_weight = (self.whole.whole_log_prob(pool).double() - log_prob).nan_to_num(nan=0.0).view(-1, num)
                chosen = torch.multinomial(log_weight.softmax(1), 1, generator=generator)[:, 0]
                pool = pool[torch.arange(len(some)) * num + chosen]
            rows[some] = pool
        return split(rows)[:2]

    # ---- how one column's cells are weighed ----------------------------------------------------------------------

    def _proposed(self, column: int, rows: Tensor) -> ColumnLaw:
        code, z, _ = split(rows)
        logits, mixture = (part.double() for part in self.questions.law_of(column, code, z))
        log_share = logits.log_softmax(1) if logits.shape[1] else logits.new_zeros(len(rows), 1)
        if not self.questions.numbers[column]:
            return ColumnLaw(log_share, None)
        places = self.places[column]
        return ColumnLaw(log_share, PlaceLaw(mixture.unflatten(1, (3, -1)), places.low, places.high))

    def _law_of(self, column: int, rows: Tensor, effort: Effort) -> ColumnLaw:
        law = self._proposed(column, rows)
        return law if self.whole is None else self._weighed(law, column, rows, effort)[0]

    def _own_log_prob(self, column: int, rows: Tensor, effort: Effort, own: Tensor | None) -> Tensor:
        """Return log p(cell | the others) of one column, (n,); own (n,) is the log probability of the rows."""
        code, z, half = (part[:, column] for part in split(rows))
        law = self._proposed(column, rows)
        answer = law.log_prob(code, z.double(), half.double())
        if own is not None:
            weighed = own - self._weighed(law, column, rows, effort, own)[1]
            weighed = effort.trust * weighed + (1 - effort.trust) * answer
            answer = torch.where(weighed.isfinite() & (code >= 0), weighed, answer)
        return answer

    def _weighed(
        self, law: ColumnLaw, column: int, rows: Tensor, effort: Effort, own: Tensor | None = None
    ) -> tuple[ColumnLaw, Tensor]:
        """Return the law of a column by the law of whole rows, and the log of its mass there, (n,).

        Candidates keep the share that they have together as proposed, so that the others keep theirs. Where there is no
        law of a row the law is the proposed one, and the log not finite.

        Args:
            law: As proposed.
            column: Its position.
            rows: (n, 3 D).
            effort: How many candidates are weighed.
            own: (n,), the log probability of the rows as they stand, whose cells then are candidates, too.
        """
        number = law.log_share.shape[1] - 1 if law.numbers is not None else -1
        own_code = split(rows)[0][:, column]
        rank = law.log_share.clone()
        if number >= 0:
            rank[rank[:, number] < math.log(LEAST_SHARE), number] = -math.inf
        if own is not None:
            rank = rank.scatter(1, own_code.clamp(min=0)[:, None], 1.0)
        rank, codes = rank.topk(min(effort.codes, rank.shape[1]), dim=1)
        old = torch.where(rank > -math.inf, law.log_share.gather(1, codes), -math.inf)
        log_mass = torch.where(rank > -math.inf, self._of_codes(column, rows, codes), -math.inf)
        is_number, numbers = (codes == number) & (rank > -math.inf), law.numbers
        if numbers is not None and bool(is_number.any()):
            some = is_number.any(1).nonzero()[:, 0]
            known = None if own is None else torch.where(own_code == number, own, math.nan)[some]
            weighed, of_numbers = self._of_numbers(column, rows[some], numbers[some], effort, known)
            numbers, log_mass = numbers.with_rows(some, weighed), log_mass.masked_scatter(is_number, of_numbers)
        log_factor = log_mass.logsumexp(1) - old.logsumexp(1)
        new = torch.where(log_factor.isfinite()[:, None], log_mass - log_factor[:, None], old)
        new = torch.where(rank > -math.inf, new, law.log_share.gather(1, codes))
        return ColumnLaw(law.log_share.scatter(1, codes, new), numbers), log_factor

    def _of_codes(self, column: int, rows: Tensor, codes: Tensor) -> Tensor:
        """Return the log probability of rows that have these codes in a column, (n, candidates) like codes."""
        atoms = torch.tensor([*self.places[column].atoms, 0.0], dtype=rows.dtype)
        z = atoms[codes.clamp(max=len(atoms) - 1)]
        return self._log_prob_with(column, rows, codes, z, torch.zeros_like(z))

    def _of_numbers(
        self, column: int, rows: Tensor, law: PlaceLaw, effort: Effort, own: Tensor | None
    ) -> tuple[PlaceLaw, Tensor]:
        """Return where numbers lie by the law of whole rows, and the log of its mass there, (n,).

        Args:
            column: Its position.
            rows: (n, 3 D).
            law: Where they lie as proposed.
            effort: How many places are weighed.
            own: (n,), the log probability of rows whose own cell is a number and is weighed, too; NaN: it is not.
        """
        code = self.questions.num_codes[column] - 1
        found, log_mean = law, torch.zeros(len(rows), dtype=torch.float64)
        shares, log_weights = torch.zeros(len(rows), 0, dtype=torch.float64), torch.zeros(len(rows), 0)
        for stage, num in enumerate(effort.places):
            even = (torch.arange(num, dtype=torch.float64) + 0.5) / num
            at = found.shares_at(even.repeat(len(rows), 1))
            z, half = self.places[column].cells_at(law.quantile(at))
            of_rows = self._log_prob_with(column, rows, torch.full(z.shape, code), z, half)
            log_weight = of_rows - law.mixture_log_prob(z, half)
            if own is not None and not stage:
                _, z, half = (part[:, column, None].double() for part in split(rows))
                is_own, weight = own.isfinite()[:, None], own[:, None] - law.mixture_log_prob(z, half)
                at = torch.cat((at, torch.where(is_own, law.cdf(z), at[:, :1])), 1)
                log_weight = torch.cat((log_weight, torch.where(is_own, weight, log_weight[:, :1])), 1)
            shares, log_weights = torch.cat((shares, at), 1), torch.cat((log_weights, log_weight), 1)
            found, log_mean = law.weighed(shares, log_weights)
        return found, log_mean

    def _log_prob_with(self, column: int, rows: Tensor, code: Tensor, z: Tensor, half: Tensor) -> Tensor:
        """Return the log probability of rows with other cells in a column, (n, m) like these, float64."""
        assert self.whole is not None
        return self.whole.log_prob_with(rows, column, code, z, half).double()
