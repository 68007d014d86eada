"""What `verify` returns: problems, notes and the sizes of the errors."""

import math
import re
from dataclasses import dataclass, field

import torch

from pushforward.display import table


@dataclass(repr=False)
class Verification:
    """What `verify` found; `print` it.

    Attributes:
        name: The type of what was checked.
        shape: Number of rows and of features.
        dtype: The dtype of the latent, whose precision is expected.
        tolerance: The error allowed beyond rounding.
        problems: What is wrong, in words: which check, where, by how much.
        checked: What was checked of a flow from its base's side, what could not be, and how often each check is false
            by chance.
        notes: What the checks do not show (the identity, an estimated log_det, rows outside the domain).
        round_trip_error: Largest |inverse(forward(x)) - x| in units of the column's spread: its standard deviation over
            these rows, or the row's distance from their mean if that is larger; NaN where it was not measured.
        log_det_error: Largest |log_det - log|det J|| in nats, J by automatic differentiation.
        inverse_log_det_error: Largest |inverse's log_det + forward's log_det| in nats.
    """

    name: str
    shape: tuple[int, int]
    dtype: torch.dtype
    tolerance: float
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    round_trip_error: float = math.nan
    log_det_error: float = math.nan
    inverse_log_det_error: float = math.nan

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def precision(self) -> str:
        """The dtype's name."""
        return str(self.dtype).removeprefix("torch.")

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        first, *lines = str(self).splitlines()
        return table(first, [re.split(": |  +", line.strip(), maxsplit=1) for line in lines])

    def __str__(self) -> str:
        rows, features = self.shape
        found = "nothing is wrong" if self.ok else f"problems: {len(self.problems)}"
        lines = [
            f"{self.name}: {rows} rows, {features} features, {self.precision}, tolerance {self.tolerance:g}: {found}"
        ]
        lines += [f"  wrong: {problem}" for problem in self.problems] + [f"  note: {note}" for note in self.notes]
        lines += [f"  checked: {check}" for check in self.checked]
        for label, error in (
            ("round trip, in units of the spread", self.round_trip_error),
            ("inverse log_det + forward log_det, nats", self.inverse_log_det_error),
            ("log_det - log|det Jacobian|, nats", self.log_det_error),
        ):
            lines.append(f"  {label:<42}{'not measured' if math.isnan(error) else f'at most {error:.1e}'}")
        return "\n".join(lines)
