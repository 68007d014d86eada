"""A systematic study of RealNVP's settings on two moons: effects, importances, and whether MMD sees what eyes see."""

from collections.abc import Sequence

from pushforward.data import two_moons
from pushforward.studies.kit import Record
from pushforward.studies.kit.cells import Found, complete
from pushforward.studies.kit.tables import Columns, largest, mean, shown, spread, values
from pushforward.studies.sweep import mmd, search, sweep_figures
from pushforward.studies.sweep.moons_run import VALIDATION_POINTS, MoonsRun, Settings
from pushforward.studies.sweep.plan import SETTINGS, SweepPlan, described

TITLE = "RealNVP on two moons: which settings matter, and what the MMD sees"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 1"

AT_ONCE = 2  # cells of the guided search that are chosen from the same runs, whatever the number of processes
SEEDS_AFTER = 100  # chosen settings are run again with seeds that had no part in choosing them


def run(record: Record) -> None:
    """Make the runs that the folder does not hold yet, and answer the source's questions from all of them."""
    plan = SweepPlan(record)
    runs = _runs(record, plan)
    record.text(
        f"{len(runs)} runs, all but ours the source's RealNVP (scale exp(tanh s), fixed random rotations, two hidden "
        "layers, Adam at a constant rate, batches of 128), on two moons with noise 0.1, not standardized. Every run "
        f"validates on the same {VALIDATION_POINTS:,} points, which choose its weights and, later, the best "
        f"settings; its {plan.test_points:,} test points are fresh. The exact entropy is "
        f"{two_moons(1).density.entropy():.4f} nats; excess is how far the test NLL lies above it, point by point. All "
        f"trainings together took {sum(values(runs, 'seconds')):,.0f} s of one thread, two at a time; those of an "
        "earlier call of the study are kept."
    )
    _compare(record, runs)
    _effects(record, runs, plan.centre)
    _importances(record, of_kind(runs, "random", "guided"))
    mmd.does_it_tell(record, runs, plan.compared)
    _codes(record, runs)


def of_kind(runs: Sequence[Found], *kinds: str) -> list[Found]:
    """Return the runs of these kinds."""
    return [one for one in runs if one.cell.kind in kinds]


def _runs(record: Record, plan: SweepPlan) -> list[Found]:
    """Make every run of the plan; those that diverge are left out."""

    def made(cells: Sequence[MoonsRun]) -> list[Found]:
        return [one for one in complete(record, cells) if not hasattr(one, "failure")]

    runs, seeds = made(plan.known(record.seeds())), range(record.seed, record.seed + plan.num_guided)
    for some in (seeds[first : first + AT_ONCE] for first in range(0, len(seeds), AT_ONCE)):
        runs += made([plan.cell("guided", seed, search.suggested(runs, seed, plan.most)) for seed in some])
    best = min(runs, key=lambda one: one.validation).cell.settings
    chosen = (("best", best), ("ours", plan.ours))
    return runs + made(
        [plan.cell(kind, SEEDS_AFTER + seed, settings) for kind, settings in chosen for seed in record.seeds()]
    )


def _compare(record: Record, runs: Sequence[Found]) -> None:
    record.heading("The source's first run, the best of the sweep, and our recipe")
    names = {
        "first": "the source's first run",
        "centre": "a good setting",
        "best": "the best setting, run again",
        "ours": "our spline couplings",
    }
    chosen = {kind: of_kind(runs, kind) for kind in names}
    columns: Columns = (
        ("settings", lambda ones: described(ones[0].cell.settings)),
        ("test NLL", "nll"),
        ("excess", "excess"),
        ("its standard error", largest("standard_error")),
        ("MMD²", "mmd"),
        ("seconds", "seconds"),
    )
    for kind, ones in chosen.items():
        kept = ("nll", "excess", "standard_error", "mmd", "seconds", "parameters", "round_trip_error")
        numbers = {"settings": ones[0].cell.settings, **{key: values(ones, key) for key in kept}}
        record.number(f"compared.{kind}", numbers)
    record.scores(
        "Nats, mean over seeds (lowest to highest). The best settings are those of the lowest validation NLL of all "
        "runs, trained again with other seeds.",
        "run",
        columns,
        {name: chosen[kind] for kind, name in names.items()},
    )
    first, best, ours = (mean(chosen[kind], "excess") for kind in ("first", "best", "ours"))
    record.answer(
        "How good is the source's first run, and how good can its model become?",
        f"The first run stays {first:.3f} nats above the entropy, the best setting of {len(runs)} runs {best:.4f} "
        f"({described(chosen['best'][0].cell.settings)}). Spline couplings with "
        f"{shown(chosen['ours'][0].cell.settings['points'])} points reach {ours:.4f}: "
        f"{'closer' if ours < best else 'not closer'} than the best RealNVP.",
    )
    record.answer(
        "Is the reverse pass the exact inverse of the forward pass?",
        f"Over all {len(runs)} trained models and fresh points the largest |decode(encode(x)) - x| is "
        f"{max(values(runs, 'round_trip_error')):.1e}, in float32.",
    )


