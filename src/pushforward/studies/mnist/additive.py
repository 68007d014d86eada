"""Additive coupling on MNIST: likelihood, samples, what each layer does, and paths between digits."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

from pushforward import Flow, RunError
from pushforward.data import Digits
from pushforward.flows.latent_path import LatentPath, latent_path
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, images, middles, pictures, to_levels
from pushforward.studies.mnist import models
from pushforward.studies.mnist.classifier import SURE, Recognizer, judge_samples, trained_judge, verdict
from pushforward.studies.mnist.scores import likelihoods
from pushforward.studies.mnist.training import ADAM, LEVELS, QUICK, load_mnist, train_on_mnist

TITLE = "Additive coupling on MNIST, and what its latents do"
SOURCE = "an exercise sheet on deep generative models (exercise 6: normalizing flows)"

SECONDS = 480.0  # of each training
ADAMW = {"learning_rate": 2e-3, "optimizer": "adamw", "batch_size": 256}
CANDIDATES = {
    "source": Candidate("source, halves of the image", models.source_additive, ADAM, QUICK),
    "within": Candidate("within the rules, logit of the pixels", models.within_the_rules, ADAMW, QUICK),
    "ours": Candidate("ours, the digit before its details", models.our_additive, ADAMW, QUICK),
}
START = "ours before training: the mixtures alone"
TEMPERATURES = (1.0, 0.8, 0.7, 0.6)
NUM_POINTS = 10
MOST_ERROR = 0.5  # of a path's ends, levels: beyond it a pixel would change
KINDS = ("straight", "spherical")


def run(record: Record) -> None:
    """Train the source's flow and ours; score, sample, take apart and walk through the latent space."""
    data = load_mnist(record)
    flows = train_on_mnist(record, CANDIDATES, data, max_seconds=SECONDS, arguments=(data.train.x,))
    torch.manual_seed(record.seed)
    start = models.our_additive(data.train.x)  # with layers that are the identity still
    _likelihoods(record, data, flows, start)
    judge, accuracy = trained_judge(record, data)
    names, trained = {"start": START, **flows.names}, {"start": [Trained(start, record.seed)], **flows.trained}
    _samples(record, data, Comparison(record, names, trained), judge, accuracy)
    _layers(record, flows)
    _paths(record, data, flows, judge)


def _likelihoods(record: Record, data: Digits, flows: Comparison, start: Flow) -> None:
    record.heading("Likelihood of test images")
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x):,} to choose the step by and "
        f"{len(data.test.x):,} to test; 8-bit pixels with fresh uniform noise, (k + u) / 256. The source's flow has "
        "four layers: y_B = x_B + m(x_A), m with five linear layers and ReLU, then y <- exp(s) y with the layer's own "
        "784 learned s; A and B swap roles from layer to layer. It names neither the width of m nor the continuous "
        "representation nor the length of training: here 512 hidden units, [0, 1), the base N(0, I), and the time "
        "below with Adam at 0.001 and batches of 128. Within the same rules we use what they leave open: the logit of "
        "the pixels, behind which ink and paper lie far apart, 256 hidden units, dropout of a tenth, AdamW at a "
        "rate that falls from 0.002, batches of 256. Ours leaves the rules: it works on principal components of unit "
        "variance and draws "
        f"the digit first, its details after. Layer 1: A are the {models.LEADING} leading components, B all others, "
        "with a scale beside the shift, both from five linear layers of 512 units. The other three layers change the "
        f"leading components alone, each by {models.NUM_COUPLINGS} affine couplings with random masks. The base is a "
        f"mixture of {models.NUM_COMPONENTS} diagonal normals for the leading components and another for the rest, "
        "learned from a start on clusters of the images. Dropout, weight decay and a falling learning rate."
    )
    caption = (
        "Log-likelihood in units of [0, 1) during training, of training batches (with dropout where there is any) "
        "and of the validation images."
    )
    scores = likelihoods(flows, data, caption, {START: start})
    source, within, ours = scores["source"], scores["within"], scores["ours"]
    record.answer(
        "What is the log-likelihood of the test set?",
        f"{source.unit:,.1f} ± {source.unit_error:.1f} nats an image for the source's flow, {within.unit:,.1f} ± "
        f"{within.unit_error:.1f} for the same behind a logit and {ours.unit:,.1f} ± {ours.unit_error:.1f} for ours, "
        "with "
        f"pixels in [0, 1); that is {source.bits_per_dim:.3f}, {within.bits_per_dim:.3f} and {ours.bits_per_dim:.3f} "
        "bits/dim. An additive flow has one log-determinant for all images: it cannot be "
        "sharp where the paper is blank and broad on the edge of a stroke, which couplings with scales can.",
    )


