"""What the runs of the study `sweep` say: which settings matter, what the MMD sees, whether the codes are normal."""

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution

from pushforward import metrics
from pushforward.data import two_moons
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import shown, spread
from pushforward.studies.sweep import pictures as sweep_pictures
from pushforward.studies.sweep.cells import FINE, SETTINGS, truth
from pushforward.studies.sweep.results import NAMES, Run, of_kind


def importances(record: Record, runs: Sequence[Run]) -> None:
    """Say which setting matters most when all are varied."""
    searched = of_kind(runs, "random", "guided")
    study = optuna.create_study()
    ranges = {
        name: (min(one.settings[name] for one in searched), max(one.settings[name] for one in searched))
        for name in SETTINGS
    }
    distributions: dict[str, BaseDistribution] = {
        # one value would leave nothing to explain, and no range
        name: optuna.distributions.FloatDistribution(low, max(high, low * 1.001), log=True)
        for name, (low, high) in ranges.items()
    }
    for one in searched:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: float(one.settings[name]) for name in SETTINGS},
                distributions=distributions,
                value=math.log(max(one.excess, 1e-6)),
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=record.seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    record.number("importances", shares)
    record.picture(
        "importances",
        sweep_pictures.importances(shares),
        f"Importance of each setting over {len(searched)} runs whose settings were drawn at random or by the guided "
        "search, by functional analysis of variance of a random forest.",
    )
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    record.answer(
        "Which setting matters most when all are varied at once?",
        "By the share of the variance of log excess: "
        + ", ".join(f"{NAMES[name]} {share:.2f}" for name, share in ordered)
        + f" ({len(searched)} runs, so read the order of near neighbours with care).",
    )


def truth_against_truth(record: Record, compared: int) -> dict[str, float]:
    """Return the 95 % limits of the two MMDs of two real samples; show them beside repeated draws."""
    record.heading("Is a smaller MMD a better picture?")
    fresh, other, usual = truth(compared)
    density = two_moons(1).density
    samples = [density.sample(compared, 5_000_000 + number) for number in range(3 if record.quick else 20)]
    limits, sentences = {}, []
    for key, width in (("mmd", usual), ("mmd_fine", usual * FINE)):
        test = metrics.mmd_null(fresh, other, bandwidth=width, num_permutations=20 if record.quick else 200)
        limits[key] = test.null.quantile(0.95).item()
        repeated = [metrics.mmd(fresh, sample, bandwidth=width) for sample in samples]
        record.number(
            f"truth_against_truth.{key}",
            {
                "bandwidth": width,
                "limit": limits[key],
                "mmd": repeated,
                "null_std": test.null.std(),
                "points": compared,
            },
        )
        sentences.append(
            f"with width {width:.3f} {len(repeated)} pairs of real samples give {spread(repeated)} and the permutation "
            f"null of two real samples has its 95 % limit at {limits[key]:.1e}"
        )
    record.text(
        f"All MMDs are unbiased, with one fixed kernel width for all runs, between {compared:,} generated and as many "
        f"fresh points: {'; '.join(sentences)}."
    )
    return limits


def mmd_and_pictures(record: Record, runs: Sequence[Run], limits: Mapping[str, float], compared: int) -> None:
    """Compare the MMD with the error of the density, in numbers and in pictures."""
    measured = [one for one in runs if one.mmd is not None]
    excesses = [one.excess for one in measured]
    record.picture(
        "mmd-against-excess",
        sweep_pictures.mmd_against_excess(measured, limits),
        f"MMD² against excess, {len(measured)} runs, with the usual kernel (width: the median distance) and a finer "
        f"one ({FINE:g} of it).",
    )
    ranks = sweep_pictures.spread_over(excesses, 3 if record.quick else 7)
    record.picture(
        "samples",
        sweep_pictures.samples([measured[position] for position in ranks], compared),
        "Samples of runs spread evenly over the ranks of the excess, the worst first, and fresh points of the truth.",
    )
    correlations, sentences = {}, []
    for key, name in (("mmd", "usual"), ("mmd_fine", "finer")):
        correlations[key], sentence = _agreement(record, measured, key, limits[key])
        sentences.append(f"With the {name} kernel {sentence}")
    lowest = min(correlations.values())
    verdict = "Yes, by and large" if lowest > 0.7 else "Only loosely" if lowest > 0.3 else "Not reliably"
    record.answer(
        "Do visually better results have a smaller MMD?",
        f"{verdict}. {'. '.join(sentences)}. The samples in the picture, the worst first, have MMD² "
        + ", ".join(shown(measured[position].mmd) for position in ranks)
        + " with the usual kernel and "
        + ", ".join(shown(measured[position].mmd_fine) for position in ranks)
        + " with the finer one.",
    )


