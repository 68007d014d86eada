"""Digits of 8 x 8 pixels: plain flows in 64 dimensions, their codes, their samples, and why integers need noise."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from pushforward import recipes
from pushforward.data.digits import LEVELS
from pushforward.flows import Flow
from pushforward.metrics import latent_normality
from pushforward.report.plots import latent_quantiles
from pushforward.studies.digits import codes as digit_codes
from pushforward.studies.digits import models as digit_models
from pushforward.studies.digits.gaussians import whole_gaussian
from pushforward.studies.digits.models import (
    FIRST_RUN,
    MANY,
    OUR_RECIPE,
    PIXELS,
    SOURCE_RECIPE,
    Task,
    at_most,
    less_or_more,
)
from pushforward.studies.digits.quality import QUALITY_HEADER, QUALITY_NOTE, Judge, Quality, mean_quality, quality_cells
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit import pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread
from pushforward.tables.baselines import Baseline
from pushforward.transforms import Scale

TITLE = "Digits in 64 dimensions"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 3, part 1"

RECIPES = {"first": FIRST_RUN, "source": SOURCE_RECIPE, "ours": OUR_RECIPE}
NAMES = {
    "first": "RealNVP, 2 blocks, 10 epochs (source's start)",
    "source": "RealNVP, 8 blocks, 100 epochs (source)",
    "ours": "spline couplings, logit, dropout (ours)",
}
GAUSSIAN_PARAMETERS = PIXELS * (PIXELS + 3) // 2
Flows = dict[str, dict[int, Flow]]  # by recipe and seed


def run(record: Record) -> None:
    """Train the source's flow and ours from several seeds; look at codes, samples and the need for noise."""
    data = digit_models.load(record)
    flows: Flows = {
        key: {seed: digit_models.train(record, f"{key}, seed {seed}", recipe, data, seed) for seed in record.seeds()}
        for key, recipe in RECIPES.items()
    }
    record.heading("Likelihood of test images")
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x)} to stop and choose by, {len(data.test.x)} "
        f"to test: every number below is from the last. Pixels are integers from 0 to {LEVELS - 1}; each time an image "
        "is seen, uniform noise from 0 to 1 is added. The density of the sum bounds the probability of the integers, "
        "and its unit is one level: bits a pixel need no offset. The source's pixels are divided by 16; ours pass a "
        "logit, and its networks drop a fifth of their hidden values while training."
    )
    gaussian = Rival("Gaussian, full covariance", whole_gaussian(data.train.x, record.seed), GAUSSIAN_PARAMETERS)
    likelihood(record, data, flows, NAMES, {"gaussian": gaussian})
    codes(record, data, flows, NAMES)
    samples(record, data, flows, NAMES, Judge(data, quick=record.quick))
    _without_noise(record, data)


@dataclass(frozen=True)
class Rival:
    """A simple density of the training images that the flows have to beat."""

    name: str
    density: Baseline
    parameters: int


def likelihood(record: Record, data: Task, flows: Flows, names: dict[str, str], rivals: dict[str, Rival]) -> None:
    """Score test images by flows and rivals; there are flows "source" and "ours", and a rival "gaussian"."""
    uniform = PIXELS * math.log(data.levels)
    record.number("test.uniform", {"nll": uniform, "bits_per_dim": math.log2(data.levels)})
    rows: list[list[object]] = [
        ["every image equally likely", 0, f"{uniform:.2f}", "", f"{math.log2(data.levels):.3f}", ""]
    ]
    simple = {}
    for key, rival in rivals.items():
        score = simple[key] = digit_models.held_out_nll(rival.density, data.test, data.levels)
        record.number(f"test.{key}", asdict(score) | {"bits_per_dim": digit_models.bits(score.mean)})
        rows.append(_likelihood_row(rival.name, rival.parameters, [score.mean], score, ""))
    gaussian = simple["gaussian"]
    seen = at_most(data.train, MANY)
    nats: dict[str, list[float]] = {}
    for key, name in names.items():
        scores = [digit_models.held_out_nll(flow, data.test, data.levels) for flow in flows[key].values()]
        trained = [digit_models.held_out_nll(flow, seen, data.levels).mean for flow in flows[key].values()]
        nats[key] = [score.mean for score in scores]
        record.number(
            f"test.{key}",
            {
                "nll": nats[key],
                "standard_error": [score.standard_error for score in scores],
                "bits_per_dim": [digit_models.bits(value) for value in nats[key]],
                "train_nll": trained,
            },
        )
        parameters = sum(parameter.numel() for parameter in next(iter(flows[key].values())).parameters())
        gap = spread([test - train for test, train in zip(nats[key], trained, strict=True)])
        rows.append(_likelihood_row(name, parameters, nats[key], scores[0], gap))
    record.table(
        "Test NLL in nats an image and in bits a pixel, mean (lowest to highest) over the seeds; the standard error is "
        "that of one seed, from the test images. The gap is test minus training NLL.",
        ["model", "parameters", "test NLL (nats)", "standard error", "bits/dim", "gap (nats)"],
        rows,
    )
    best = sum(nats["ours"]) / len(nats["ours"])
    plain = sum(nats["source"]) / len(nats["source"])
    record.answer(
        "How well does a flow fit 64 dimensions?",
        f"The source's RealNVP reaches {digit_models.bits(plain):.3f} bits/dim on test images, ours "
        f"{digit_models.bits(best):.3f}, a Gaussian with full covariance {digit_models.bits(gaussian.mean):.3f}; "
        f"the NLL of ours is {less_or_more(plain - best)} than the source's and "
        f"{less_or_more(gaussian.mean - best)} than the Gaussian's.",
    )


