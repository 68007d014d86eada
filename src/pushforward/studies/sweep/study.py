"""A systematic study of RealNVP's settings on two moons: effects, importances, and whether MMD sees what eyes see."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pushforward.data import two_moons
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import shown, spread
from pushforward.studies.sweep import answers as sweep_answers
from pushforward.studies.sweep import pictures as sweep_pictures
from pushforward.studies.sweep.cells import FIRST, GOOD, OURS, SETTINGS, VALIDATION_POINTS, Cell, planned, planned_quick
from pushforward.studies.sweep.journal import run_cells
from pushforward.studies.sweep.results import NAMES, Run, described, of_kind, read_runs

TITLE = "RealNVP on two moons: which settings matter, and what the MMD sees"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 1"

JOURNAL = "sweep.journal"
NUM_WORKERS = 2
NUM_RANDOM, NUM_GUIDED = 30, 10
SEEDS_AFTER = 100  # the chosen settings are run again with seeds that had no part in choosing them


def run(record: Record) -> None:
    """Make the runs that the journal does not hold yet, and answer the source's questions from all of them."""
    journal = record.out / JOURNAL
    cells = (
        planned_quick(record.seed)
        if record.quick
        else planned(record.seeds(), num_random=NUM_RANDOM, num_guided=NUM_GUIDED)
    )
    record.say(f"{len(cells)} runs, kept in {journal}")
    num_before = len(read_runs(journal, cells))
    run_cells(journal, cells, 1 if record.quick else NUM_WORKERS, record.say)
    best = min(read_runs(journal, cells), key=lambda one: one.validation)
    more = _chosen_cells(record, best.settings, cells[0])
    run_cells(journal, more, 0 if record.quick else NUM_WORKERS, record.say)
    runs = read_runs(journal, [*cells, *more])
    record.runs += [
        {"label": one.name, "parameters": one.parameters, "steps": one.steps, "seconds": one.seconds} for one in runs
    ]
    entropy = two_moons(1).density.entropy()
    record.text(
        f"{len(runs)} runs, all but ours the source's RealNVP (scale exp(tanh s), fixed random rotations, two hidden "
        "layers, Adam at a constant rate, batches of 128), on two moons with noise 0.1, not standardized. Every run "
        f"validates on the same {VALIDATION_POINTS:,} points, which choose its weights and, later, the best "
        f"settings; its {cells[0].test_points:,} test points are fresh. The exact entropy is {entropy:.4f} nats; "
        "excess is how far the test NLL lies above it, point by point. All trainings together took "
        f"{sum(one.seconds for one in runs):,.0f} s; from the first start to the last end "
        f"{_minutes(runs):.1f} min passed, in {len({one.worker for one in runs})} processes, side by side or one after "
        f"another. {num_before} of {len(cells)} runs were in the journal when this call began."
    )
    _compared(record, runs)
    _effects(record, runs, FIRST if record.quick else GOOD)
    sweep_answers.importances(record, runs)
    limits = sweep_answers.truth_against_truth(record, cells[0].compared)
    sweep_answers.mmd_and_pictures(record, runs, limits, cells[0].compared)
    sweep_answers.codes(record, runs)


def _minutes(runs: Sequence[Run]) -> float:
    return (max(one.ended for one in runs) - min(one.started for one in runs)).total_seconds() / 60


def _chosen_cells(record: Record, settings: Mapping[str, float], like: Cell) -> list[Cell]:
    options: dict[str, Any] = {"test_points": like.test_points, "compared": like.compared}
    ours = {**OURS, "points": 500, "epochs": 2} if record.quick else OURS
    # The best settings are part of the name: what the journal holds of other ones is not theirs.
    best = "best " + " ".join(f"{settings[name]:g}" for name in SETTINGS)
    mine = "quick ours" if record.quick else "ours"
    seeds = [seed + SEEDS_AFTER for seed in record.seeds()]
    return [
        *(Cell(f"{best}, seed {seed}", "best", seed, settings, **options) for seed in seeds),
        *(Cell(f"{mine}, seed {seed}", "ours", seed, ours, recipe="splines", **options) for seed in seeds),
    ]


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
        chosen = of_kind(runs, kind)
        rows.append(
            [
                name,
                described(chosen[0].settings),
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
    first, best, ours = (fmean(one.excess for one in of_kind(runs, kind)) for kind in ("first", "best", "ours"))
    record.answer(
        "How good is the source's first run, and how good can its model become?",
        f"The first run stays {first:.3f} nats above the entropy, the best setting of {len(runs)} runs {best:.4f} "
        f"({described(of_kind(runs, 'best')[0].settings)}). Spline couplings with "
        f"{shown(of_kind(runs, 'ours')[0].settings['points'])} points reach {ours:.4f}: "
        + ("closer than the best RealNVP." if ours < best else "not closer than the best RealNVP."),
    )
    error = max(one.round_trip_error for one in runs)
    record.answer(
        "Is the reverse pass the exact inverse of the forward pass?",
        f"Over all {len(runs)} trained models and fresh points the largest |decode(encode(x)) - x| is {error:.1e}, in "
        "float32.",
    )


def _effects(record: Record, runs: Sequence[Run], centre: Mapping[str, float]) -> None:
    record.heading("The effect of each setting")
    base = of_kind(runs, "centre")
    levels: dict[str, dict[float, list[Run]]] = {}
    rows, verdicts = [], {}
    for setting in SETTINGS:
        found: dict[float, list[Run]] = {centre[setting]: list(base)}
        for one in of_kind(runs, "effect"):
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
        f"One setting changed at a time, the others as in {described(centre)}; excess in nats, mean over seeds "
        "(lowest to highest).",
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
            f"{factor:.1f} for {NAMES[setting]} ({_course(means)}, lowest at {lowest:,g})"
            for setting, (factor, lowest, means) in ordered
            if len(means) > 1
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
