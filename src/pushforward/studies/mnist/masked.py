"""Masked coupling with fully connected networks on MNIST: random and chequerboard masks, the source's flow and ours."""

import math
from functools import partial

import torch
from torch import Tensor

from pushforward import Flow
from pushforward.data import Digits
from pushforward.studies.kit import Candidate, Comparison, Record
from pushforward.studies.kit.tables import Score
from pushforward.studies.mnist.classifier import SHOWN, judge_samples, trained_judge
from pushforward.studies.mnist.models import our_masked, source_masked
from pushforward.studies.mnist.scores import PUBLISHED, likelihoods
from pushforward.studies.mnist.training import ADAM, LEVELS, PIXELS, QUICK, load_mnist, train_on_mnist

TITLE = "Masked coupling on MNIST"
SOURCE = "an exercise sheet on normalizing flows (masked coupling layers), exercise 2.5"

SECONDS = 345.0  # of each training: four of them and all measurements take less than half an hour on two cores
KINDS = ("random", "chequerboard")
TEMPERATURES = (1.0, 0.8, 0.6)
ADAMW = {"learning_rate": 1e-3, "optimizer": "adamw", "batch_size": 256}
CANDIDATES = {
    f"{who} {kind}": Candidate(f"{who}, {kind} masks", partial(make, kind), options, QUICK)
    for who, make, options in (("source", source_masked, ADAM), ("ours", our_masked, ADAMW))
    for kind in KINDS
}


def run(record: Record) -> None:
    """Train the source's flow and ours with both kinds of masks; compare likelihoods and samples."""
    data = load_mnist(record)
    flows = train_on_mnist(record, CANDIDATES, data, max_seconds=SECONDS)
    scores = _likelihoods(record, data, flows)
    _masks(record, flows, scores)
    _samples(record, data, flows, scores)


def better_of(scores: dict[str, Score], who: str) -> str:
    """Return the key of the flow of the source or of ours that has the better kind of masks."""
    return max((f"{who} {kind}" for kind in KINDS), key=lambda key: scores[key].logit)


def _likelihoods(record: Record, data: Digits, flows: Comparison) -> dict[str, Score]:
    record.heading("Likelihood of test images")
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x):,} to choose the step by and "
        f"{len(data.test.x):,} to test: the figures below are from the last, scored once. Pixels are integers from 0 "
        f"to {LEVELS - 1}; each time an image is seen, uniform noise from 0 to 1 is added. The source's flow has 16 "
        "couplings with networks of two hidden layers of 256, tanh on the log-scale, Adam at 0.001 and batches of "
        "128; ours has six with hidden layers of 512 and dropout, a learned scale of each pixel between them, and, "
        "next to the data, a logit and a spline of each pixel. All four trainings take the same time."
    )
    caption = (
        "Log-likelihood in units of [0, 1) during training. Training values are means over the batches since the last "
        "point, with dropout where there is any."
    )
    scores = likelihoods(flows, data, caption)
    source, best = (scores[better_of(scores, who)] for who in ("source", "ours"))
    simple = max(score.logit for key, score in scores.items() if key not in flows.names)
    beaten = [name for name, value in PUBLISHED.items() if best.logit > value]
    record.answer(
        "How well does a fully connected flow fit dequantized MNIST?",
        f"The source's flow reaches {source.unit:,.1f} nats an image in units of [0, 1) "
        f"({source.bits_per_dim:.3f} bits/dim), ours {best.unit:,.1f} ({best.bits_per_dim:.3f}). In "
        f"logit space ours has {best.logit:,.1f} ± {best.logit_error:.1f} nats"
        + (f", more than the published {', '.join(beaten)}" if beaten else "")
        + f". The best of the simple densities has {simple:,.1f}.",
    )
    shift = PIXELS * torch.tensor(256 / 255).log().item()
    record.number("units.nats_between", shift)
    record.answer(
        "What does it matter that the source adds u/255 to pixels k/255?",
        f"Nothing but the unit: a level is then 1/255 wide, not 1/256, and every log-likelihood {shift:.2f} nats "
        f"lower ({source.unit - shift:,.1f} for the source's flow). Bits/dim, with each one's own width of a "
        "level, are the same.",
    )
    return scores


def _masks(record: Record, flows: Comparison, scores: dict[str, Score]) -> None:
    record.heading("Random masks and chequerboards")
    rows, said = [], []
    for who, whose in (("source", "the source's flow"), ("ours", "ours")):
        random, board = (scores[f"{who} {kind}"] for kind in KINDS)
        least, most = times_transformed(flows.first(f"{who} random")).aminmax()
        difference = board.unit - random.unit
        error = math.hypot(board.unit_error, random.unit_error)
        record.number(f"masks.{who}", {"chequerboard_minus_random": difference, "least": least, "most": most})
        rows.append([whose, int(least), int(most), difference, error])
        better = "chequerboards" if difference > 0 else "random masks"
        told = f"{better} are better, by {abs(difference):.1f} ± {error:.1f} nats"
        said.append(f"with {whose} " + (told if abs(difference) > 2 * error else "neither, within the standard error"))
    record.table(
        "How often the random masks let a pixel be transformed, at least and at most over the pixels, and how much "
        "higher the log-likelihood is with chequerboards (nats an image); the standard error takes the two test means "
        "as independent, though the images are the same, so it is an upper bound.",
        ["flow", "least often", "most often", "chequerboard minus random", "standard error"],
        rows,
    )
    record.answer(
        "Which masks are better?",
        f"{'; '.join(said).capitalize()}. Masks drawn anew in each layer leave some pixels nearly always as they are, "
        "and with tanh a layer can widen a pixel by e at most, where a pixel of paper needs 256 times or more; a "
        "chequerboard inverted in turn treats all alike, and shows every network the neighbours of what it "
        "transforms. In ours every second random mask is the complement of the one before.",
    )


def times_transformed(flow: Flow) -> Tensor:
    """Return how many couplings transform each pixel, (784,)."""
    kept = [buffer for name, buffer in flow.named_buffers() if name.split(".")[-1] == "mask"]
    return (~torch.stack(kept)).sum(0)


def _samples(record: Record, data: Digits, flows: Comparison, scores: dict[str, Score]) -> None:
    record.heading("Samples")
    judge, accuracy = trained_judge(record, data)
    record.text(
        f"A convolutional network trained on the real training images finds the label of {100 * accuracy:.2f} % of "
        "the real test images. It must name one of ten digits whatever it is shown, and may be sure of what a person "
        "would not read."
    )
    caption = "Fifty test images, and fifty samples of the flow ({name}) at three temperatures, not chosen."
    beside = {"test images": data.test.x[:SHOWN]}
    found = judge_samples(flows, data, judge, TEMPERATURES, caption, beside)
    ours = found[better_of(scores, "ours")]
    theirs = max(found[f"source {kind}"][1.0].sure for kind in KINDS)
    record.answer(
        "How good are the samples?",
        f"The classifier is sure of {100 * ours[1.0].sure:.1f} % of our samples at temperature 1 and of "
        f"{100 * ours[TEMPERATURES[-1]].sure:.1f} % at {TEMPERATURES[-1]:g}, of {100 * theirs:.1f} % of the source's "
        "at temperature 1. Likelihood and looks are two things: most of the nats are in the noise of the paper, four "
        "of five pixels, which no one sees.",
    )
