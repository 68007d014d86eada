"""Masked coupling with fully connected networks on MNIST: random and chequerboard masks, the source's flow and ours."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.data import pixel_units
from pushforward.data.digits import Digits
from pushforward.flows import Flow
from pushforward.studies.kit.record import Record
from pushforward.studies.mnist import pictures as mnist_pictures
from pushforward.studies.mnist.classifier import Verdict, accuracy, trained_judge, verdict
from pushforward.studies.mnist.models import (
    LEVELS,
    PIXELS,
    Recipe,
    load,
    our_masked,
    source_masked,
    to_levels,
    train,
)
from pushforward.studies.mnist.scores import (
    PUBLISHED,
    SCORE_HEADER,
    SCORE_NOTE,
    Likelihood,
    baselines,
    likelihood,
    published_rows,
    score_row,
)
from pushforward.training import History

TITLE = "Masked coupling on MNIST"
SOURCE = "an exercise sheet on normalizing flows (masked coupling layers), exercise 2.5"

SECONDS = 345.0  # of each training: four of them and all measurements take less than half an hour on two cores
ADAM = {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 128, "clip_norm": None}
ADAMW = {"learning_rate": 1e-3, "optimizer": "adamw", "batch_size": 256}
KINDS = ("random", "chequerboard")
TEMPERATURES = (1.0, 0.8, 0.6)
NUM_JUDGED = 1_000


@dataclass(frozen=True)
class Trained:
    """A flow, how it was trained, and what it makes of images it has not seen."""

    name: str
    flow: Flow
    history: History
    test: Likelihood
    gap: float

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.flow.parameters())


def recipe(make: Callable[[str], Flow], kind: str, options: dict) -> Recipe:
    """Return a recipe of this study: the mask's kind is all that changes."""
    return Recipe(lambda images: make(kind), SECONDS, options)


def run(record: Record) -> None:
    """Train the source's flow and ours with both kinds of masks; compare likelihoods and samples."""
    data = load(record)
    found: dict[str, Trained] = {}
    for who, make, options in (("source", source_masked, ADAM), ("ours", our_masked, ADAMW)):
        for kind in KINDS:
            flow, history = train(record, f"{who} {kind}", recipe(make, kind, options), data)
            name = f"{'source' if who == 'source' else 'ours'}, {kind} masks"
            found[f"{who} {kind}"] = trained(name, flow, history, data)
    _likelihoods(record, data, found)
    _masks(record, found)
    _samples(record, data, found)


def trained(name: str, flow: Flow, history: History, data: Digits) -> Trained:
    """Measure a trained flow; the gap takes as many training images as there are test images."""
    test = likelihood(flow, data.test)
    seen = metrics.nll(flow, data.train.x[: len(data.test.x)], dequantize=LEVELS, units=pixel_units("1/256"))
    return Trained(name, flow, history, test, -seen.mean - test.unit)


def score_table(record: Record, simple: dict[str, Likelihood], found: dict[str, Trained]) -> None:
    """Record the likelihoods of simple densities and of trained flows, beside published ones."""
    for name, score in simple.items():
        record.number(f"test.{name}", asdict(score))
    for key, one in found.items():
        record.number(f"test.{key.replace(' ', '.')}", asdict(one.test) | {"gap": one.gap, "plan": one.history.plan})
    rows = [score_row(name, score) for name, score in simple.items()]
    rows += [score_row(one.name, one.test, one.parameters, one.gap, one.history.seconds / 60) for one in found.values()]
    record.table(SCORE_NOTE, SCORE_HEADER, [*rows, *published_rows()])


def _likelihoods(record: Record, data: Digits, found: dict[str, Trained]) -> None:
    record.heading("Likelihood of test images")
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x):,} to choose the step by and "
        f"{len(data.test.x):,} to test: the figures below are from the last, scored once. Pixels are integers from 0 "
        f"to {LEVELS - 1}; each time an image is seen, uniform noise from 0 to 1 is added. The source's flow has 16 "
        "couplings with networks of two hidden layers of 256, tanh on the log-scale, Adam at 0.001 and batches of "
        "128; ours has six with hidden layers of 512 and dropout, a learned scale of each pixel between them, and, "
        "next to the data, a logit and a spline of each pixel. All four trainings take the same time."
    )
    simple = baselines(record, data)
    score_table(record, simple, found)
    record.picture(
        "curves",
        mnist_pictures.learning_curves({one.name: one.history for one in found.values()}),
        "Log-likelihood in units of [0, 1) during training. Training values are means over the batches since the last "
        "point, with dropout where there is any.",
    )
    best = max((found[f"ours {kind}"] for kind in KINDS), key=lambda one: one.test.logit)
    source = max((found[f"source {kind}"] for kind in KINDS), key=lambda one: one.test.logit)
    beaten = [name for name, value in PUBLISHED.items() if best.test.logit > value]
    record.answer(
        "How well does a fully connected flow fit dequantized MNIST?",
        f"The source's flow reaches {source.test.unit:,.1f} nats an image in units of [0, 1) "
        f"({source.test.bits_per_dim:.3f} bits/dim), ours {best.test.unit:,.1f} ({best.test.bits_per_dim:.3f}). In "
        f"logit space ours has {best.test.logit:,.1f} ± {best.test.logit_error:.1f} nats"
        + (f", more than the published {', '.join(beaten)}" if beaten else "")
        + f". The best of the simple densities has {max(score.logit for score in simple.values()):,.1f}.",
    )
    shift = PIXELS * torch.tensor(256 / 255).log().item()
    record.number("units.nats_between", shift)
    record.answer(
        "What does it matter that the source adds u/255 to pixels k/255?",
        f"Nothing but the unit: a level is then 1/255 wide, not 1/256, and every log-likelihood {shift:.2f} nats "
        f"lower ({source.test.unit - shift:,.1f} for the source's flow). Bits/dim, with each one's own width of a "
        "level, are the same.",
    )


