"""Does the MMD of samples see what the error of the density, and the eye, see?"""

import math
from collections.abc import Sequence

import numpy as np

from pushforward import metrics
from pushforward.data import two_moons
from pushforward.studies.kit import Record
from pushforward.studies.kit.cells import Found
from pushforward.studies.kit.tables import shown, spread, values
from pushforward.studies.sweep import sweep_figures
from pushforward.studies.sweep.moons_run import FINE, truth

KERNELS = {"mmd": ("usual", 1.0), "mmd_fine": ("finer", FINE)}  # key -> name, width in units of the usual one


def does_it_tell(record: Record, runs: Sequence[Found], compared: int) -> None:
    """Compare the MMD with the error of the density, in numbers and in pictures; `compared` points on each side."""
    record.heading("Is a smaller MMD a better picture?")
    limits = _truth_against_truth(record, compared)
    excesses = values(runs, "excess")
    record.picture(
        "mmd-against-excess",
        sweep_figures.mmd_against_excess(runs, limits),
        f"MMD² against excess, {len(runs)} runs, with the usual kernel (width: the median distance) and a finer "
        f"one ({FINE:g} of it).",
    )
    order, count = np.argsort(excesses)[::-1], min(len(runs), record.size(7, quick=3))
    chosen = [runs[order[place]] for place in np.linspace(0, len(runs) - 1, count).round().astype(int)]
    record.picture(
        "samples",
        sweep_figures.samples_by_excess(chosen, truth(compared)[0]),
        "Samples of runs spread evenly over the ranks of the excess, the worst first, and fresh points of the truth.",
    )
    agreements = {key: _agreement(record, runs, key, limit) for key, limit in limits.items()}
    lowest = min(correlation for correlation, _ in agreements.values())
    verdict = "Yes, by and large" if lowest > 0.7 else "Only loosely" if lowest > 0.3 else "Not reliably"
    sentences = [f"With the {KERNELS[key][0]} kernel {sentence}" for key, (_, sentence) in agreements.items()]
    told = [f"{', '.join(map(shown, values(chosen, key)))} with the {name} " for key, (name, _) in KERNELS.items()]
    record.answer(
        "Do visually better results have a smaller MMD?",
        f"{verdict}. {'. '.join(sentences)}. The samples in the picture, the worst first, have MMD² "
        f"{told[0]}kernel and {told[1]}one.",
    )


def _truth_against_truth(record: Record, compared: int) -> dict[str, float]:
    """Return the 95 % limits of the two MMDs of two real samples; show them beside repeated draws."""
    fresh, other, usual = truth(compared)
    density = two_moons(1).density
    samples = [density.sample(compared, 5_000_000 + number) for number in range(record.size(20, quick=3))]
    limits, sentences = {}, []
    for key, (_, share) in KERNELS.items():
        width = usual * share
        test = metrics.mmd_null(fresh, other, bandwidth=width, num_permutations=record.size(200, quick=20))
        limits[key] = test.limit
        repeated = [metrics.mmd(fresh, sample, bandwidth=width) for sample in samples]
        numbers = {"bandwidth": width, "limit": limits[key], "mmd": repeated, "null_std": test.null.std()}
        record.number(f"truth_against_truth.{key}", {**numbers, "points": compared})
        sentences.append(
            f"with width {width:.3f} {len(repeated)} pairs of real samples give {spread(repeated)} and the permutation "
            f"null of two real samples has its 95 % limit at {limits[key]:.1e}"
        )
    record.finding(
        f"All MMDs are unbiased, with one fixed kernel width for all runs, between {compared:,} generated and as many "
        f"fresh points: {'; '.join(sentences)}."
    )
    return limits


def _agreement(record: Record, runs: Sequence[Found], key: str, limit: float) -> tuple[float, str]:
    """Return the rank correlation of one MMD with the excess, and a sentence about it."""
    from scipy.stats import spearmanr

    pairs = list(zip(values(runs, "excess"), values(runs, key), strict=True))
    above, below = [pair for pair in pairs if pair[1] > limit], [pair for pair in pairs if pair[1] <= limit]
    whole, seen = (float(spearmanr(some).statistic) if len(some) > 3 else math.nan for some in (pairs, above))
    numbers = {"rank_correlation": whole, "rank_correlation_above_limit": seen}
    record.number(f"mmd_against_excess.{key}", {**numbers, "above_limit": len(above), "below_limit": len(below)})
    sentence = f"the rank correlation of MMD² and excess over {len(pairs)} runs is {whole:.2f}"
    if math.isfinite(seen):
        sentence += f" ({seen:.2f} among the {len(above)} runs above the 95 % limit of two real samples)"
    if below:
        excesses = [excess for excess, _ in below]
        sentence += (
            f"; {len(below)} runs lie below that limit, where it sees no difference, while their excess still runs "
            f"from {shown(min(excesses))} to {shown(max(excesses))} nats"
        )
    return whole, sentence
