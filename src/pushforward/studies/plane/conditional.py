"""Conditional flows on labelled points: each label against its truth, and all of them merged against a plain flow."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

import torch

from pushforward import metrics
from pushforward.data import Density, ToyData
from pushforward.flows import Flow
from pushforward.studies.kit.levels import one_hot
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import shown, spread
from pushforward.studies.plane import conditional_pictures
from pushforward.studies.plane.conditional_models import (
    QUICK,
    RECIPES,
    TASKS,
    ConditionalQuality,
    Found,
    Plain,
    Size,
    compare,
    file_name,
    judge,
    train,
)
from pushforward.studies.plane.quality import TEST_SEED

TITLE = "Conditional flows: two moons and a hexagon with labels"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 2"

ALIKE = 0.001  # nats; smaller differences of an excess are called equal


def run(record: Record) -> None:
    """Train conditional and plain models on every task, and answer the source's questions."""
    size = QUICK if record.quick else Size()
    record.text(
        f"Every model is trained on {size.train_points:,} points, a tenth of which validate, and measured on "
        f"{size.test_points:,} fresh ones. RealNVP is the source's: eight blocks, two hidden layers of 64, scale "
        "exp(tanh s), fixed random rotations between the blocks, raw data, Adam at a constant 0.001. Splines are ours: "
        "four spline couplings with learned mixing, data standardized inside, half as many steps. The label enters "
        "every network one-hot. The plain model of a recipe has the same layers, widths and steps, and no label."
    )
    plain_flows: dict[tuple[str, str, int], tuple[Flow, Plain]] = {}
    found = {}
    for task in TASKS:
        record.heading(task[0].upper() + task[1:])
        data = {seed: TASKS[task](size.train_points, seed=seed) for seed in record.seeds()}
        for recipe in RECIPES:
            found[task, recipe] = _both_kinds(record, task, recipe, data, size, plain_flows)
        models = {recipe: found[task, recipe] for recipe in RECIPES}
        _tables(record, task, data[record.seed].density, models)
        conditional_pictures.draw(record, task, data[record.seed], models, size)
    record.heading("The source's questions")
    _conditional_answers(record, found)
    _merged_answer(record, found)
    _one_call(record, found[task, "splines"].flow, size)


def _both_kinds(
    record: Record,
    task: str,
    recipe: str,
    data: dict[int, ToyData],
    size: Size,
    plain_flows: dict[tuple[str, str, int], tuple[Flow, Plain]],
) -> Found:
    flows, qualities, plains = [], [], []
    for seed, toy in data.items():
        flows.append(train(record, recipe, toy, size, seed, conditional=True, task=task))
        qualities.append(judge(flows[-1], toy.density, size, seed))
        # Both hexagons have the same points: the plain model does not see the labels.
        key = (task.partition(",")[0], recipe, seed)
        if key not in plain_flows:
            flow = train(record, recipe, toy, size, seed, conditional=False, task=key[0])
            excess = metrics.excess(flow, toy.density, size.test_points, TEST_SEED + seed).mean
            samples = flow.sample(size.compared, generator=torch.Generator().manual_seed(seed))
            plain_flows[key] = (flow, Plain(excess, *compare(samples, toy.density, size, seed)))
        plains.append(plain_flows[key][1])
    name = f"{file_name(task)}.{recipe}"
    record.number(f"{name}.conditional", [asdict(quality) for quality in qualities])
    record.number(f"{name}.plain", [plain._asdict() for plain in plains])
    return Found(qualities, plains, flows[0], plain_flows[task.partition(",")[0], recipe, record.seed][0])


