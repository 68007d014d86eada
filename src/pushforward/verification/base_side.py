"""A flow from its base's side: does its map cover the base, do the base's draws fit its log_prob, is its mass one?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.bases import Base
from pushforward.flows import Flow
from pushforward.numerics.chunking import chunks
from pushforward.numerics.jacobian import Map
from pushforward.verification.agreement import Chances, along_lines, among_others, proposal_points
from pushforward.verification.cover import check_cover
from pushforward.verification.findings import Findings
from pushforward.verification.mass import bridge

FALSE_ALARMS = 1e-5  # how often each of three checks by chance fails a base that is right, at most
NUM_OTHERS = 2048  # draws that the checks are fitted to
NUM_DRAWS = 4096  # draws that are checked; half as many above WIDE features
WIDE = 16
NUM_POINTS = 3  # a draw is compared with so many less one of the proposal
MOST_CONTEXTS = 3  # at which a base that takes one is checked
FEW = 0.01  # of the draws: points at corners of a support, where infinities meet, may have a log_prob of NaN
COARSE = 0.2  # a mass that is known no better is not stated


def check_base_side(
    flow: Flow, forward: Map, x: Tensor, context: Tensor | None, findings: Findings, *, map_works: bool
) -> None:
    """Add to the report what is wrong, and what was checked.

    Args:
        flow: A copy in eval mode.
        forward: Its map, data -> latent.
        x: (*batch, D).
        context: (C,), or the batch axes of x and C, or None.
        findings: Where problems go.
        map_works: Whether the map can be called; where it cannot, the base alone is checked.
    """
    batch = x.shape[:-1]
    generator = torch.Generator(device=_device(flow)).manual_seed(0)
    with torch.no_grad():
        if map_works:
            rows = None if context is None else context.expand(*batch, -1).reshape(batch.numel(), -1)
            check_cover(flow, forward, x.reshape(batch.numel(), -1), rows, findings, generator)
        else:
            findings.report.checked.append("cover: not checked, since the map is wrong already.")
        if not flow.base.context_features:
            _BaseCheck(flow.base, None, "", FALSE_ALARMS, findings, generator).run()
            return
        _, _, seen = flow.preprocess(x, context)
        seen = seen.expand(*batch, -1).reshape(batch.numel(), -1)  # type: ignore[union-attr]
        chosen = sorted(set(torch.linspace(0, len(seen) - 1, MOST_CONTEXTS, device="cpu").long().tolist()))
        for row in chosen:
            where = f" at the context of row {row}"
            _BaseCheck(flow.base, seen[row], where, FALSE_ALARMS / len(chosen), findings, generator).run()


def _device(flow: Flow) -> torch.device:
    tensors = [*flow.base.parameters(), *flow.base.buffers(), *flow.parameters(), *flow.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


@dataclass
class _BaseCheck:
    """Compares a base's draws with its log_prob, and measures its mass.

    Attributes:
        base: What is checked.
        context: (C,), or None.
        where: At which context, for the report.
        rate: How often each check may fail by chance.
        findings: Where problems go.
        generator: Source of randomness.
        not_a_number: Points near the draws where log_prob was NaN.
    """

    base: Base
    context: Tensor | None
    where: str
    rate: float
    findings: Findings
    generator: torch.Generator
    not_a_number: int = 0

    def run(self) -> None:
        """Add to the report what is wrong, and what was checked."""
        report, where = self.findings.report, self.where
        once = f"once in {1 / self.rate:,.0f} flows"
        draws = self._draws()
        if draws is None:
            return
        others, draws = draws[:NUM_OTHERS], draws[NUM_OTHERS:]
        lines = along_lines(self._log_prob, draws[::2], others, self.generator)
        log_ratio, cells = proposal_points(self._log_prob, draws, others, NUM_POINTS, self.generator)
        if self.not_a_number > FEW * len(draws):
            report.problems.append(
                f"base: log_prob{where} is NaN at {self.not_a_number:,} points near its draws; outside its support it "
                "must be -inf."
            )
        if not all([self._fits(lines, len(draws[::2])), self._fits(among_others(log_ratio, cells), len(draws))]):
            report.checked.append(f"base{where}: its mass was not measured, since its draws do not fit its log_prob.")
            return
        report.checked.append(
            f"base{where}: {len(draws):,} draws fit its log_prob, up to a constant, along lines through them and "
            f"beside draws of a density fitted to others (two checks, each false by chance at most {once})."
        )
        mass = bridge(log_ratio[:, 0], log_ratio[:, 1:].flatten(), self.rate)
        if not mass.is_one:
            report.problems.append(
                f"base: its mass{where} is {mass.value:.3g} where its draws lie, not 1 (false by chance at most {once})"
                ": log_prob is not normalized, or the draws leave out a part of it."
            )
        elif mass.resolution > COARSE:
            report.checked.append(
                f"base{where}: its mass could not be measured: no density fitted to its draws comes near enough."
            )
        else:
            report.checked.append(
                f"base{where}: its mass where its draws lie is {mass.value:.3f}; were it not 1 by more than "
                f"{100 * mass.resolution:.1f} %, it would have been seen (false by chance at most {once})."
            )

    def _draws(self) -> Tensor | None:
        """Return draws, (n, D), None where they or their log_prob are not finite, which is said."""
        report, where = self.findings.report, self.where
        number = NUM_OTHERS + NUM_DRAWS // (1 + (self.base.features > WIDE))
        draws = self.findings.attempt(
            "base.sample", lambda: self.base.sample((number,), context=self.context, generator=self.generator)
        )
        own = self.findings.attempt("base.log_prob", lambda: self._values(draws))
        for what, wrong in (
            ("are not finite", ~draws.isfinite().all(-1)),
            ("have a log_prob of -inf or NaN: they lie outside its support", own.isnan() | (own == -math.inf)),
        ):
            if bool(wrong.any()):
                first = draws[wrong][0, :4].tolist()
                report.problems.append(
                    f"base: {int(wrong.sum())} of {number:,} draws{where} {what}; the first begins {first}."
                )
                return None
        if bool(own.isinf().any()):
            report.checked.append(
                f"base{where}: draws and log_prob were not compared, since log_prob is infinite at "
                f"{int(own.isinf().sum())} of {number:,} draws."
            )
            return None
        return draws

    def _values(self, z: Tensor) -> Tensor:
        """Return log_prob, chunk by chunk: (n, D) -> (n,)."""
        return torch.cat([self.base.log_prob(part, self.context).reshape(len(part)) for part, _ in chunks(z, None)])

    def _log_prob(self, z: Tensor) -> Tensor:
        """Return log_prob at points near draws, -inf where it is no number: (n, D) -> (n,)."""
        values = self._values(z)
        self.not_a_number += int(values.isnan().sum())
        return torch.where(values < math.inf, values, -math.inf)

    def _fits(self, chances: Chances, num_draws: int) -> bool:
        """Return whether chance explains every result of a check; if not, report the least likely."""
        name, result = min(chances.items(), key=lambda item: float(item[1].abs().min()))
        at = int(result.abs().argmin())
        total = float(result.flatten()[at].abs()) * sum(each.numel() for each in chances.values())
        if not total <= self.rate:
            return True
        feature = f" {at}" if name.endswith("feature") else ""
        side = "low" if bool(result.flatten()[at].signbit()) else "high"
        self.findings.report.problems.append(
            f"base: its draws do not fit its log_prob{self.where}: in {num_draws:,} draws, {name}{feature} is too "
            f"{side} for it (by chance in one flow of {1 / max(total, 1e-30):.0e} at most)."
        )
        return False
