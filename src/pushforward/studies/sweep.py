"""A systematic study of RealNVP's settings on two moons: effects, importances, and whether MMD sees what eyes see."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from pushforward import metrics
from pushforward.data import two_moons
from pushforward.studies import sweep_pictures
from pushforward.studies.record import Record, shown, spread
from pushforward.studies.sweep_cells import FIRST, GOOD, OURS, SETTINGS, Cell, planned, planned_quick, truth
from pushforward.studies.sweep_journal import finished, open_journal, run_cells
from pushforward.studies.sweep_pictures import NAMES

TITLE = "RealNVP on two moons: which settings matter, and what the MMD sees"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 1"

JOURNAL = "sweep.journal"
NUM_WORKERS = 2
NUM_RANDOM, NUM_GUIDED = 36, 12
SEEDS_AFTER = 100  # the chosen settings are run again with seeds that had no part in choosing them


@dataclass(frozen=True)
class Run:
    """A finished run, as the report needs it."""

    name: str
    kind: str
    setting: str
    settings: Mapping[str, float]
    validation: float
    steps: int
    seconds: float
    parameters: int
    nll: float
    excess: float
    standard_error: float
    mmd: float | None
    round_trip_error: float
    latent: Mapping[str, Any]
    samples: list[list[float]]
    codes: list[list[float]]

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Run":
        """Read a run off its trial in the journal."""
        attributes = trial.user_attrs
        assert trial.value is not None
        return cls(
            attributes["name"],
            attributes["kind"],
            attributes["setting"],
            dict(trial.params),
            trial.value,
            **attributes["measured"],
        )


def run(record: Record) -> None:
    """Make the runs that the journal does not hold yet, and answer the source's questions from all of them."""
    journal = record.out / JOURNAL
    cells = (
        planned_quick(record.seed)
        if record.quick
        else planned(record.seeds(), num_random=NUM_RANDOM, num_guided=NUM_GUIDED)
    )
    record.say(f"{len(cells)} runs, kept in {journal}")
    run_cells(journal, cells, 1 if record.quick else NUM_WORKERS, record.say)
    best = min(_runs(journal, cells), key=lambda one: one.validation)
    more = _chosen_cells(record, best.settings, cells[0])
    run_cells(journal, more, 0 if record.quick else NUM_WORKERS, record.say)
    runs = _runs(journal, [*cells, *more])
    record.runs += [
        {"label": one.name, "parameters": one.parameters, "steps": one.steps, "seconds": one.seconds} for one in runs
    ]
    entropy = two_moons(1).density.entropy()
    record.text(
        f"{len(runs)} runs of the source's RealNVP (scale exp(tanh s), fixed random rotations, two hidden layers, Adam at "
        "a constant rate, batches of 128) on two moons with noise 0.1, not standardized. Every run validates on the same "
        f"2,000 points, which choose its weights and, later, the best settings; its test points are fresh. The exact "
        f"entropy is {entropy:.4f} nats; excess is how far the test NLL lies above it, point by point."
    )
    _compared(record, runs)
    _effects(record, runs, FIRST if record.quick else GOOD)
    _importances(record, runs)
    limit = _truth_against_truth(record, cells[0].compared)
    _mmd_and_pictures(record, runs, limit, cells[0].compared)
    _codes(record, runs)


def _chosen_cells(record: Record, settings: Mapping[str, float], like: Cell) -> list[Cell]:
    options: dict[str, Any] = {"test_points": like.test_points, "compared": like.compared}
    ours = {**OURS, "points": 500, "epochs": 2} if record.quick else OURS
    seeds = [seed + SEEDS_AFTER for seed in record.seeds()]
    best = [Cell(f"best, seed {seed}", "best", seed, settings, **options) for seed in seeds]
    return best + [Cell(f"ours, seed {seed}", "ours", seed, ours, recipe="splines", **options) for seed in seeds]


def _runs(journal: Any, cells: Sequence[Cell]) -> list[Run]:
    """Return the finished runs of these cells, and of no others that the journal may hold."""
    trials = {trial.user_attrs.get("name"): trial for trial in finished(open_journal(journal))}
    return [Run.of(trials[cell.name]) for cell in cells if cell.name in trials]


def _of_kind(runs: Sequence[Run], *kinds: str) -> list[Run]:
    return [one for one in runs if one.kind in kinds]


