"""MNIST reduced to 8 x 8 pixels: plain flows, flows with a bottleneck and flows given the label, on 59,000 images."""

from functools import partial

import torch

from pushforward import recipes
from pushforward.data import LabelledImages, mnist, mnist_sample, pixel_units
from pushforward.studies.digits import given_labels, without_labels
from pushforward.studies.digits.gaussians import gaussian_mixture, gaussian_parameters, whole_gaussian
from pushforward.studies.digits.judge import Judge
from pushforward.studies.digits.task import (
    PIXELS,
    Task,
    as_long_as_ours,
    behind_logit,
    bits,
    less_or_more,
    sources_realnvp,
)
from pushforward.studies.digits.through_bottleneck import through_bottleneck
from pushforward.studies.digits.without_labels import Rival
from pushforward.studies.kit import Comparison, Record, pictures
from pushforward.studies.mnist.training import LEVELS

TITLE = "MNIST at 8 x 8 pixels"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 3, part 3, and task 4"

ALPHA = 1e-6  # of the logit: a third of all pixels are 0, and behind it level 0 is as wide as many others
HELD_OUT = 1_000  # of the 60,000 images, to stop by
NUM_COMPONENTS = 50
SHRINKAGE = 100  # in rows; a cluster has about 1,200
TARGET = 0.93  # accuracy of the forest on images drawn for a label

five_epochs = partial(sources_realnvp, num_steps=2_950, levels=LEVELS)  # of batches of 100
couplings = partial(behind_logit, batch_size=256, levels=LEVELS, alpha=ALPHA, dropout=0.0)
CANDIDATES = {
    "source": five_epochs("RealNVP, 8 blocks, 5 epochs (source)"),
    "ours": couplings("spline couplings, logit (ours)", recipes.nsf, 6, 2_000, width=192),
    "longer": as_long_as_ours(five_epochs()),
}
GIVEN_LABELS = {
    "source": five_epochs(),
    "ours": couplings("spline couplings, logit (ours)", recipes.nsf, 6, 6_000, width=192),
    "longer": as_long_as_ours(five_epochs()),
}
WITH_BOTTLENECK = couplings("affine couplings, logit (ours)", recipes.realnvp, 8, 1_000)


def run(record: Record) -> None:
    """Train plain flows, flows with a bottleneck and flows given the label, each part under its own name."""
    task = load_eight_by_eight(record)
    plain = task.fit(Comparison(record.of_part("plain")), CANDIDATES)
    _plain(task, plain)
    through_bottleneck(record.of_part("bottleneck"), task, {"ours": WITH_BOTTLENECK})
    part = record.of_part("conditional")
    conditional = given_labels.train_given_labels(part, task, GIVEN_LABELS)
    given_labels.score_by_label(task, conditional)
    given_labels.codes_by_label(task, conditional)
    judged = given_labels.draw_by_label(task, conditional)
    given_labels.bottlenecks_by_label(part, task, WITH_BOTTLENECK)
    accuracy = {name: 100 * one.accuracy for name, one in judged.items()}
    record.answer(
        f"Does the forest see the label asked for in {100 * TARGET:.0f} % of the images at temperature 1?",
        f"The mark is {'reached' if judged['warm'].accuracy >= TARGET else 'missed'}: {accuracy['warm']:.1f} % at "
        f"temperature 1 and {accuracy['cool']:.1f} % at temperature 0.7; of real test images it recognises "
        f"{accuracy['real']:.1f} %.",
    )
    record.heading("Learning curves")
    histories = {
        f"{key}, {flows.record.part}": one.history
        for flows in (plain, conditional)
        for key, (one,) in flows.trained.items()
        if one.history
    }
    for name, history in histories.items():
        record.number(f"minutes.{name.replace(', ', '_')}", history.seconds / 60)
    figure = pictures.curves_over_minutes(histories, "NLL (nats an image)")
    record.picture("learning", figure, "NLL of training and validation images against minutes, level 1 wide.")


def load_eight_by_eight(record: Record) -> Task:
    """Return MNIST at 8 x 8 pixels, 1,000 of its 60,000 training images held out; the shipped part of it if quick."""
    found = mnist_sample(size=8) if record.quick else mnist(size=8, validation=HELD_OUT, seed=record.seed)
    # The first half of MNIST's test images was written by other people than the second: the first thousand, by which
    # samples are judged, would not be like the rest.
    order = torch.randperm(len(found.test.x), generator=torch.Generator().manual_seed(record.seed))
    test = LabelledImages(found.test.x[order], found.test.labels[order])
    judge = Judge(found.train, test, quick=record.quick, num_trees=200, most=1_000)
    return Task(
        found.train, found.validation, test, judge, LEVELS, num_seeds=1, autoencoder_steps=2_000, resumable=True
    )


def _plain(task: Task, flows: Comparison) -> None:
    record = flows.record
    record.heading("Plain flows: likelihood of test images")
    record.text(
        f"{len(task.train.x):,} images to train on, {len(task.validation.x):,} to stop by, {len(task.test.x):,} to "
        "test: every number below is from the last. An image is reduced to 10 x 10 pixels (Lanczos) and loses one all "
        f"round. Pixels are integers from 0 to {LEVELS - 1}, to which uniform noise from 0 to 1 is added each time an "
        "image is seen; the unit of the density is one level, so that bits a pixel need no offset. The source's pixels "
        f"are divided by {LEVELS - 1}; ours are divided by {LEVELS} and pass a logit, which gives the many pixels of "
        "level 0 room. One seed each."
    )
    simple = rivals(record, task)
    nats = without_labels.compare_likelihoods(task, flows, simple)
    best = min(simple, key=nats.__getitem__)
    record.answer(
        "Does the flow beat the best of the simple densities?",
        f"That is the {simple[best].name}, with {bits([nats[best]])[0]:.3f} bits/dim; the NLL of our flow is "
        f"{less_or_more(nats[best] - nats['ours'])}.",
    )
    without_labels.compare_codes(task, flows)
    without_labels.compare_samples(task, flows)


def rivals(record: Record, task: Task) -> dict[str, Rival]:
    """Return Gaussians and a mixture of Gaussians, in levels and behind the same logit as our flows."""
    x, seed, logit = task.train.x, record.seed, pixel_units("logit")
    num_components = record.size(NUM_COMPONENTS, quick=2)
    mixture = gaussian_mixture(x, seed, units=logit, num_components=num_components, shrinkage=SHRINKAGE)
    return {
        "gaussian": Rival("Gaussian, full covariance", whole_gaussian(x, seed)),
        "gaussian_logit": Rival("Gaussian, full covariance, of logits", whole_gaussian(x, seed, units=logit)),
        "mixture": Rival(f"{mixture.name}, of logits", mixture, gaussian_parameters(PIXELS, num_components)),
    }