def _likelihood_row(name: str, parameters: int, nats: list[float], score: object, gap: str) -> list[object]:
    bits = spread([digit_models.bits(value) for value in nats])
    return [name, parameters, spread(nats), score.standard_error, bits, gap]  # type: ignore[attr-defined]


def codes(record: Record, data: Task, flows: Flows, names: dict[str, str]) -> None:
    """Compare the codes of the flows "source" and "ours" with the standard normal."""
    seen = at_most(data.train, MANY)
    record.heading("Is the code standard normal?")
    rows, verdicts = [], []
    for key in ("source", "ours"):
        for part_name, part in (("test", data.test), ("training", seen)):
            found = [
                latent_normality(digit_codes.encoded(flow, part, seed), seed=seed) for seed, flow in flows[key].items()
            ]
            rows.append([f"{names[key]}, {part_name}", *digit_codes.normality_cells(found)])
            record.number(f"codes.{key}.{part_name}", [digit_codes.normality(one) for one in found])
            if part_name == "test":
                verdicts.append((key, found))
    record.table(digit_codes.NORMALITY_NOTE, ["codes of", *digit_codes.NORMALITY_HEADER], rows)
    for key, found in verdicts:
        name = "the source's flow" if key == "source" else "our flow"
        largest = max(one.kolmogorov_p_value for one in found)
        radius = sum(digit_codes.mean_square_radius(one) for one in found) / len(found)
        normal = largest > 0.05
        wide = "too far out" if radius > 1.02 else "too far in" if radius < 0.98 else "at the right distance"
        record.answer(
            f"Are the codes of test data standard normal with {name}?",
            f"{'A test cannot tell' if normal else 'No'}: the Kolmogorov p-value is at most {largest:.2f} over the "
            f"seeds. On average |z|²/64 is {radius:.2f}: the codes of images not trained on lie {wide}"
            f"{', as they do when a flow knows its training images too well' if radius > 1.02 else ''}.",
        )
    seed = record.seed
    record.picture(
        "quantiles-source",
        latent_quantiles(verdicts[0][1][0], most_dimensions=PIXELS),
        "Quantiles of each of the 64 code dimensions of test images against those of N(0, 1), source's flow.",
    )
    record.picture(
        "quantiles-ours",
        latent_quantiles(verdicts[1][1][0], most_dimensions=PIXELS),
        "The same for our flow.",
    )
    z = digit_codes.encoded(flows["ours"][seed], data.test, seed)
    train_z = digit_codes.encoded(flows["ours"][seed], seen, seed)
    record.picture(
        "projections",
        digit_codes.projections(z, data.test.labels, train_z, seen.labels, seed),
        "Codes of test images by our flow on six planes, each drawn as its label. The circles have radius 1 and 2: in "
        "a standard normal plane they hold 39 % and 86 % of the points. A flow trained without labels may keep the "
        "labels apart in its code; only their union should be normal.",
    )


