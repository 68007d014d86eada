"""Additive coupling on MNIST: likelihood, samples, what each layer does, and paths between digits."""

from dataclasses import asdict

import torch
from torch import Tensor

from pushforward.data.digits import Digits
from pushforward.errors import RunError
from pushforward.flows import Flow
from pushforward.flows.latent_path import LatentPath, latent_path
from pushforward.studies.kit import pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.mnist import pictures as mnist_pictures
from pushforward.studies.mnist.additive_models import (
    LEADING,
    NUM_COMPONENTS,
    NUM_COUPLINGS,
    NUM_LAYERS,
    layer_names,
    our_additive,
    source_additive,
)
from pushforward.studies.mnist.classifier import SURE, Judge, Verdict, accuracy, trained_judge, verdict
from pushforward.studies.mnist.masked import (
    VERDICT_HEADER,
    VERDICT_NOTE,
    Trained,
    drawn,
    score_table,
    trained,
    verdict_row,
)
from pushforward.studies.mnist.models import Recipe, load, to_levels, train
from pushforward.studies.mnist.scores import baselines, likelihood

TITLE = "Additive coupling on MNIST, and what its latents do"
SOURCE = "an exercise sheet on deep generative models (exercise 6: normalizing flows)"

SECONDS = 600.0  # of each training
RECIPES = {
    "source": Recipe(
        source_additive,
        SECONDS,
        {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 128, "clip_norm": None},
    ),
    "ours": Recipe(our_additive, SECONDS, {"learning_rate": 2e-3, "optimizer": "adamw", "batch_size": 256}),
}
NAMES = {"source": "source, halves of the image", "ours": "ours, the digit before its details"}
START = "ours before training: the mixtures alone"
TEMPERATURES = (1.0, 0.8, 0.7, 0.6)
NUM_POINTS = 10
MOST_ERROR = 0.5  # of a path's ends, levels: beyond it a pixel would change
KINDS = ("straight", "spherical")


def run(record: Record) -> None:
    """Train the source's flow and ours; score, sample, take apart and walk through the latent space."""
    data = load(record)
    found: dict[str, Trained] = {}
    for key, recipe in RECIPES.items():
        flow, history = train(record, key, recipe, data)
        found[key] = trained(NAMES[key], flow, history, data)
    torch.manual_seed(record.seed)
    start = our_additive(data.train.x)  # with layers that are the identity still
    _likelihoods(record, data, found, start)
    judge = trained_judge(record, data)
    _samples(record, data, found, start, judge)
    _layers(record, found)
    _paths(record, data, found, judge)


def _likelihoods(record: Record, data: Digits, found: dict[str, Trained], start: Flow) -> None:
    record.heading("Likelihood of test images")
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x):,} to choose the step by and "
        f"{len(data.test.x):,} to test; 8-bit pixels with fresh uniform noise, (k + u) / 256. The source's flow "
        "has four layers: y_B = x_B + m(x_A), m with five linear layers and ReLU, then y <- exp(s) y with the layer's "
        "own 784 learned s; A and B swap roles from layer to layer. It names neither the width of m nor the "
        "continuous representation nor the length of training: here 512 hidden units, [0, 1), the base N(0, I), and "
        "the time below with Adam at 0.001 and batches of 128. Ours works on principal components of unit variance and "
        f"draws the digit first, its details after. Layer 1: A are the {LEADING} leading components, B all others, "
        "with a scale beside the shift, both from five linear layers of 512 units. The other three layers change the "
        f"leading components alone, each by {NUM_COUPLINGS} affine couplings with random masks. The base is a mixture "
        f"of {NUM_COMPONENTS} diagonal normals for the leading components and another for the rest, learned from a "
        "start on clusters of the images. Dropout, weight decay and a falling learning rate."
    )
    simple = baselines(record, data)
    simple[START] = likelihood(start, data.test)
    score_table(record, simple, found)
    record.picture(
        "curves",
        mnist_pictures.learning_curves({one.name: one.history for one in found.values()}),
        "Log-likelihood in units of [0, 1) during training, of training batches (with dropout where there is any) "
        "and of the validation images.",
    )
    source, ours = found["source"].test, found["ours"].test
    record.answer(
        "What is the log-likelihood of the test set?",
        f"{source.unit:,.1f} ± {source.unit_error:.1f} nats an image for the source's flow and {ours.unit:,.1f} ± "
        f"{ours.unit_error:.1f} for ours, with pixels in [0, 1); that is {source.bits_per_dim:.3f} and "
        f"{ours.bits_per_dim:.3f} bits/dim. An additive flow has one log-determinant for all images: it cannot be "
        "sharp where the paper is blank and broad on the edge of a stroke, which couplings with scales can.",
    )


