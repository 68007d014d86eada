"""What the parameters of a column say of its cell: probabilities of its codes, a mixture of logistics over numbers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import RunError
from pushforward.rows.cells import Places
from pushforward.specification import hold_structure

LEAST_LOG_SCALE = math.log(1e-4)  # of a component, in units of z
MOST_LOG_SCALE = 5.0
MOST_LOGIT = 30.0


class Heads(nn.Module):
    """Distributions of cells, one a column, given a row of parameters.

    A cell is a code and, if the code is that of a number (the last of such a column), a place z: its log probability is
    that of the code plus that of z under a mixture of K logistics. The mixture has a density at z, or, for a cell that
    is recorded in steps, the probability of z - half to z + half: a difference of the cdf in closed form.

    Args:
        num_codes: Number of codes of each column; for one of numbers the last stands for "a number".
        numbers: Whether each column holds numbers.
        components: K.
    """

    number_columns: Tensor
    last_code: Tensor
    first: Tensor
    has_logits: Tensor
    sums: Tensor

    def __init__(self, num_codes: Sequence[int], numbers: Sequence[bool], components: int) -> None:
        super().__init__()
        self.num_codes, self.numbers, self.components = list(num_codes), list(numbers), components
        # A column of one code needs no logit for it. All logits come first, then the mixtures, which one view shows.
        self.num_logits = [codes if codes > 1 else 0 for codes in num_codes]
        self.first_logit = [sum(self.num_logits[:d]) for d in range(len(num_codes))]
        self.all_logits = sum(self.num_logits)
        columns = [d for d, number in enumerate(numbers) if number]
        self.num_params = self.all_logits + 3 * components * len(columns)
        has_logits = integers(self.num_logits) > 0
        first = integers(self.first_logit).clamp(max=max(self.all_logits - 1, 0))
        of_logits = torch.arange(len(num_codes), device="cpu").repeat_interleave(integers(self.num_logits))
        hold_structure(
            self, None, number_columns=integers(columns), last_code=integers(num_codes) - 1, first=first,
            has_logits=has_logits, sums=torch.nn.functional.one_hot(of_logits, len(num_codes)).float(),
        )  # fmt: skip

    def column_of_param(self) -> Tensor:
        """Return the column that each parameter belongs to, (parameters,), on the CPU."""
        columns = torch.arange(len(self.num_codes), device="cpu")
        of_logits = columns.repeat_interleave(integers(self.num_logits))
        return torch.cat((of_logits, self.number_columns.cpu().repeat_interleave(3 * self.components)))

    def params_of(self, column: int) -> list[slice]:
        """Return where the logits of a column and its mixture stand among the parameters; an empty slice for none."""
        first = self.first_logit[column]
        before = self.all_logits + 3 * self.components * sum(self.numbers[:column])
        return [
            slice(first, first + self.num_logits[column]),
            slice(before, before + 3 * self.components * self.numbers[column]),
        ]

    def part(self, first: int, end: int) -> tuple["Heads", Tensor]:
        """Return the heads of the columns from one to before another, and where their parameters are among these."""
        column = self.column_of_param()
        places = ((first <= column) & (column < end)).nonzero()[:, 0]
        part = Heads(self.num_codes[first:end], self.numbers[first:end], self.components)
        return part.to(self.sums.device), places

    def start_values(self) -> Tensor:
        """Return parameters to begin with: equal codes, mixtures that cover a standard normal."""
        mixture = torch.stack((
            torch.zeros(self.components), torch.linspace(-1.5, 1.5, self.components),
            torch.full((self.components,), math.log(0.4)),
        ))  # fmt: skip
        return torch.cat((torch.zeros(self.all_logits), mixture.flatten().repeat(sum(self.numbers))))

    def log_shares(self, code: Tensor) -> Tensor:
        """Return the log of the share of each code among rows (n, D), as logits: half a row more of each."""
        parts = [torch.zeros(0)]
        for column, logits in enumerate(self.num_logits):
            if logits:
                there = code[:, column][code[:, column] >= 0].cpu()
                counts = torch.bincount(there, minlength=logits).double() + 0.5
                parts.append((counts / counts.sum()).log().float())
        return bounded(torch.cat(parts))

    def log_prob(self, params: Tensor, code: Tensor, z: Tensor, half: Tensor) -> Tensor:
        """Return the log probability of each cell, (n, D), and 0 where there is none (code -1).

        Args:
            params: (n, parameters).
            code: (n, D), integers.
            z: (n, D).
            half: (n, D), half the width of a cell in z; 0 asks for the density.
        """
        there, code = code >= 0, code.clamp(min=0)
        of_code, of_last = self._codes_log_prob(params, code)
        if len(columns := self.number_columns):
            mixtures = params[:, self.all_logits :].unflatten(1, (len(columns), 3, self.components))
            of_cell = of_numbers(
                of_code[:, columns], of_last[:, columns], code[:, columns] == self.last_code[columns],
                mixtures, z[:, columns], half[:, columns],
            )  # fmt: skip
            of_code = of_code.index_copy(1, columns, of_cell)
        return torch.where(there, of_code, 0.0)

    def column_log_prob(
        self, column: int, logits: Tensor, mixture: Tensor, code: Tensor, z: Tensor, half: Tensor
    ) -> Tensor:
        """Return the log probability of the cells of one column, (n,), and 0 where there is none (code -1).

        Args:
            column: Its position.
            logits: (n, codes), or (n, 0) where there is one.
            mixture: (n, 3 K), or (n, 0) where the column holds no numbers.
            code: (n,), integers.
            z: (n,).
            half: (n,).
        """
        there, code = code >= 0, code.clamp(min=0)
        of_code = of_last = torch.zeros_like(z)
        if logits.shape[1]:
            log_each = bounded(logits).log_softmax(1)
            of_code, of_last = log_each.gather(1, code[:, None])[:, 0], log_each[:, -1]
        if self.numbers[column]:
            is_number = code == self.num_codes[column] - 1
            of_code = of_numbers(of_code, of_last, is_number, mixture.unflatten(1, (3, -1)), z, half)
        return torch.where(there, of_code, 0.0)

    def _codes_log_prob(self, params: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log probability of each code, and that of the column's last, (n, D) each; code (n, D).

        The softmaxes of all columns at once: logits within 30 of 0 have exponentials that a matrix product may add up.
        """
        if not self.all_logits:
            return params.new_zeros(code.shape), params.new_zeros(code.shape)
        logits = bounded(params[:, : self.all_logits])
        total = (logits.exp() @ self.sums.to(logits.dtype) + (~self.has_logits).to(logits.dtype)).log()
        of_code, of_last = (
            torch.where(self.has_logits, logits.gather(1, place) - total, 0.0)
            for place in (
                self.first + code * self.has_logits,
                (self.first + self.last_code * self.has_logits).expand_as(code),
            )
        )
        return of_code, of_last

    def draw(
        self,
        column: int,
        logits: Tensor,
        mixture: Tensor,
        places: Places,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw a cell of a column for each row of its parameters: code and z, (n,).

        Args:
            column: Its position.
            logits: (n, codes), or (n, 0) where there is one.
            mixture: (n, 3 K), or (n, 0) where the column holds no numbers.
            places: Where numbers may lie, and where single values do.
            temperature: Below 1 draws lie nearer the mode.
            generator: Decides the draws.
        """  # fmt: skip
        code = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        if logits.shape[1]:
            code = _pick((bounded(logits) / temperature).softmax(-1), generator)
        if not self.numbers[column]:
            return code, logits.new_zeros(len(logits))
        z = draw_from_mixture(mixture.unflatten(1, (3, -1)), (places.low, places.high), temperature, generator)
        if not places.atoms:
            return code, z
        atoms = z.new_tensor(places.atoms)
        return code, torch.where(code < len(atoms), atoms[code.clamp(max=len(atoms) - 1)], z)


def of_numbers(
    of_code: Tensor, of_last: Tensor, is_number: Tensor, mixtures: Tensor, z: Tensor, half: Tensor
) -> Tensor:
    """Return the log probability of cells of columns with numbers, (...), out of that of their and of the last code."""
    number = of_last + mixture_log_prob(mixtures, z, half)
    # A number that falls into the cell of an atom is that atom's value, too.
    atom = torch.where(half > 0, torch.logaddexp(of_code, number), of_code)
    return torch.where(is_number, number, atom)


def bounded(logits: Tensor) -> Tensor:
    """Return logits as the softmax takes them, within 30 of 0."""
    return logits.clamp(-MOST_LOGIT, MOST_LOGIT)


def mixture_log_prob(mixture: Tensor, z: Tensor, half: Tensor) -> Tensor:
    """Return the log density at z, (...), or where half > 0 the log probability of z - half to z + half.

    With u = (z - mean) / s and h = half / s a logistic gives such a cell sinh(h) / (cosh(u) + cosh(h)), and has the
    density 1 / (2 s (cosh(u) + 1)): one formula for both, in which nothing cancels however narrow the cell is. (The
    sum is 2 cosh((u + h) / 2) cosh((u - h) / 2).)

    Args:
        mixture: (..., 3, K): logits of the weights, means, logs of the scales.
        z: (...).
        half: (...).
    """
    weights, means, log_scale = mixture.unbind(-2)
    inverse = torch.exp(-log_scale.clamp(LEAST_LOG_SCALE, MOST_LOG_SCALE))
    u = (z[..., None] - means).abs() * inverse
    h = half[..., None] * inverse
    # 2 sinh(h) = e^h (1 - e^-2h), for a density 1 / s; twice the sum of cosh is e^max(u, h) times what is below.
    above = torch.where(half[..., None] > 0, -torch.expm1(-2 * h), inverse)
    below = (1 + torch.exp(-(u - h).abs())) * (1 + torch.exp(-u - h))
    log_each = h - torch.maximum(u, h) + torch.log(above / below)
    return torch.logsumexp(weights + log_each, -1) - torch.logsumexp(weights, -1)


def draw_from_mixture(
    mixture: Tensor, ends: tuple[float, float], temperature: float, generator: torch.Generator | None
) -> Tensor:
    """Draw z between two ends, (n,), from mixtures (n, 3, K)."""
    weights, means, log_scale = mixture.unbind(-2)
    scale = log_scale.clamp(LEAST_LOG_SCALE, MOST_LOG_SCALE).exp() * temperature
    low, high = (torch.sigmoid((end - means) / scale) for end in ends)
    share = (high - low).clamp(min=0) * (weights / temperature).softmax(-1) + 1e-30
    k = _pick(share, generator)[:, None]
    u = torch.rand(k.shape, dtype=mixture.dtype, device=mixture.device, generator=generator)
    p = low.gather(-1, k) + u * (high - low).gather(-1, k)
    z = means.gather(-1, k) + scale.gather(-1, k) * torch.logit(p.clamp(1e-7, 1 - 1e-7))
    return z[:, 0].clamp(*ends)


def _pick(weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one of k for each row of weights (n, k), which need not sum to one, (n,): one random number a row."""
    below = weights.cumsum(-1)
    if not bool(below[:, -1].isfinite().all()):
        raise RunError("the law of a column is not finite, so nothing can be drawn from it (fit the table again)")
    u = torch.rand(len(weights), 1, dtype=weights.dtype, device=weights.device, generator=generator)
    return (below <= u * below[:, -1:]).sum(-1).clamp(max=weights.shape[1] - 1)


def mixture_cdf(mixture: Tensor, z: Tensor) -> Tensor:
    """Return P(Z <= z), (n, m), of mixtures (n, 3, K) at z (n, m)."""
    weights, means, log_scale = mixture.unbind(-2)
    scale = log_scale.clamp(LEAST_LOG_SCALE, MOST_LOG_SCALE).exp()
    each = torch.sigmoid((z[..., None] - means[:, None]) / scale[:, None])
    return (each * weights.softmax(-1)[:, None]).sum(-1)


def integers(values: Sequence[int]) -> Tensor:
    """Return integers as a tensor on the CPU, with content under the meta device too."""
    return torch.tensor(values, dtype=torch.long, device="cpu")
