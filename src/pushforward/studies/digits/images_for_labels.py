"""Images of digits drawn for given labels: do they show the label, and how do they compare with real ones?"""

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.studies.digits.models import (
    NUM_LABELS,
    PIXELS,
    Task,
    to_levels,
)
from pushforward.studies.digits.quality import QUALITY_HEADER, QUALITY_NOTE, Judge, Quality, quality_cells
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit import pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread

TEMPERATURES = (1.0, 0.7)


def names_of(data: Task) -> dict[str, str]:
    """Return the kinds of models of images given their label, and what tables call them."""
    return {
        "gaussians": "one Gaussian a label",
        "source": "conditional RealNVP (source)",
        "ours": f"conditional spline couplings, {data.details} (ours)",
    }


@dataclass(frozen=True)
class Judged:
    """Images drawn for given labels, and what the forest says of them."""

    images: Tensor  # (labels, n, 64)
    accuracy: float
    by_label: dict[int, float]
    confidence_by_label: dict[int, float]
    quality: Quality


def judged_images(record: Record, data: Task, judge: Judge, models: dict[str, dict[int, Any]]) -> None:
    """Draw images for given labels from every model (by kind and seed), and judge and show them."""
    record.heading("Do the images show the label asked for?")
    real = judge.judge(data.test.x)
    ceiling = real.accuracy(data.test.labels)
    real_quality = judge.quality(data.test.x)
    record.number(
        "judged.real",
        {"accuracy": ceiling, "by_label": real.accuracy_by_label(data.test.labels), **asdict(real_quality)},
    )
    error = real.accuracy_error(data.test.labels)
    rows = [["real test images", f"{ceiling:.3f} ± {error:.3f}", *quality_cells([real_quality])]]
    found: dict[tuple[str, float], list[Judged]] = {}
    for key, name in names_of(data).items():
        for temperature in TEMPERATURES:
            found[key, temperature] = [
                _judged(record, data, judge, model, temperature, seed) for seed, model in models[key].items()
            ]
            judged = found[key, temperature]
            rows.append(
                [
                    f"{name}, temperature {temperature:g}",
                    spread([one.accuracy for one in judged]),
                    *quality_cells([one.quality for one in judged]),
                ]
            )
            record.number(
                f"judged.{key}.{'warm' if temperature == 1 else 'cool'}",
                [
                    {
                        "temperature": temperature,
                        "accuracy": one.accuracy,
                        "by_label": one.by_label,
                        "confidence_by_label": one.confidence_by_label,
                    }
                    | asdict(one.quality)
                    for one in judged
                ],
            )
    record.table(
        "Accuracy: share of images in which a forest trained on the real training images sees the label asked for. "
        + QUALITY_NOTE,
        ["images", "accuracy", *QUALITY_HEADER],
        rows,
    )
    warm, cool = (found["ours", temperature] for temperature in TEMPERATURES)
    _by_label(record, real, data.test.labels, warm, cool)
    _pictures_of_images(record, data, found, real.accuracy_by_label(data.test.labels))
    by_label = [fmean([one.by_label[label] for one in warm]) for label in range(NUM_LABELS)]
    worst = min(range(NUM_LABELS), key=by_label.__getitem__)
    accuracy, cool_accuracy = fmean([one.accuracy for one in warm]), fmean([one.accuracy for one in cool])
    record.answer(
        "Do the synthetic digits look like examples of the desired label?",
        f"The forest sees it in {100 * accuracy:.1f} % of the images of our flow and in {100 * cool_accuracy:.1f} % at "
        f"temperature 0.7, where it sees the true label in {100 * ceiling:.1f} % of the real test images; with mean "
        f"confidence {fmean([one.quality.confidence for one in warm]):.2f} and "
        f"{fmean([one.quality.confidence for one in cool]):.2f}, {real_quality.confidence:.2f} on real ones. The "
        f"source's flow reaches {100 * fmean([one.accuracy for one in found['source', 1.0]]):.1f} %, one Gaussian a "
        f"label {100 * fmean([one.accuracy for one in found['gaussians', 1.0]]):.1f} %. Hardest for ours is the "
        f"{worst}, {100 * by_label[worst]:.1f} %.",
    )
    distance = fmean([one.quality.distance for one in warm])
    cool_distance = fmean([one.quality.distance for one in cool])
    near = fmean([one.quality.near_share for one in warm])
    record.answer(
        "Are they copies of training images?",
        f"{'No' if distance > 0.9 * real_quality.distance else 'Some are near'}: the nearest training image is "
        f"{distance:.1f} levels away on average ({cool_distance:.1f} at temperature 0.7), from a real test image "
        f"{real_quality.distance:.1f}; {100 * near:.1f} % come nearer than 99 % of the real test images do.",
    )