def _samples(record: Record, data: Digits, found: dict[str, Trained], start: Flow, judge: Judge) -> None:
    record.heading("Samples")
    record.number("classifier.accuracy", accuracy(judge, data.test))
    real = verdict(judge, data.test.x)
    rows = [verdict_row("real test images", real)]
    before = {temperature: verdict(judge, drawn(record, start, temperature)) for temperature in TEMPERATURES}
    rows += [verdict_row(f"{START}, temperature {t:g}", found_here) for t, found_here in before.items()]
    record.number("samples.start", [{"temperature": t, **asdict(found_here)} for t, found_here in before.items()])
    verdicts: dict[tuple[str, float], Verdict] = {}
    for key, one in found.items():
        panels = {}
        for temperature in TEMPERATURES:
            images = drawn(record, one.flow, temperature)
            verdicts[key, temperature] = verdict(judge, images)
            rows.append(verdict_row(f"{one.name}, temperature {temperature:g}", verdicts[key, temperature]))
            panels[f"{one.name}, temperature {temperature:g}"] = images[:50]
        record.number(
            f"samples.{key}",
            [{"temperature": temperature, **asdict(verdicts[key, temperature])} for temperature in TEMPERATURES],
        )
        record.picture(
            f"samples-{key}",
            mnist_pictures.sheets(panels),
            f"Fifty samples of the flow ({one.name}) at four temperatures, not chosen.",
        )
    record.table(VERDICT_NOTE, VERDICT_HEADER, rows)
    record.text(
        f"The classifier, a convolutional network, finds the label of {100 * accuracy(judge, data.test):.2f} % of the "
        f"real test images and is sure of {100 * real.sure:.1f} % of them. It must name one of ten digits whatever it "
        "is shown, and may be sure of what a person would not read: the sheets show what it was asked."
    )
    good = [t for t in TEMPERATURES if verdicts["ours", t].sure >= 0.8 and verdicts["ours", t].rarest >= 0.03]
    each = "; ".join(
        f"temperature {t:g}: {100 * verdicts['ours', t].sure:.1f} %, rarest label "
        f"{100 * verdicts['ours', t].rarest:.1f} %"
        for t in TEMPERATURES
    )
    record.answer(
        "Do most of the samples look like valid digits?",
        f"Share of our samples to which the classifier gives more than {SURE:g}: {each}. "
        + (
            "At least 80 % are clear, and no label is below 3 %, at temperature "
            f"{' and '.join(f'{t:g}' for t in good)}."
            if good
            else "At no temperature are 80 % of them clear with every label above 3 %."
        )
        + f" At temperature 1 the mixtures alone, before training, have {100 * before[1.0].sure:.1f} %, the source's "
        f"flow {100 * verdicts['source', 1.0].sure:.1f} %.",
    )


def _layers(record: Record, found: dict[str, Trained]) -> None:
    record.heading("From the latent to the image, layer by layer")
    figure, panels = pictures.board(len(found), size=4.6)
    figure.set_size_inches(4.4 * len(found), 8.6)
    for axes, one in zip(panels, found.values(), strict=True):
        z = one.flow.base.sample((10,), generator=torch.Generator().manual_seed(record.seed))
        names = ["z", *reversed(layer_names())]
        names[-1] += " = x"
        mnist_pictures.layer_sheet(axes, stages(one.flow, z), names, one.name)
    record.picture(
        "layers",
        figure,
        "Ten samples, one a row: the latent z, and what each of the four layers makes of it on the way to the image "
        "x. A layer is its coupling and its scaling; layer 4 is nearest the latent. What lies in principal "
        "components is rotated back to pixels. All but x are stretched from their least to their largest value.",
    )