def _samples(record: Record, data: Digits, flows: Comparison, judge: Recognizer, accuracy: float) -> None:
    record.heading("Samples")
    caption = "Fifty samples of the flow ({name}) at four temperatures, not chosen."
    found = judge_samples(flows, data, judge, TEMPERATURES, caption)
    ours, real = found["ours"], verdict(judge, data.test.x)
    record.text(
        f"The classifier, a convolutional network, finds the label of {100 * accuracy:.2f} % of the "
        f"real test images and is sure of {100 * real.sure:.1f} % of them. It must name one of ten digits whatever it "
        "is shown, and may be sure of what a person would not read: the sheets show what it was asked."
    )
    good = [f"{t:g}" for t, seen in ours.items() if seen.sure >= 0.8 and min(seen.shares) >= 0.03]
    each = "; ".join(
        f"temperature {t:g}: {100 * seen.sure:.1f} %, rarest label {100 * min(seen.shares):.1f} %"
        for t, seen in ours.items()
    )
    inside = max(found["within"].values(), key=lambda seen: seen.sure)
    clear = (
        f"At least 80 % are clear, and no label is below 3 %, at temperature {' and '.join(good)}."
        if good
        else "At no temperature are 80 % of them clear with every label above 3 %."
    )
    record.answer(
        "Do most of the samples look like valid digits?",
        f"Within the sheet's rules not four of five are clear: the classifier gives more than {SURE:g} to "
        f"{100 * found['source'][1.0].sure:.1f} % of the samples of the source's flow at temperature 1, to "
        f"{100 * found['within'][1.0].sure:.1f} % of those behind a logit, at most {100 * inside.sure:.1f} % at any "
        f"temperature, and the rarest label rises from {100 * min(found['source'][1.0].shares):.1f} to "
        f"{100 * min(found['within'][1.0].shares):.1f} %. What limits them: an additive layer shifts each half by "
        "its mean "
        "given the other, and the noise left around it has one size a pixel for all images, so that strokes are drawn "
        "with holes and specks; other halves (every other pixel), wider or undropped networks and whitened pixels did "
        f"no better in the same time. Our flow, which leaves the rules: {each}. {clear} At temperature 1 its mixtures "
        f"alone, before training, have {100 * found['start'][1.0].sure:.1f} %.",
    )


def _layers(record: Record, flows: Comparison) -> None:
    record.heading("From the latent to the image, layer by layer")
    figure, panels = pictures.board(len(flows.names), size=4.6)
    figure.set_size_inches(4.4 * len(flows.names), 8.6)
    for axes, (key, title) in zip(panels, flows.names.items(), strict=True):
        flow = flows.first(key)
        z = flow.base.sample((10,), generator=torch.Generator().manual_seed(record.seed))
        layer_sheet(axes, stages(flow, z), title)
    record.picture(
        "layers",
        figure,
        "Ten samples, one a row: the latent z, and what each of the four layers makes of it on the way to the image "
        "x. A layer is its coupling and its scaling; layer 4 is nearest the latent. What lies in principal "
        "components is rotated back to pixels. All but x are stretched from their least to their largest value.",
    )