def samples(record: Record, data: Task, flows: Flows, names: dict[str, str], judge: Judge) -> None:
    """Draw images from the flows, "source" and "ours" among them, and measure and show them."""
    record.heading("Samples")
    drawn = {"real test images": [data.test.x]}
    for key in names:
        drawn[key] = [_drawn(record, data, flow, seed) for seed, flow in flows[key].items()]
    drawn["ours, temperature 0.7"] = [_drawn(record, data, flow, seed, 0.7) for seed, flow in flows["ours"].items()]
    found: dict[str, list[Quality]] = {}
    rows = []
    for key, sets in drawn.items():
        found[key] = [judge.quality(images) for images in sets]
        rows.append([names.get(key, key), *quality_cells(found[key])])
        record.number(f"samples.{key.replace('.', '_')}", [asdict(one) for one in found[key]])
    record.table(QUALITY_NOTE, ["images", *QUALITY_HEADER], rows)
    record.picture(
        "samples",
        digit_pictures.sheets(
            {
                "real test images": data.test.x[:100],
                "source's RealNVP": drawn["source"][0][:100],
                "ours": drawn["ours"][0][:100],
                "ours, temperature 0.7": drawn["ours, temperature 0.7"][0][:100],
            },
            levels=data.levels,
        ),
        "A hundred test images, and a hundred samples each of the source's flow and of ours, not chosen.",
    )
    real, ours, source = (mean_quality(found[key]) for key in ("real test images", "ours", "source"))
    record.answer(
        "Is the quality of generated data good?",
        f"A forest trained on real digits is sure of its label to {real['confidence']:.2f} on real test images, to "
        f"{source['confidence']:.2f} on the source's samples and to {ours['confidence']:.2f} on ours. MMD² to the test "
        f"images is {source['mmd']:.4f} for the source's flow and {ours['mmd']:.4f} for ours, which a permutation test "
        f"{'tells' if ours['mmd_p_value'] < 0.05 else 'does not tell'} from real ones (p = {ours['mmd_p_value']:.3f}).",
    )
    record.answer(
        "Are samples copies of training images?",
        f"{'No' if ours['distance'] > 0.9 * real['distance'] else 'Some are near'}: the nearest training image is on "
        f"average {ours['distance']:.1f} levels away from a sample of ours, {real['distance']:.1f} from a real test "
        f"image; {100 * ours['near_share']:.1f} % of the samples come nearer than 99 % of the test images do.",
    )


def _drawn(record: Record, data: Task, flow: Flow, seed: int, temperature: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    num_samples = 100 if record.quick else 1_000
    return digit_models.to_levels(flow.sample(num_samples, temperature=temperature, generator=generator), data.levels)


def _without_noise(record: Record, data: Task) -> None:
    record.heading("Without dequantization")
    noisy = [_curves(record, data, seed, noise=True) for seed in record.seeds()]
    bare = [_curves(record, data, seed, noise=False) for seed in record.seeds()]
    for name, found in (("with_noise", noisy), ("integers", bare)):
        record.number(
            f"without_noise.{name}",
            [{"steps": steps, "training_nll": seen, "validation_nll": held} for steps, seen, held in found],
        )
    figure, panels = pictures.board(2, size=4.0)
    for part, title, axes in zip((1, 2), ("training images", "validation images"), panels, strict=True):
        lines: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            "integers with noise": (noisy[0][0], noisy[0][part]),
            "integers as they are": (bare[0][0], bare[0][part]),
        }
        pictures.curves(axes, lines, "training steps", "NLL (nats an image)", title)
    panels[1].set_yscale("log")
    record.picture(
        "without-noise",
        figure,
        "NLL of affine couplings trained on the integers themselves, and on integers with noise; the right axis is "
        "logarithmic.",
    )
    steps, values, _ = bare[0]
    middle = len(values) // 2
    falling = values[-1] < values[middle]
    ends = {(name, part): fmean(one[part][-1] for one in found) for name, found in (("noisy", noisy), ("bare", bare))
            for part in (1, 2)}  # fmt: skip
    diverges = falling and ends["bare", 1] < ends["noisy", 1] and ends["bare", 2] > ends["noisy", 2]
    record.answer(
        "Why is noise added to the pixels?",
        f"Without it the NLL of the training images is {values[0]:.0f} nats after {steps[0]:.0f} steps, "
        f"{values[middle]:.0f} after {steps[middle]:.0f} and {values[-1]:.0f} after {steps[-1]:.0f}, "
        f"{'still falling' if falling else 'no longer falling'}; at the end it is {ends['bare', 1]:.0f} on average "
        f"over the seeds and {ends['noisy', 1]:.0f} with noise. That of the validation images is "
        f"{ends['bare', 2]:,.0f} without noise and {ends['noisy', 2]:,.0f} with it. "
        + (
            "The density piles up on the very values that the training images take, where nothing bounds it, and "
            "leaves all others: it says nothing about digits."
            if diverges
            else "The run does not show the density grow without bound."
        ),
    )


def _curves(record: Record, data: Task, seed: int, *, noise: bool) -> tuple[list[float], list[float], list[float]]:
    """Return steps, training and validation NLL of affine couplings trained with or without noise."""
    torch.manual_seed(seed)
    flow = recipes.realnvp(PIXELS, hidden_features=(128, 128), mask="random", preprocessing=[Scale(1 / (LEVELS - 1))])
    rows = [part.x if noise else part.x.float() for part in (data.train, data.validation)]
    history = record.fit(
        f"{'with' if noise else 'without'} noise, seed {seed}",
        flow,
        rows[0],
        validation=rows[1],
        dequantize=LEVELS if noise else None,
        num_steps=12 if record.quick else 600,
        learning_rate=2e-3,
        schedule="constant",
        batch_size=100,
        seed=seed,
    )
    table = history.to_numpy()
    seen = np.isfinite(table["validation_loss"]) & np.isfinite(table["train_loss"])
    steps, trained, held = (table[key][seen].tolist() for key in ("step", "train_loss", "validation_loss"))
    return steps, trained, held