def _effects(record: Record, runs: Sequence[Found], centre: Settings) -> None:
    record.heading("The effect of each setting")
    levels: dict[str, dict[float, list[Found]]] = {}
    for name in SETTINGS:
        found: dict[float, list[Found]] = {}
        for one in of_kind(runs, "centre", "effect"):
            if one.cell.changed in ("", name):
                found.setdefault(one.cell.settings[name], []).append(one)
        levels[name] = dict(sorted(found.items()))
        record.number(f"effects.{name}", {f"{level:g}": values(ones, "excess") for level, ones in levels[name].items()})
    record.scores(
        f"One setting changed at a time, the others as in {described(centre)}; excess in nats, mean over seeds "
        "(lowest to highest).",
        ("setting", "value"),
        (("excess", "excess"), ("MMD²", "mmd"), ("seconds", "seconds")),
        {(SETTINGS[name].name, f"{level:g}"): ones for name, found in levels.items() for level, ones in found.items()},
    )
    record.picture(
        "effects",
        sweep_figures.effects(levels, centre),
        "Excess against each setting, one dot a seed; the dotted line marks the value that the others are changed at. "
        "The last panel has all these runs against their training time.",
    )
    sentences = {}
    for name, found in levels.items():
        means = {level: mean(ones, "excess") for level, ones in found.items()}
        factor, lowest = max(means.values()) / max(min(means.values()), 1e-6), min(means, key=means.__getitem__)
        if len(means) > 1:
            course = _course(list(means.values()))
            sentences[f"{factor:.1f} for {SETTINGS[name].name} ({course}, lowest at {lowest:,g})"] = factor
    record.answer(
        "What is the effect of the hyperparameters on the quality?",
        "From worst to best value the mean excess falls by a factor of "
        + ", ".join(sorted(sentences, key=sentences.__getitem__, reverse=True))
        + ". Weights are those of the best validation loss, so more epochs can do no harm by overfitting.",
    )


def _course(means: Sequence[float]) -> str:
    """Say whether the excess falls with the setting throughout, rises throughout, or has a best value inside."""
    falls = [after < before for before, after in zip(means, means[1:], strict=False)]
    if all(falls):
        return "more is better throughout"
    if not any(falls):
        return "less is better throughout"
    return "best in between" if 0 < means.index(min(means)) < len(means) - 1 else "not steadily"


def _importances(record: Record, runs: Sequence[Found]) -> None:
    shares = search.importances(runs, record.seed)
    record.number("importances", shares)
    record.picture(
        "importances",
        sweep_figures.importance_bars(shares),
        f"Importance of each setting over {len(runs)} runs whose settings were drawn at random or by the guided "
        "search, by functional analysis of variance of a random forest.",
    )
    record.answer(
        "Which setting matters most when all are varied at once?",
        "By the share of the variance of log excess: "
        + ", ".join(f"{SETTINGS[name].name} {share:.2f}" for name, share in shares.items())
        + f" ({len(runs)} runs, so read the order of near neighbours with care).",
    )


def _codes(record: Record, runs: Sequence[Found]) -> None:
    """Say how far the codes of test points are from standard normal."""
    record.heading("Is the code standard normal?")
    names = {"first": "source's first run", "best": "best RealNVP", "ours": "our splines"}
    chosen = {name: of_kind(runs, kind) for kind, name in names.items()}
    rows, sentences = [], []
    for kind, name in names.items():
        latents = [one.latent for one in chosen[name]]
        record.number(f"codes.{kind}", latents)
        moments = {
            moment: max((value for latent in latents for value in latent[moment]), key=lambda v: abs(v - normal))
            for moment, normal in (("mean", 0), ("std", 1), ("skewness", 0), ("excess_kurtosis", 0))
        }
        p_values = [min(2 * min(one["kolmogorov_p_value"], one["mmd_p_value"]), 1.0) for one in latents]
        largest_mean = abs(moments.pop("mean"))
        rows.append([name, largest_mean, *moments.values(), spread([one["mmd"] for one in latents]), spread(p_values)])
        sentences.append(
            f"{name}: rejected at the 5 % level for {sum(p <= 0.05 for p in p_values)} of {len(latents)} seeds "
            f"(standard deviation farthest from 1: {moments['std']:.3f}, largest |mean| {largest_mean:.3f})"
        )
    record.table(
        "Codes of fresh test points; of mean to kurtosis the value farthest from a normal's over dimensions and seeds. "
        "p is the smaller of two tests' (Kolmogorov, MMD to the normal; nulls by simulation, 500 codes), doubled.",
        ["run", "largest |mean|", "standard deviation", "skewness", "excess kurtosis", "MMD² to N(0, I)", "p"],
        rows,
    )
    record.picture(
        "codes",
        sweep_figures.codes_and_quantiles({name: ones[0] for name, ones in chosen.items()}),
        "Codes of 600 test points, with the circles that hold 50 % and 95 % of a standard normal, and their quantiles.",
    )
    record.answer("Is the code distribution standard normal?", ". ".join(sentences) + ".")