def layer_sheet(axes: Axes, steps: Tensor, title: str) -> None:
    """Draw z and what every layer made of it, (n, steps, 784), one row a sample, under the names of the layers.

    All but the last are stretched, image by image, from their least to their largest value; the last are levels.
    """
    inner = steps[:, :-1]
    low, high = inner.amin(-1, keepdim=True), inner.amax(-1, keepdim=True)
    stretched = (inner - low) / (high - low).clamp(min=1e-9) * (LEVELS - 1)
    num_steps = steps.shape[1]
    images.sheet(axes, torch.cat([stretched, steps[:, -1:]], 1).flatten(0, 1), title, num_steps, LEVELS)
    names = ["z", *(f"layer {number}" for number in range(num_steps - 1, 0, -1))]
    axes.set_xticks(images.middles_of_images(steps[0]), [*names[:-1], f"{names[-1]} = x"], fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)


@torch.no_grad()
def stages(flow: Flow, z: Tensor) -> Tensor:
    """Return z and the output of every layer from latent to data as images, (n, 5, 784); the last is x, in levels."""
    values = torch.stack([z, *(step.value for step in flow.steps_inverse(z)[: models.NUM_LAYERS])], 1)
    for part in reversed(flow.preprocessing):
        values, _ = part.inverse(values)  # type: ignore[operator]
    return values


def _paths(record: Record, data: Digits, flows: Comparison, judge: Recognizer) -> None:
    record.heading("Paths between digits")
    pairs = pairs_of_digits(data, record.seed)
    start, end = (middles(data.test.x[index]) for index in pairs.T)
    names = [" to ".join(map(str, labels)) for labels in data.test.labels[pairs].tolist()]
    rows, lengths = [], {}
    for key, name in flows.names.items():
        paths = {kind: latent_path(flows.first(key), start, end, num_points=NUM_POINTS, kind=kind) for kind in KINDS}
        for kind, path in paths.items():
            error = error_of_ends(path, start, end)
            seen = verdict(judge, to_levels(path.x[:, 1:-1], LEVELS).flatten(0, 1))
            norms = path.z.norm(dim=-1).mean(0)
            length = lengths[key, kind] = (2 * norms[NUM_POINTS // 2] / (norms[0] + norms[-1])).item()
            rows.append([name, kind, error, length, f"{100 * seen.sure:.0f}"])
            facts = {"largest_error_of_ends": error, "length_halfway": length, **vars(seen)}
            record.number(f"paths.{key}.{kind}", facts)
        strips = {
            f"{digits}, {kind}": to_levels(path.x[place], LEVELS)
            for place, digits in enumerate(names)
            for kind, path in paths.items()
        }
        record.picture(
            f"paths-{key}",
            images.strips(strips, LEVELS, size=0.62),
            f"Ten equal steps in the latent space of the flow ({name}) from one test image, left, to another, right.",
        )
    record.table(
        "Paths of ten points between three pairs of test images. Error: the largest difference, in levels of 256, "
        "between an end of a path and the image itself. Length: |z| halfway over the mean of both ends. Sure: the "
        "share of the 24 inner images to whose label the classifier gives more than 0.9.",
        ["flow", "path", "error of the ends", "length halfway", "sure (%)"],
        rows,
    )
    worst = max(row[2] for row in rows)
    record.answer(
        "How does the first digit turn into the second?",
        f"Both ends are reproduced, to {worst:.1e} of 256 levels at most. Halfway along a straight path the latent of "
        f"the source's flow has {lengths['source', 'straight']:.2f} times the length of the ends, of ours "
        f"{lengths['ours', 'straight']:.2f} times; on a spherical path {lengths['source', 'spherical']:.2f} and "
        f"{lengths['ours', 'spherical']:.2f} times. A shorter latent gives an image with less detail and more like the "
        "mean; the spherical path keeps the detail, and blends two kinds of it.",
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