def _agreement(record: Record, runs: Sequence[Run], key: str, limit: float) -> tuple[float, str]:
    """Return the rank correlation of one MMD with the excess, and a sentence about it."""
    from scipy.stats import spearmanr

    pairs = [(one.excess, float(getattr(one, key))) for one in runs]
    above, below = [pair for pair in pairs if pair[1] > limit], [pair for pair in pairs if pair[1] <= limit]
    whole = float(spearmanr(pairs).statistic)
    seen = float(spearmanr(above).statistic) if len(above) > 3 else math.nan
    record.number(
        f"mmd_against_excess.{key}",
        {
            "rank_correlation": whole,
            "rank_correlation_above_limit": seen,
            "above_limit": len(above),
            "below_limit": len(below),
        },
    )
    sentence = f"the rank correlation of MMD² and excess over {len(pairs)} runs is {whole:.2f}"
    if math.isfinite(seen):
        sentence += f" ({seen:.2f} among the {len(above)} runs above the 95 % limit of two real samples)"
    if below:
        excesses = [pair[0] for pair in below]
        sentence += (
            f"; {len(below)} runs lie below that limit, where it sees no difference, while their excess still runs "
            f"from {shown(min(excesses))} to {shown(max(excesses))} nats"
        )
    return whole, sentence


def codes(record: Record, runs: Sequence[Run]) -> None:
    """Say how far the codes of test points are from standard normal."""
    record.heading("Is the code standard normal?")
    named = {"first": "source's first run", "best": "best RealNVP", "ours": "our splines"}
    chosen = {name: of_kind(runs, kind) for kind, name in named.items()}
    rows, parts = [], []
    for (kind, name), ones in zip(named.items(), chosen.values(), strict=True):
        latents = [one.latent for one in ones]
        record.number(f"codes.{kind}", latents)
        p_values = [min(2 * min(each["kolmogorov_p_value"], each["mmd_p_value"]), 1.0) for each in latents]
        farthest = max((value for each in latents for value in each["std"]), key=lambda std: abs(std - 1))
        mean = max(abs(value) for each in latents for value in each["mean"])
        rows.append(
            [
                name,
                mean,
                farthest,
                max((value for each in latents for value in each["skewness"]), key=abs),
                max((value for each in latents for value in each["excess_kurtosis"]), key=abs),
                spread([each["mmd"] for each in latents]),
                spread(p_values),
            ]
        )
        rejected = sum(value <= 0.05 for value in p_values)
        parts.append(
            f"{name}: rejected at the 5 % level for {rejected} of {len(ones)} seeds (standard deviation "
            f"farthest from 1: {farthest:.3f}, largest |mean| {mean:.3f})"
        )
    record.table(
        "Codes of fresh test points; of mean to kurtosis the value farthest from a normal's over dimensions and seeds. "
        "p is the smaller of two tests' (Kolmogorov, MMD to the normal; nulls by simulation, 500 codes), doubled.",
        ["run", "largest |mean|", "standard deviation", "skewness", "excess kurtosis", "MMD² to N(0, I)", "p"],
        rows,
    )
    record.picture(
        "codes",
        sweep_pictures.codes({name: ones[0] for name, ones in chosen.items()}),
        "Codes of 600 test points, with the circles that hold 50 % and 95 % of a standard normal, and their quantiles.",
    )
    record.answer("Is the code distribution standard normal?", ". ".join(parts) + ".")