def _by_label(record: Record, real: metrics.Judgement, labels: Tensor, warm: list[Judged], cool: list[Judged]) -> None:
    accuracy, confidence = real.accuracy_by_label(labels), real.confidence_by_label(labels)
    record.number("judged.real_confidence_by_label", confidence)
    record.table(
        "Label by label, mean (lowest to highest) over the seeds: our flow at temperatures 1 and 0.7.",
        [
            "label",
            "real: accuracy",
            "confidence",
            "temperature 1: accuracy",
            "confidence",
            "temperature 0.7: accuracy",
            "confidence",
        ],
        [
            [
                str(label),
                accuracy[label],
                confidence[label],
                spread([one.by_label[label] for one in warm]),
                spread([one.confidence_by_label[label] for one in warm]),
                spread([one.by_label[label] for one in cool]),
                spread([one.confidence_by_label[label] for one in cool]),
            ]
            for label in range(NUM_LABELS)
        ],
    )


def _pictures_of_images(
    record: Record, data: Task, found: dict[tuple[str, float], list[Judged]], real: dict[int, float]
) -> None:
    least = min(int((data.test.labels == label).sum()) for label in range(NUM_LABELS))
    num_columns = min(10, least)
    real_images = torch.stack([data.test.x[data.test.labels == label][:num_columns] for label in range(NUM_LABELS)])
    figure, panels = pictures.board(2, 2, size=3.7)
    digit_pictures.rows_of_labels(panels[0], real_images, "real test images", data.levels)
    for axes, (key, temperature, title) in zip(
        panels[1:],
        (("source", 1.0, "source's flow"), ("ours", 1.0, "our flow"), ("ours", 0.7, "our flow, temperature 0.7")),
        strict=True,
    ):
        digit_pictures.rows_of_labels(axes, found[key, temperature][0].images[:, :num_columns], title, data.levels)
    record.picture("images", figure, "One row a label: real test images, and images drawn for the label, not chosen.")
    figure, (axes,) = pictures.board(1, size=4.2)
    figure.set_size_inches(9, 3.8)
    digit_pictures.bars_by_label(
        axes,
        {
            "real test images": [real[label] for label in range(NUM_LABELS)],
            "ours": [fmean([one.by_label[label] for one in found["ours", 1.0]]) for label in range(NUM_LABELS)],
            "ours, temperature 0.7": [
                fmean([one.by_label[label] for one in found["ours", 0.7]]) for label in range(NUM_LABELS)
            ],
            "source": [fmean([one.by_label[label] for one in found["source", 1.0]]) for label in range(NUM_LABELS)],
        },
        "share in which the forest sees the label",
    )
    record.picture("accuracy", figure, "Share of images in which the forest sees the label asked for, mean over seeds.")


@torch.no_grad()
def _judged(record: Record, data: Task, judge: Judge, model: Any, temperature: float, seed: int) -> Judged:
    num_samples = 20 if record.quick else 200
    generator = torch.Generator().manual_seed(seed)
    images = to_levels(
        model.sample(num_samples, torch.eye(NUM_LABELS), temperature=temperature, generator=generator), data.levels
    )
    flat, labels = images.reshape(-1, PIXELS), torch.arange(NUM_LABELS).repeat_interleave(num_samples)
    judgement = judge.judge(flat)
    return Judged(
        images,
        judgement.accuracy(labels),
        judgement.accuracy_by_label(labels),
        judgement.confidence_by_label(labels),
        judge.quality(flat),
    )
