"""Digits given their label: does a forest trained on real digits see the label asked for, and how surely?"""

import math
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.flows.dequantization import dequantized
from pushforward.studies.digits import codes as digit_codes
from pushforward.studies.digits import conditional_bottleneck as conditional_schemes
from pushforward.studies.digits import images_for_labels as digit_images
from pushforward.studies.digits import models as digit_models
from pushforward.studies.digits.gaussians import LabelGaussians
from pushforward.studies.digits.models import (
    MANY,
    NUM_LABELS,
    Task,
    at_most,
    less_or_more,
    one_hot,
)
from pushforward.studies.digits.quality import Judge
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit import pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread

TITLE = "Digits given their label"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 4"

Models = dict[str, dict[int, Any]]  # by kind and seed


def run(record: Record) -> None:
    """Train conditional flows from several seeds; judge their codes, images and bottlenecks label by label."""
    data = digit_models.load(record)
    models: Models = {
        key: {
            seed: digit_models.train(record, f"{key}, seed {seed}", data.recipes[key], data, seed, conditional=True)
            for seed in record.seeds()
        }
        for key in ("source", "ours")
    }
    compare(record, data, Judge(data, quick=record.quick), models)


def compare(record: Record, data: Task, judge: Judge, models: Models) -> None:
    """Judge conditional flows, "source" and "ours", by kind and seed, beside Gaussians; then train bottlenecks."""
    models = models | {"gaussians": {seed: _label_gaussians(data, seed) for seed in models["ours"]}}
    _likelihood(record, data, models)
    _codes(record, data, models)
    digit_images.judged_images(record, data, judge, models)
    conditional_schemes.bottlenecks(record, data, judge)


def _label_gaussians(data: Task, seed: int) -> LabelGaussians:
    return LabelGaussians(dequantized(data.train.x, torch.Generator().manual_seed(seed)), data.train.labels)


def _likelihood(record: Record, data: Task, models: Models) -> None:
    record.heading("Likelihood given the label")
    rows = []
    means: dict[str, float] = {}
    recognised: dict[str, list[float]] = {}
    for key, name in digit_images.names_of(data).items():
        scores = [digit_models.held_out_nll(model, data.test, data.levels) for model in models[key].values()]
        marginals, recognised[key] = [], []
        for seed, model in models[key].items():
            by_label = _log_prob_by_label(model, data.test.x, seed)
            marginals.append(math.log(NUM_LABELS) - by_label.logsumexp(1).mean().item())
            recognised[key].append((by_label.argmax(1) == data.test.labels).double().mean().item())
        nats = [score.mean for score in scores]
        means[key] = sum(nats) / len(nats)
        rows.append(
            [
                name,
                spread(nats),
                scores[0].standard_error,
                spread([digit_models.bits(value) for value in nats]),
                spread([digit_models.bits(value) for value in marginals]),
                spread(recognised[key]),
            ]
        )
        record.number(
            f"test.{key}",
            {
                "nll": nats,
                "standard_error": [score.standard_error for score in scores],
                "bits_per_dim": [digit_models.bits(value) for value in nats],
                "marginal_nll": marginals,
                "recognised": recognised[key],
            },
        )
    record.table(
        "Test images: NLL given the label, mean (lowest to highest) over the seeds, with the standard error of one "
        "seed; bits/dim of the same and of the mixture of all labels, which is a model of images without labels; and "
        "the share of test images whose label is the one that makes them most probable.",
        ["model", "NLL given the label (nats)", "standard error", "bits/dim", "bits/dim, mixture", "recognised"],
        rows,
    )
    record.answer(
        "Does the flow beat simple densities given the label?",
        f"The NLL of ours is {less_or_more(means['gaussians'] - means['ours'])} than that of one Gaussian a label and "
        f"{less_or_more(means['source'] - means['ours'])} than that of the source's flow. By Bayes' rule it recognises "
        f"{100 * fmean(recognised['ours']):.1f} % of the test images.",
    )


@torch.no_grad()
def _log_prob_by_label(model: Any, x: Tensor, seed: int) -> Tensor:
    """Return log p(x | label) of dequantized images for every label, (n, labels)."""
    x = dequantized(x, torch.Generator().manual_seed(seed))
    labels = [torch.full((len(x),), label) for label in range(NUM_LABELS)]
    return torch.stack([model.log_prob(x, one_hot(label)).double() for label in labels], 1)


def _codes(record: Record, data: Task, models: Models) -> None:
    record.heading("Is the code standard normal, label by label?")
    z = {seed: digit_codes.encoded(flow, data.test, seed) for seed, flow in models["ours"].items()}
    groups: list[tuple[str, Tensor]] = [(str(label), data.test.labels == label) for label in range(NUM_LABELS)]
    groups.append(("all", torch.ones(len(data.test.labels), dtype=torch.bool)))
    rows, rejected, radii = [], [], []
    for name, chosen in groups:
        found = [metrics.latent_normality(codes[chosen], seed=seed) for seed, codes in z.items()]
        record.number(f"codes.{name}", [digit_codes.normality(one) for one in found])
        rows.append([name, int(chosen.sum()), *digit_codes.normality_cells(found)])
        if name != "all":
            rejected += [one.kolmogorov_p_value <= 0.05 for one in found]
            radii.append(fmean([digit_codes.mean_square_radius(one) for one in found]))
    record.table(
        "Our flow. " + digit_codes.NORMALITY_NOTE,
        ["label", "images", *digit_codes.NORMALITY_HEADER],
        rows,
    )
    record.answer(
        "Are the codes standard normal for every label?",
        f"{sum(rejected)} of {len(rejected)} tests (labels and seeds, {int(groups[0][1].sum())} images or so each) "
        f"reject it at 5 %, {0.05 * len(rejected):.1f} would by chance. The mean of |z|²/64 lies between "
        f"{min(radii):.2f} and {max(radii):.2f} over the labels.",
    )
    seed = record.seed
    figure, panels = pictures.board(5, 2, size=2.4)
    for label, axes in enumerate(panels):
        chosen = data.test.labels == label
        shown = slice(digit_codes.SHOWN // NUM_LABELS)
        digit_pictures.codes(axes, z[seed][chosen][shown, :2], data.test.labels[chosen][shown], ("$z_1$", "$z_2$"))
    record.picture(
        "codes-by-label",
        figure,
        "The first two code dimensions of the test images of each label, given that label, by our flow; circles of "
        "radius 1 and 2.",
    )
    seen = at_most(data.train, MANY)
    train_z = digit_codes.encoded(models["ours"][seed], seen, seed)
    record.picture(
        "projections",
        digit_codes.projections(z[seed], data.test.labels, train_z, seen.labels, seed),
        "Codes of test images of all labels on six planes. The flow was told the label, so the code need not hold it: "
        "the less the labels part, the better it used what it was told.",
    )