@torch.no_grad()
def stages(flow: Flow, z: Tensor) -> Tensor:
    """Return z and the output of every layer from latent to data as images, (n, 5, 784); the last is x, in levels."""
    layers = flow.steps_inverse(z)[:NUM_LAYERS]
    values = []
    for value in (z, *(step.value for step in layers)):
        for part in reversed(flow.preprocessing):
            value, _ = part.inverse(value)  # type: ignore[operator]
        values.append(value)
    return torch.stack(values, 1)


def _paths(record: Record, data: Digits, found: dict[str, Trained], judge: Judge) -> None:
    record.heading("Paths between digits")
    pairs = pairs_of_digits(data, record.seed)
    start, end = (data.test.x[index].float() + 0.5 for index in pairs.T)
    names = [" to ".join(str(int(data.test.labels[index])) for index in pair) for pair in pairs]
    rows, errors, halfway = [], [], {}
    for key, one in found.items():
        strips: dict[str, Tensor] = {}
        for kind in KINDS:
            path = latent_path(one.flow, start, end, num_points=NUM_POINTS, kind=kind)
            errors.append(error_of_ends(path, start, end))
            for name, x in zip(names, path.x, strict=True):
                strips[f"{name}, {kind}"] = to_levels(x)
            inner = to_levels(path.x[:, 1:-1]).flatten(0, 1)
            found_here = verdict(judge, inner)
            lengths = path.z.norm(dim=-1).mean(0)
            length = (2 * lengths[NUM_POINTS // 2] / (lengths[0] + lengths[-1])).item()
            halfway[key, kind] = length
            rows.append([one.name, kind, errors[-1], length, f"{100 * found_here.sure:.0f}"])
            record.number(
                f"paths.{key}.{kind}",
                {"largest_error_of_ends": errors[-1], "length_halfway": length, **asdict(found_here)},
            )
        record.picture(
            f"paths-{key}",
            mnist_pictures.strips(dict(sorted(strips.items(), key=lambda row: names.index(row[0].split(",")[0])))),
            f"Ten equal steps in the latent space of the flow ({one.name}) from one test image, left, to another, "
            "right.",
        )
    record.table(
        "Paths of ten points between three pairs of test images. Error: the largest difference, in levels of 256, "
        "between an end of a path and the image itself. Length: |z| halfway over the mean of both ends. Sure: the "
        "share of the 24 inner images to whose label the classifier gives more than 0.9.",
        ["flow", "path", "error of the ends", "length halfway", "sure (%)"],
        rows,
    )
    record.answer(
        "How does the first digit turn into the second?",
        f"Both ends are reproduced, to {max(errors):.1e} of 256 levels at most. Halfway along a straight path the "
        f"latent of the source's flow has {halfway['source', 'straight']:.2f} times the length of the ends, of ours "
        f"{halfway['ours', 'straight']:.2f} times; on a spherical path {halfway['source', 'spherical']:.2f} and "
        f"{halfway['ours', 'spherical']:.2f} times. A shorter latent gives an image with less detail and more like "
        "the mean; the spherical path keeps the detail, and blends two kinds of it.",
    )


def pairs_of_digits(data: Digits, seed: int) -> Tensor:
    """Return the places of three pairs of test images, all six of different digits, (3, 2)."""
    labels = torch.randperm(10, generator=torch.Generator().manual_seed(seed))[:6]
    first = [int((data.test.labels == label).nonzero()[0]) for label in labels]
    return torch.tensor(first).reshape(3, 2)


def error_of_ends(path: LatentPath, start: Tensor, end: Tensor) -> float:
    """Return the largest error of the ends in levels.

    Raises:
        RunError: If a pixel would change.
    """
    error = torch.stack([path.x[:, 0] - start, path.x[:, -1] - end]).abs().max().item()
    if not error < MOST_ERROR:
        raise RunError(
            f"the ends of a latent path are {error:.2g} levels away from the images: the flow lost its inverse."
        )
    return error
