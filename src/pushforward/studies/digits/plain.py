"""Digits of 8 x 8 pixels: plain flows in 64 dimensions, and why integers need noise."""

from statistics import fmean

import numpy as np

from pushforward import Flow, recipes
from pushforward.data.digits import LEVELS
from pushforward.studies.digits import without_labels
from pushforward.studies.digits.gaussians import whole_gaussian
from pushforward.studies.digits.task import PIXELS, QUICK, SPLINES, Task, as_long_as_ours, load_digits, sources_realnvp
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, pictures
from pushforward.studies.kit.tables import Score
from pushforward.transforms import Scale

TITLE = "Digits in 64 dimensions"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 3, part 1"

CANDIDATES = {  # an epoch is 10 batches of 100
    "first": sources_realnvp("RealNVP, 2 blocks, 10 epochs (source's start)", num_layers=2, num_steps=100),
    "source": sources_realnvp("RealNVP, 8 blocks, 100 epochs (source)"),
    "ours": SPLINES,
    "longer": as_long_as_ours(sources_realnvp()),
}


def run(record: Record) -> None:
    """Train the source's flow and ours from several seeds; look at codes, samples and the need for noise."""
    task = load_digits(record)
    flows = task.fit(Comparison(record), CANDIDATES)
    record.heading("Likelihood of test images")
    record.text(
        f"{len(task.train.x):,} images to train on, {len(task.validation.x)} to stop and choose by, {len(task.test.x)} "
        f"to test: every number below is from the last. Pixels are integers from 0 to {LEVELS - 1}; each time an image "
        "is seen, uniform noise from 0 to 1 is added. The density of the sum bounds the probability of the integers, "
        "and its unit is one level: bits a pixel need no offset. The source's pixels are divided by 16; ours pass a "
        "logit, and its networks drop a fifth of their hidden values while training."
    )
    gaussian = without_labels.Rival("Gaussian, full covariance", whole_gaussian(task.train.x, record.seed))
    without_labels.compare_likelihoods(task, flows, {"gaussian": gaussian})
    without_labels.compare_codes(task, flows)
    without_labels.compare_samples(task, flows)
    _without_noise(record, task)


def _without_noise(record: Record, task: Task) -> None:
    record.heading("Without dequantization")
    options = {"num_steps": 600, "learning_rate": 2e-3, "schedule": "constant", "batch_size": 100}
    flows = Comparison(record).train(
        {
            "with_noise": Candidate("with noise", _affine_flow, {**options, "dequantize": LEVELS}, QUICK),
            "integers": Candidate("without noise", _affine_flow, options, QUICK),
        },
        lambda seed: task.train.x.float(),
        label="{name}, seed {seed}",
        validation=task.validation.x.float(),
    )
    kept = flows.score(_curves, keep="without_noise.{key}", by_seed=True).scores
    noisy, bare = (_average(found) for found in kept.values())
    figure, panels = pictures.board(2, size=4.0)
    for axes, part in zip(panels, ("training", "validation"), strict=True):
        lines = {
            name: (one.steps, getattr(one, f"{part}_nll"))
            for name, one in (("integers with noise", noisy), ("integers as they are", bare))
        }
        pictures.curves(axes, lines, "training steps", "NLL (nats an image)", f"{part} images")
    panels[1].set_yscale("log")
    record.picture(
        "without-noise",
        figure,
        "NLL of affine couplings trained on the integers themselves, and on integers with noise, mean over the seeds; "
        "the right axis is logarithmic.",
    )
    steps, nats = bare.steps, bare.training_nll
    middle = len(nats) // 2
    falling = nats[-1] < nats[middle]
    seen_noisy, held, held_noisy = noisy.training_nll[-1], bare.validation_nll[-1], noisy.validation_nll[-1]
    record.answer(
        "Why is noise added to the pixels?",
        f"Without it the NLL of the training images, mean over the seeds, is {nats[0]:.0f} nats after {steps[0]:.0f} "
        f"steps, {nats[middle]:.0f} after {steps[middle]:.0f} and {nats[-1]:.0f} after {steps[-1]:.0f}, "
        f"{'still falling' if falling else 'no longer falling'}; with noise it ends at {seen_noisy:.0f}. That of the "
        f"validation images ends at {held:,.0f} without noise and at {held_noisy:,.0f} with it. "
        + (
            "The density piles up on the very values that the training images take, where nothing bounds it, and "
            "leaves all others: it says nothing about digits."
            if falling and nats[-1] < seen_noisy and held > held_noisy
            else "The run does not show the density grow without bound."
        ),
    )


def _affine_flow() -> Flow:
    return recipes.realnvp(PIXELS, hidden_features=(128, 128), mask="random", preprocessing=[Scale(1 / (LEVELS - 1))])


def _curves(one: Trained) -> Score:
    """Return the NLL while training, in nats an image."""
    assert one.history is not None
    table = one.history.to_numpy()
    known = np.isfinite(table["validation_loss"]) & np.isfinite(table["train_loss"])
    steps, training, validation = (table[name][known].tolist() for name in ("step", "train_loss", "validation_loss"))
    return Score(steps=steps, training_nll=training, validation_nll=validation)


def _average(seeds: list[Score]) -> Score:
    """Return the mean of the curves of several seeds, which are measured at the same steps."""
    columns = {name: [vars(one)[name] for one in seeds] for name in vars(seeds[0])}
    return Score(**{name: [fmean(at) for at in zip(*curves, strict=True)] for name, curves in columns.items()})