def _described(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{NAMES[name]} {shown(settings[name])}" for name in SETTINGS)


def _compared(record: Record, runs: Sequence[Run]) -> None:
    record.heading("The source's first run, the best of the sweep, and our recipe")
    rows = []
    named = {
        "first": "the source's first run",
        "centre": "a good setting",
        "best": "the best setting, run again",
        "ours": "our spline couplings",
    }
    for kind, name in named.items():
        chosen = _of_kind(runs, kind)
        rows.append(
            [
                name,
                _described(chosen[0].settings),
                spread([one.nll for one in chosen]),
                spread([one.excess for one in chosen]),
                max(one.standard_error for one in chosen),
                spread([one.mmd for one in chosen if one.mmd is not None]),
                spread([one.seconds for one in chosen]),
            ]
        )
        record.number(
            f"compared.{kind}",
            {
                "settings": chosen[0].settings,
                **{
                    key: [getattr(one, key) for one in chosen]
                    for key in ("nll", "excess", "standard_error", "mmd", "seconds", "parameters", "round_trip_error")
                },
            },
        )
    record.table(
        "Nats, mean over seeds (lowest to highest). The best settings are those of the lowest validation NLL of all "
        "runs, trained again with other seeds.",
        ["run", "settings", "test NLL", "excess", "its standard error", "MMD²", "seconds"],
        rows,
    )
    first, best, ours = (fmean(one.excess for one in _of_kind(runs, kind)) for kind in ("first", "best", "ours"))
    record.answer(
        "How good is the source's first run, and how good can its model become?",
        f"The first run stays {first:.3f} nats above the entropy, the best setting of {len(runs)} runs {best:.4f} "
        f"({_described(_of_kind(runs, 'best')[0].settings)}). Spline couplings with {OURS['points']:,} points reach "
        f"{ours:.4f}: " + ("closer than the best RealNVP." if ours < best else "not closer than the best RealNVP."),
    )
    error = max(one.round_trip_error for one in runs)
    record.answer(
        "Is the reverse pass the exact inverse of the forward pass?",
        f"Over all {len(runs)} trained models and {shown(len(truth(2_000)[0]))} test points, the largest "
        f"|decode(encode(x)) - x| is {error:.1e} in float32.",
    )


def _effects(record: Record, runs: Sequence[Run], centre: Mapping[str, float]) -> None:
    record.heading("The effect of each setting")
    base = _of_kind(runs, "centre")
    levels: dict[str, dict[float, list[Run]]] = {}
    rows, verdicts = [], {}
    for setting in SETTINGS:
        found: dict[float, list[Run]] = {centre[setting]: list(base)}
        for one in _of_kind(runs, "effect"):
            if one.setting == setting:
                found.setdefault(one.settings[setting], []).append(one)
        levels[setting] = dict(sorted(found.items()))
        means = {level: fmean(one.excess for one in ones) for level, ones in levels[setting].items()}
        for level, ones in levels[setting].items():
            rows.append(
                [
                    NAMES[setting],
                    f"{level:g}",
                    spread([one.excess for one in ones]),
                    spread([one.mmd for one in ones if one.mmd is not None]),
                    spread([one.seconds for one in ones]),
                ]
            )
        record.number(
            f"effects.{setting}",
            {f"{level:g}": [one.excess for one in ones] for level, ones in levels[setting].items()},
        )
        lowest = min(means, key=lambda level: means[level])
        verdicts[setting] = (max(means.values()) / max(min(means.values()), 1e-6), lowest, means)
    record.table(
        f"One setting changed at a time, the others as in {_described(centre)}; excess in nats, mean over seeds (lowest "
        "to highest).",
        ["setting", "value", "excess", "MMD²", "seconds"],
        rows,
    )
    record.picture(
        "effects",
        sweep_pictures.effects(levels, centre),
        "Excess against each setting, one dot a seed; the dotted line marks the value that the others are changed at. "
        "The last panel has all these runs against their training time.",
    )
    ordered = sorted(verdicts.items(), key=lambda item: -item[1][0])
    record.answer(
        "What is the effect of the hyperparameters on the quality?",
        "From worst to best value the mean excess falls by a factor of "
        + ", ".join(
            f"{factor:.1f} for {NAMES[setting]} ({_course(means)}, lowest at {lowest:g})"
            for setting, (factor, lowest, means) in ordered
        )
        + ". Weights are those of the best validation loss, so more epochs can do no harm by overfitting.",
    )


def _course(means: Mapping[float, float]) -> str:
    """Say whether the excess falls with the setting throughout, rises throughout, or has a best value inside."""
    values = list(means.values())
    if len(values) < 2:
        return "one value"
    steps = [after - before for before, after in zip(values, values[1:], strict=False)]
    if all(step < 0 for step in steps):
        return "more is better throughout"
    if all(step > 0 for step in steps):
        return "less is better throughout"
    if 0 < values.index(min(values)) < len(values) - 1:
        return "best in between"
    return "not steadily"


def _importances(record: Record, runs: Sequence[Run]) -> None:
    searched = _of_kind(runs, "random", "guided")
    study = optuna.create_study()
    ranges = {
        name: (min(one.settings[name] for one in searched), max(one.settings[name] for one in searched))
        for name in SETTINGS
    }
    distributions = {
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


def _truth_against_truth(record: Record, compared: int) -> float:
    """Return the 95 % limit of the MMD of two real samples; show it beside repeated draws."""
    record.heading("Is a smaller MMD a better picture?")
    fresh, other, bandwidth = truth(compared)
    test = metrics.mmd_null(fresh, other, bandwidth=bandwidth, num_permutations=20 if record.quick else 200)
    limit = test.null.quantile(0.95).item()
    density = two_moons(1).density
    repeated = [
        metrics.mmd(fresh, density.sample(compared, 5_000_000 + number), bandwidth=bandwidth)
        for number in range(3 if record.quick else 20)
    ]
    record.number(
        "truth_against_truth",
        {"bandwidth": bandwidth, "limit": limit, "mmd": repeated, "null_std": test.null.std(), "points": compared},
    )
    record.text(
        f"All MMDs are unbiased, with one fixed kernel width of {bandwidth:.3f}, between {compared:,} generated and as "
        f"many fresh points. {len(repeated)} pairs of real samples give {spread(repeated)}; the permutation null of two "
        f"real samples has its 95 % limit at {limit:.5f}."
    )
    return limit


def _mmd_and_pictures(record: Record, runs: Sequence[Run], limit: float, compared: int) -> None:
    from scipy.stats import spearmanr

    measured = [one for one in runs if one.mmd is not None]
    excesses, mmds = [one.excess for one in measured], [one.mmd for one in measured]
    above = [one for one in measured if one.mmd is not None and one.mmd > limit]
    below = [one for one in measured if one.mmd is not None and one.mmd <= limit]
    whole = float(spearmanr(excesses, mmds).statistic)
    seen = (
        float(spearmanr([one.excess for one in above], [one.mmd for one in above]).statistic)
        if len(above) > 3
        else math.nan
    )
    record.number(
        "mmd_against_excess",
        {
            "rank_correlation": whole,
            "rank_correlation_above_limit": seen,
            "above_limit": len(above),
            "below_limit": len(below),
        },
    )
    record.picture(
        "mmd-against-excess",
        sweep_pictures.mmd_against_excess(measured, limit, floor=limit / 30),
        f"MMD² against excess, {len(measured)} runs.",
    )
    ranks = sweep_pictures.spread_over(excesses, 3 if record.quick else 7)
    record.picture(
        "samples",
        sweep_pictures.samples([measured[position] for position in ranks], compared),
        "Samples of runs spread evenly over the ranks of the excess, the worst first, and fresh points of the truth.",
    )
    verdict = "Yes, by and large" if whole > 0.7 else "Only loosely" if whole > 0.3 else "No"
    tail = (
        f"{len(below)} runs lie below the 95 % limit of two real samples: there the MMD sees no difference, while their "
        f"excess still runs from {shown(min(one.excess for one in below))} to {shown(max(one.excess for one in below))} "
        "nats."
        if below
        else "No run lies below the 95 % limit of two real samples."
    )
    record.answer(
        "Do visually better results have a smaller MMD?",
        f"{verdict}: over {len(measured)} runs the rank correlation of MMD² and excess is {whole:.2f}"
        + (f", and {seen:.2f} among the {len(above)} runs above the limit" if math.isfinite(seen) else "")
        + f". {tail} The samples, in the order of their excess, have MMD² "
        + ", ".join(shown(measured[position].mmd) for position in ranks)
        + ".",
    )


def _codes(record: Record, runs: Sequence[Run]) -> None:
    record.heading("Is the code standard normal?")
    named = {"first": "source's first run", "best": "best RealNVP", "ours": "our splines"}
    chosen = {name: _of_kind(runs, kind) for kind, name in named.items()}
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
        "Codes of fresh test points; of mean to kurtosis the value farthest from a normal's over dimensions and seeds. p "
        "is the smaller of two tests' (Kolmogorov, MMD to the normal; nulls by simulation, 500 codes), doubled.",
        ["run", "largest |mean|", "standard deviation", "skewness", "excess kurtosis", "MMD² to N(0, I)", "p"],
        rows,
    )
    record.picture(
        "codes",
        sweep_pictures.codes({name: ones[0] for name, ones in chosen.items()}),
        "Codes of 600 test points, with the circles that hold 50 % and 95 % of a standard normal, and their quantiles.",
    )
    record.answer("Is the code distribution standard normal?", ". ".join(parts) + ".")