def _masks(record: Record, found: dict[str, Trained]) -> None:
    record.heading("Random masks and chequerboards")
    rows, said = [], []
    for who, whose in (("source", "the source's flow"), ("ours", "ours")):
        random, board = (found[f"{who} {kind}"] for kind in KINDS)
        least, most = times_transformed(random.flow).aminmax()
        difference = board.test.unit - random.test.unit
        error = (board.test.unit_error**2 + random.test.unit_error**2) ** 0.5
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


def _samples(record: Record, data: Digits, found: dict[str, Trained]) -> None:
    record.heading("Samples")
    judge = trained_judge(record, data)
    rows = [verdict_row("real test images", verdict(judge, data.test.x))]
    record.number("classifier.accuracy", accuracy(judge, data.test))
    record.text(
        f"A convolutional network trained on the real training images finds the label of "
        f"{100 * accuracy(judge, data.test):.2f} % of the real test images. It must name one of ten digits whatever it "
        "is shown, and may be sure of what a person would not read."
    )
    shares: dict[tuple[str, float], Verdict] = {}
    for key, one in found.items():
        images = {temperature: drawn(record, one.flow, temperature) for temperature in TEMPERATURES}
        for temperature, made in images.items():
            shares[key, temperature] = verdict(judge, made)
            rows.append(verdict_row(f"{one.name}, temperature {temperature:g}", shares[key, temperature]))
        record.number(
            f"samples.{key.replace(' ', '.')}",
            [{"temperature": temperature, **asdict(shares[key, temperature])} for temperature in TEMPERATURES],
        )
        panels = {f"{one.name}, temperature {t:g}": made[:50] for t, made in images.items()}
        record.picture(
            f"samples-{key.replace(' ', '-')}",
            mnist_pictures.sheets({"test images": data.test.x[:50], **panels}),
            f"Fifty test images, and fifty samples of the flow ({one.name}) at three temperatures, not chosen.",
        )
    record.table(VERDICT_NOTE, VERDICT_HEADER, rows)
    best = max(KINDS, key=lambda kind: found[f"ours {kind}"].test.logit)
    warm, cool = shares[f"ours {best}", 1.0], shares[f"ours {best}", TEMPERATURES[-1]]
    theirs = max(shares[f"source {kind}", 1.0].sure for kind in KINDS)
    record.answer(
        "How good are the samples?",
        f"The classifier is sure of {100 * warm.sure:.1f} % of our samples at temperature 1 and of "
        f"{100 * cool.sure:.1f} % at {TEMPERATURES[-1]:g}, of {100 * theirs:.1f} % of the source's at temperature 1. "
        "Likelihood and looks are two things: most of the nats are in the noise of the paper, four of five pixels, "
        "which no one sees.",
    )


VERDICT_NOTE = (
    "What a classifier trained on real digits says of images. Sure: the share to whose label it gives a probability "
    "above 0.9. Rarest: the share of the label it sees least often. Samples: 1,000 from each flow; a temperature below "
    "1 scales the latent down, which gives images nearer the mode and changes the law."
)
VERDICT_HEADER = ["images", "sure (%)", "mean confidence", "rarest label (%)"]


def verdict_row(name: str, found: Verdict) -> list[object]:
    """Return a row of the table under `VERDICT_HEADER`."""
    return [name, f"{100 * found.sure:.1f}", found.confidence, f"{100 * found.rarest:.1f}"]


def drawn(record: Record, flow: Flow, temperature: float) -> Tensor:
    """Return samples as images of levels, (n, 784), uint8."""
    generator = torch.Generator().manual_seed(record.seed)
    num_samples = 60 if record.quick else NUM_JUDGED
    return to_levels(flow.sample(num_samples, temperature=temperature, generator=generator))
