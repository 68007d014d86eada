"""Flows that know the label and have a bottleneck: both ways of sampling them."""

from dataclasses import asdict
from statistics import fmean

import torch

from pushforward.flows import Flow
from pushforward.studies.digits import models as digit_models
from pushforward.studies.digits import schemes as digit_schemes
from pushforward.studies.digits.models import NUM_LABELS, PIXELS, Task
from pushforward.studies.digits.quality import Judge
from pushforward.studies.digits.schemes import KEPT, Findings
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread


def bottlenecks(record: Record, data: Task, judge: Judge) -> None:
    """Train with a bottleneck of k = 2, 4, 8 and the label given; measure both ways of sampling."""
    record.heading("A bottleneck, with the label given")
    found: dict[int, list[Findings]] = {}
    shown: dict[int, Flow] = {}
    for k in (0, *KEPT):
        for seed in record.seeds(data.num_seeds):
            if k:
                flow = digit_schemes.train(record, "affine", data.recipes["affine"], data, seed, k, conditional=True)
                shown.setdefault(k, flow)
            else:
                label = f"affine, no bottleneck, seed {seed}"
                flow = digit_models.train(record, label, data.recipes["affine"], data, seed, conditional=True)
            found.setdefault(k, []).append(digit_schemes.measure(record, flow, k or KEPT[-1], data, judge, seed))
    rows = []
    for k, results in found.items():
        record.number(f"bottleneck.{f'k{k}' if k else 'none'}", [asdict(one) for one in results])
        rows.append(
            [
                f"k = {k}" if k else f"none, measured with {KEPT[-1]}",
                spread([digit_models.bits(one.nll.mean) for one in results]),
                spread([one.error for one in results]),
                spread([one.whole_accuracy for one in results]),
                spread([one.first_accuracy for one in results]),
                spread([one.first.confidence for one in results]),
                *digit_schemes.second_scheme_cells(results),
            ]
        )
    record.table(
        "Eight affine couplings, which take half the time of splines, trained with the label and a bottleneck, mean "
        "(lowest to highest) over the seeds: test "
        f"bits/dim, squared error of a rebuilt pixel (levels from 0 to {data.levels - 1}), accuracy of images of all "
        "codes, accuracy and confidence of images of the first k codes with the rest zero, and the second scheme. "
        + digit_schemes.SECOND_SCHEME_NOTE,
        [
            "bottleneck",
            "bits/dim",
            "rebuilding error",
            "accuracy, all codes",
            "accuracy, rest zero",
            "confidence, rest zero",
            *digit_schemes.SECOND_SCHEME_HEADER,
        ],
        rows,
    )
    asked = torch.arange(NUM_LABELS).repeat_interleave(10)
    panels = {f"k = {k}, the rest zero": digit_schemes.first_scheme(flow, asked, k, record.seed, data.levels)
              for k, flow in shown.items()}  # fmt: skip
    x, labels = digit_models.middles(data.test.x), data.test.labels
    firsts = torch.stack([(labels == label).nonzero()[0, 0] for label in range(NUM_LABELS)])
    for k, flow in shown.items():
        _, drawn = digit_schemes.second_scheme(flow, x[firsts], labels[firsts], k, 9, record.seed, data.levels)
        panels[f"k = {k} held, the rest drawn"] = torch.cat([data.test.x[firsts, None], drawn], 1).reshape(-1, PIXELS)
    record.picture(
        "schemes",
        digit_pictures.sheets(panels, across=3, levels=data.levels),
        "Our flow with a bottleneck and labels, one row a label. Above: the first k codes drawn, the rest zero. Below: "
        "a test image, then nine images with its first k codes and the rest drawn.",
    )
    record.answer(
        "With the label given, do the two sampling schemes behave as expected?",
        "; ".join(
            f"k = {k}: with the rest zero the forest sees the label in {_percent(found[k], 'first_accuracy')} of the "
            f"images, with all codes drawn in {_percent(found[k], 'whole_accuracy')}; with the first {k} held the "
            f"label is kept in {_percent(found[k], 'label_kept')} and the pixels keep "
            f"{100 * fmean([one.variance_kept / one.variance for one in found[k]]):.0f} % of the variance in a label"
            for k in KEPT
        )
        + f". Without a bottleneck all codes show the label in {_percent(found[0], 'whole_accuracy')}, the first "
        f"{KEPT[-1]} alone in {_percent(found[0], 'first_accuracy')}, and these hold it in "
        f"{_percent(found[0], 'label_kept')}.",
    )


def _percent(found: list[Findings], name: str) -> str:
    return f"{100 * fmean([getattr(one, name) for one in found]):.0f} %"