def _tables(record: Record, task: str, density: Density, found: dict[str, Found]) -> None:
    entropy = density.conditional_entropy()
    rows = [
        [
            recipe,
            spread([quality.nll for quality in one.conditional]),
            entropy,
            spread([quality.excess for quality in one.conditional]),
            max(quality.standard_error for quality in one.conditional),
            _inside([label for quality in one.conditional for label in quality.labels]),
            max(quality.round_trip_error for quality in one.conditional),
        ]
        for recipe, one in found.items()
    ]
    record.table(
        f"{task}: p(x | label) on fresh points, nats, mean over seeds (lowest to highest).",
        [
            "model",
            "test NLL",
            "exact entropy",
            "excess",
            "its standard error",
            "MMD² inside the null",
            "round trip error",
        ],
        rows,
    )
    rows = []
    for recipe, one in found.items():
        for label in range(density.num_labels):
            of_label = [quality.labels[label] for quality in one.conditional]
            rows.append(
                [
                    recipe,
                    str(label),
                    spread([quality.mmd for quality in of_label]),
                    spread([quality.mmd_limit for quality in of_label]),
                    _inside(of_label),
                    max(quality.mean for quality in of_label),
                    max((quality.std for quality in of_label), key=lambda std: abs(std - 1)),
                    spread([quality.normal_p_value for quality in of_label]),
                ]
            )
    record.table(
        f"{task}, label by label: generated against fresh points, and the codes of fresh points.",
        ["model", "label", "MMD²", "95 % limit", "inside", "largest |mean| of codes", "farthest std", "normality p"],
        rows,
    )


def _inside(qualities: Sequence[object]) -> str:
    """Return how many of the qualities of labels have an MMD below the limit of its null, in words."""
    return f"{sum(one.mmd <= one.mmd_limit for one in qualities)} of {len(qualities)}"  # type: ignore[attr-defined]


def _conditional_answers(record: Record, found: dict[tuple[str, str], Found]) -> None:
    parts = []
    for recipe in RECIPES:
        excesses = "; ".join(
            f"{task} {spread([quality.excess for quality in found[task, recipe].conditional])}" for task in TASKS
        )
        labels = [label for task in TASKS for one in found[task, recipe].conditional for label in one.labels]
        parts.append(
            f"{recipe}: excess over the exact p(x | y) in nats: {excesses}; MMD² of one label's samples and as "
            f"many fresh points below the 95 % limit of its null in {_inside(labels)} cases"
        )
    record.answer(
        "Evaluated one label at a time, how close are the models to the true conditional distributions?",
        ". ".join(parts)
        + ". Perfect samples would be below the limit in 95 of 100 cases. "
        + _target_sentence({task: found[task, "splines"].conditional for task in TASKS}),
    )
    normal = []
    for recipe in RECIPES:
        labels = [label for task in TASKS for one in found[task, recipe].conditional for label in one.labels]
        rejected = sum(label.normal_p_value <= 0.05 for label in labels)
        farthest = max((label.std for label in labels), key=lambda std: abs(std - 1))
        normal.append(
            f"{recipe}: normality of the codes of one label is rejected at the 5 % level in {rejected} of "
            f"{len(labels)} cases, largest |mean| {shown(max(label.mean for label in labels))}, the standard "
            f"deviation farthest from 1 is {shown(farthest)}"
        )
    record.answer(
        "Given the label, are the codes of test points standard normal?",
        ". ".join(normal) + ". The tests see 500 codes each, with nulls by simulation.",
    )
    errors = {
        recipe: max(one.round_trip_error for task in TASKS for one in found[task, recipe].conditional)
        for recipe in RECIPES
    }
    everything = all(one.verified for entry in found.values() for one in entry.conditional)
    record.answer(
        "Is the reverse pass the exact inverse of the forward pass, with a condition?",
        "In float32 the largest |inverse(forward(x)) - x| of all trained models is "
        + ", ".join(f"{error:.1e} ({recipe})" for recipe, error in errors.items())
        + (
            "; round trip and log-determinant agree with the automatic Jacobian within rounding for every one of them."
            if everything
            else "; for at least one model the check found an error beyond what rounding explains."
        ),
    )


