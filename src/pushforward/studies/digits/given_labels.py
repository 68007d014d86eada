"""Flows given the label of a digit: likelihood, codes, images drawn for a label, and bottlenecks."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from pushforward.flows.dequantization import dequantized
from pushforward.studies.digits import schemes
from pushforward.studies.digits.codes import NORMALITY_COLUMNS, NORMALITY_NOTE, SHOWN, encoded, normality, projections
from pushforward.studies.digits.gaussians import LabelGaussians
from pushforward.studies.digits.judge import QUALITY_COLUMNS, QUALITY_NOTE
from pushforward.studies.digits.schemes import KEPT, MOST, percent
from pushforward.studies.digits.task import NLL_COLUMNS, NUM_LABELS, Task, bits, less_or_more, nll_numbers, seconds_of
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, drawn, images, middles, pictures, to_levels
from pushforward.studies.kit.tables import Columns, Score, average, cells, mean, spread, values

TEMPERATURES = {"warm": 1.0, "cool": 0.7}
OURS = [("ours", word) for word in TEMPERATURES]


def train_given_labels(record: Record, task: Task, candidates: Mapping[str, Candidate]) -> Comparison:
    """Train candidates, "source" and "ours", given the labels, beside one Gaussian a label, "gaussians"."""
    gaussians = [
        Trained(LabelGaussians(dequantized(task.train.x, torch.Generator().manual_seed(seed)), task.train.labels), seed)
        for seed in record.seeds(task.num_seeds)
    ]
    named = {key: replace(one, name=f"conditional {one.name}") for key, one in candidates.items()}
    models = Comparison(record).add("gaussians", "one Gaussian a label", gaussians)
    return task.fit(models, named, given_labels=True)


def score_by_label(task: Task, models: Comparison) -> None:
    """Score test images given their labels, as mixtures of all labels, and by the label they make most probable."""
    record = models.record
    record.heading("Likelihood given the label")
    rows, nats, recognised = [], {}, {}
    for key, trained in models.trained.items():
        scores = [task.nll(one.model) for one in trained]
        by_label = [_log_prob_by_label(one.model, task.test.x, one.seed) for one in trained]
        mixture = [math.log(NUM_LABELS) - each.logsumexp(1).mean().item() for each in by_label]
        right = [(each.argmax(1) == task.test.labels).double().mean().item() for each in by_label]
        nats[key], recognised[key] = mean(scores, "mean"), right
        record.number(f"test.{key}", nll_numbers(scores) | {"marginal_nll": mixture, "recognised": right})
        rows.append(
            [models.names[key], *cells(NLL_COLUMNS, scores), spread(bits(mixture)), spread(right), seconds_of(trained)]
        )
    record.table(
        "Test images: NLL given the label, mean (lowest to highest) over the seeds, with the standard error of one "
        "seed; bits/dim of the same and of the mixture of all labels, which is a model of images without labels; and "
        "the share of test images whose label is the one that makes them most probable; the seconds are those of one "
        "training.",
        [
            "model",
            "NLL given the label (nats)",
            "standard error",
            "bits/dim",
            "bits/dim, mixture",
            "recognised",
            "seconds",
        ],
        rows,
    )
    record.answer(
        "Does the flow beat simple densities given the label?",
        f"The NLL of ours is {less_or_more(nats['gaussians'] - nats['ours'])} than that of one Gaussian a label and "
        f"{less_or_more(nats['longer'] - nats['ours'])} than that of the source's flow trained as long. By Bayes' rule "
        f"ours recognises {100 * fmean(recognised['ours']):.1f} % of the test images.",
    )


@torch.no_grad()
def _log_prob_by_label(model: Any, x: Tensor, seed: int) -> Tensor:
    """Return log p(x | label) of dequantized images for every label, (n, labels)."""
    x = dequantized(x, torch.Generator().manual_seed(seed))
    return torch.stack([model.log_prob(x, context).double() for context in torch.eye(NUM_LABELS)], 1)


def codes_by_label(task: Task, models: Comparison) -> None:
    """Compare the codes of "ours" with the standard normal, label by label."""
    record, labels, flow = models.record, task.test.labels, models.first("ours")
    record.heading("Is the code standard normal, label by label?")
    z = {one.seed: encoded(one.model, task.test, one.seed) for one in models.trained["ours"]}
    groups = {str(label): labels == label for label in range(NUM_LABELS)} | {"all": labels >= 0}
    found = {
        (name, int(chosen.sum())): normality(record, name, {seed: codes[chosen] for seed, codes in z.items()})
        for name, chosen in groups.items()
    }
    record.scores(f"Our flow. {NORMALITY_NOTE}", ["label", "images"], NORMALITY_COLUMNS, found)
    *by_label, _ = found.values()
    rejected = [one.kolmogorov_p_value <= 0.05 for scores in by_label for one in scores]
    radii = [mean(scores, "mean_square_radius") for scores in by_label]
    record.answer(
        "Are the codes standard normal for every label?",
        f"{sum(rejected)} of {len(rejected)} tests (labels and seeds, {int(groups['0'].sum())} images or so each) "
        f"reject it at 5 %, {0.05 * len(rejected):.1f} would by chance. The mean of |z|²/64 lies between "
        f"{min(radii):.2f} and {max(radii):.2f} over the labels.",
    )
    figure, panels = pictures.board(5, 2, size=2.4)
    for label, axes in enumerate(panels):
        shown = z[record.seed][labels == label][: SHOWN // NUM_LABELS, :2]
        images.draw_codes(axes, shown, torch.full((len(shown),), label), ("$z_1$", "$z_2$"))
    record.picture(
        "codes-by-label",
        figure,
        "The first two code dimensions of the test images of each label, given that label, by our flow; circles of "
        "radius 1 and 2.",
    )
    record.picture(
        "projections",
        projections(task, flow, record.seed),
        "Codes of test images of all labels on six planes. The flow was told the label, so the code need not hold it: "
        "the less the labels part, the better it used what it was told.",
    )


def draw_by_label(task: Task, models: Comparison) -> dict[str, Score]:
    """Draw images for given labels from every model, judge and show them.

    Returns:
        What the forest says of "real" test images and, on average over the seeds, of "warm" and "cool" ones of ours.
    """
    record, judge, real = models.record, task.judge, task.judge.real
    record.heading("Do the images show the label asked for?")
    kept = {name: value for name, value in vars(real).items() if name != "confidence_by_label"}
    record.number("judged.real_confidence_by_label", real.confidence_by_label)
    record.number("judged.real", kept)
    error = judge.judge(task.test.x).accuracy_error(task.test.labels)
    rows = {("real test images", f"{real.accuracy:.3f} ± {error:.3f}"): [real]}
    num_samples = record.size(200, quick=20)
    asked = torch.arange(NUM_LABELS).repeat_interleave(num_samples)
    found, shown = {}, {}
    for key, trained in models.trained.items():
        for word, temperature in TEMPERATURES.items():
            draw = partial(drawn, num_samples=num_samples, context=torch.eye(NUM_LABELS), temperature=temperature)
            sets = [to_levels(draw(one.model, seed=one.seed), task.levels) for one in trained]
            judged = found[key, word] = [judge.judged(x.flatten(0, 1), asked) for x in sets]
            shown[key, word] = sets[0]
            record.number(f"judged.{key}.{word}", [{"temperature": temperature, **vars(one)} for one in judged])
            name = f"{models.names[key]}, temperature {temperature:g}"
            rows[name, spread(values(judged, "accuracy"))] = judged
    record.scores(
        "Accuracy: share of images in which a forest trained on the real training images sees the label asked for. "
        + QUALITY_NOTE,
        ["images", "accuracy"],
        QUALITY_COLUMNS,
        rows,
    )
    means = {which: average(judged) for which, judged in found.items()}
    warm, cool, source, gaussians = (means[which] for which in (*OURS, ("source", "warm"), ("gaussians", "warm")))
    _by_label(record, [real], *(found[which] for which in OURS))
    _pictures_of_images(task, record, shown)
    bars = {"real test images": real, "ours": warm, "ours, temperature 0.7": cool, "source": source}
    shares = {name: one.by_label for name, one in bars.items()}
    figure = images.bars_by_label(shares, "share in which the forest sees the label")
    record.picture("accuracy", figure, "Share of images in which the forest sees the label asked for, mean over seeds.")
    worst = min(warm.by_label, key=warm.by_label.__getitem__)
    record.answer(
        "Do the synthetic digits look like examples of the desired label?",
        f"The forest sees it in {100 * warm.accuracy:.1f} % of the images of our flow and in {100 * cool.accuracy:.1f} "
        f"% at temperature 0.7, where it sees the true label in {100 * real.accuracy:.1f} % of the real test images; "
        f"with mean confidence {warm.confidence:.2f} and {cool.confidence:.2f}, {real.confidence:.2f} on real ones. "
        f"The source's flow reaches {100 * source.accuracy:.1f} %, one Gaussian a label "
        f"{100 * gaussians.accuracy:.1f} %. Hardest for ours is the {worst}, {100 * warm.by_label[worst]:.1f} %.",
    )
    record.answer(
        "Are they copies of training images?",
        f"{'No' if warm.distance > 0.9 * real.distance else 'Some are near'}: the nearest training image is "
        f"{warm.distance:.1f} levels away on average ({cool.distance:.1f} at temperature 0.7), from a real test image "
        f"{real.distance:.1f}; {100 * warm.near_share:.1f} % come nearer than 99 % of the real test images do.",
    )
    return {"real": real, "warm": warm, "cool": cool}


def _by_label(record: Record, real: list[Score], warm: list[Score], cool: list[Score]) -> None:
    sets = {"real": real, "temperature 1": warm, "temperature 0.7": cool}
    header, rows = ["label"], {label: [str(label)] for label in range(NUM_LABELS)}
    for name, judged in sets.items():
        header += [f"{name}: accuracy", "confidence"]
        for label, row in rows.items():
            row.append(spread([one.by_label[label] for one in judged]))
            row.append(spread([one.confidence_by_label[label] for one in judged]))
    title = "Label by label, mean (lowest to highest) over the seeds: our flow at temperatures 1 and 0.7."
    record.table(title, header, list(rows.values()))


def _pictures_of_images(task: Task, record: Record, shown: Mapping[tuple[str, str], Tensor]) -> None:
    real = [task.test.x[task.test.labels == label] for label in range(NUM_LABELS)]
    num_columns = min(10, *map(len, real))
    rows = {
        "real test images": torch.stack([x[:num_columns] for x in real]),
        "source's flow": shown["source", "warm"],
        "our flow": shown["ours", "warm"],
        "our flow, temperature 0.7": shown["ours", "cool"],
    }
    figure, panels = pictures.board(2, 2, size=3.7)
    for axes, (title, x) in zip(panels, rows.items(), strict=True):
        images.named_rows(axes, x[:, :num_columns], list(map(str, range(NUM_LABELS))), title, task.levels)
    record.picture("images", figure, "One row a label: real test images, and images drawn for the label, not chosen.")


BOTTLENECK_COLUMNS: Columns = (
    ("bits/dim", lambda found: spread(bits(values(found, "nll.mean")))),
    ("rebuilding error", "error"),
    ("accuracy, all codes", "whole_accuracy"),
    ("accuracy, rest zero", "first_accuracy"),
    ("confidence, rest zero", "first.confidence"),
    *schemes.SECOND_SCHEME_COLUMNS,
)


def bottlenecks_by_label(record: Record, task: Task, affine: Candidate) -> None:
    """Train affine couplings, given the label, with a bottleneck and without; measure both ways of sampling."""
    record.heading("A bottleneck, with the label given")
    flows = schemes.train_bottlenecks(
        record, task, {"affine": affine}, keep="bottleneck", none="none", given_labels=True
    )
    found = {k: one.scores["affine"] for k, one in flows.items()}
    record.scores(
        "Eight affine couplings, which take half the time of splines, trained with the label and a bottleneck, mean "
        "(lowest to highest) over the seeds: test "
        f"bits/dim, squared error of a rebuilt pixel (levels from 0 to {task.levels - 1}), accuracy of images of all "
        "codes, accuracy and confidence of images of the first k codes with the rest zero, and the second scheme. "
        + schemes.SECOND_SCHEME_NOTE,
        "bottleneck",
        BOTTLENECK_COLUMNS,
        {f"k = {k}" if k else f"none, measured with {MOST}": scores for k, scores in found.items()},
    )
    asked = torch.arange(NUM_LABELS).repeat_interleave(10)
    firsts = torch.stack([(task.test.labels == label).nonzero()[0, 0] for label in range(NUM_LABELS)])
    x, labels = task.test.x[firsts], task.test.labels[firsts]
    zero, held = {}, {}
    for k in KEPT:
        flow = flows[k].first("affine")
        zero[f"k = {k}, the rest zero"] = schemes.first_scheme(flow, asked, k, record.seed, task.levels)
        _, drawn = schemes.second_scheme(flow, middles(x), labels, k, 9, record.seed, task.levels)
        held[f"k = {k} held, the rest drawn"] = torch.cat([x[:, None], drawn], 1).flatten(0, 1)
    record.picture(
        "schemes",
        images.sheets(zero | held, across=3, levels=task.levels),
        "Our flow with a bottleneck and labels, one row a label. Above: the first k codes drawn, the rest zero. Below: "
        "a test image, then nine images with its first k codes and the rest drawn.",
    )
    said = [
        f"k = {k}: with the rest zero the forest sees the label in {percent(found[k], 'first_accuracy')} of the "
        f"images, with all codes drawn in {percent(found[k], 'whole_accuracy')}; with the first {k} held the label is "
        f"kept in {percent(found[k], 'label_kept')} and the pixels keep {schemes.variance_left(found[k])} of the "
        "variance in a label"
        for k in KEPT
    ]
    record.answer(
        "With the label given, do the two sampling schemes behave as expected?",
        f"{'; '.join(said)}. Without a bottleneck all codes show the label in {percent(found[0], 'whole_accuracy')}, "
        f"the first {MOST} alone in {percent(found[0], 'first_accuracy')}, and these hold it in "
        f"{percent(found[0], 'label_kept')}.",
    )