def _target_sentence(qualities: dict[str, list[ConditionalQuality]]) -> str:
    missed = [task for task, ones in qualities.items() if max(one.excess for one in ones) > 0.01]
    if missed:
        return f"With splines, not every seed stays within 0.01 nats on {' and '.join(missed)}."
    return "With splines every seed stays within 0.01 nats on every task."


def _merged_answer(record: Record, found: dict[tuple[str, str], Found]) -> None:
    rows, better, worse, equal = [], [], [], []
    for (task, recipe), one in found.items():
        differences = [
            plain.excess - quality.marginal_excess for plain, quality in zip(one.plain, one.conditional, strict=True)
        ]
        name = f"{recipe} on {task} ({shown(fmean(differences))})"
        if min(differences) > ALIKE:
            better.append(name)
        elif max(differences) < -ALIKE:
            worse.append(name)
        else:
            equal.append(name)
        rows.append(
            [
                task,
                recipe,
                spread([quality.marginal_excess for quality in one.conditional]),
                spread([plain.excess for plain in one.plain]),
                spread([quality.mmd for quality in one.conditional]),
                spread([plain.mmd for plain in one.plain]),
                spread([plain.mmd_limit for plain in one.plain]),
                f"{_inside(one.conditional)} / {_inside(one.plain)}",
            ]
        )
    record.table(
        "p(x): the conditional model merged over its labels against the plain model; nats, mean over seeds (lowest to "
        "highest).",
        [
            "task",
            "model",
            "excess, merged",
            "excess, plain",
            "MMD², merged",
            "MMD², plain",
            "95 % limit",
            "inside, merged / plain",
        ],
        rows,
    )
    told_apart = sum(
        (quality.mmd > quality.mmd_limit) != (plain.mmd > plain.mmd_limit)
        for one in found.values()
        for quality, plain in zip(one.conditional, one.plain, strict=True)
    )
    num_pairs = sum(len(one.plain) for one in found.values())
    parts = [
        f"{verdict} for {', '.join(names)}"
        for verdict, names in (("better", better), ("worse", worse), ("no clear difference", equal))
        if names
    ]
    record.answer(
        "Merged over the labels, is the conditional model better or worse than the plain one?",
        "By the excess of p(x), plain minus merged in nats, every seed agreeing where a side is named: "
        + "; ".join(parts)
        + f". MMD² puts the two on different sides of its 95 % limit in {told_apart} of {num_pairs} pairs.",
    )


def _one_call(record: Record, flow: Flow, size: Size) -> None:
    generator = torch.Generator().manual_seed(record.seed)
    labels = torch.randint(flow.context_features, (size.conditions,), generator=generator)
    conditions, num_samples = one_hot(labels, flow.context_features), 100
    flow.sample(num_samples, conditions[: size.looped], generator=generator)  # the first call is slower than the rest
    started = time.perf_counter()
    x = flow.sample(num_samples, conditions, generator=generator)
    at_once = time.perf_counter() - started
    started = time.perf_counter()
    for condition in conditions[: size.looped]:
        flow.sample(num_samples, condition, generator=generator)
    looped = (time.perf_counter() - started) / size.looped * size.conditions
    record.number(
        "one_call",
        {
            "conditions": size.conditions,
            "samples_each": num_samples,
            "seconds": at_once,
            "seconds_of_loop_extrapolated": looped,
            "conditions_looped": size.looped,
        },
    )
    record.answer(
        "Does sample(num_samples, conditions) work for many conditions at once?",
        f"Yes: {size.conditions:,} conditions with {num_samples} samples each come as one tensor "
        f"{tuple(x.shape)} in {at_once:.2f} s. A Python loop would take {looped:.1f} s, extrapolated from "
        f"{size.looped:,} conditions: "
        + (f"{looped / at_once:.1f} times as long." if looped > at_once else "no longer than the one call."),
    )
