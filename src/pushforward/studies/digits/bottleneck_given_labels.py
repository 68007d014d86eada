"""Flows that know the label and have a bottleneck: both ways of sampling them."""

import torch

from pushforward.studies.digits.schemes import (
    KEPT,
    SECOND_SCHEME_COLUMNS,
    SECOND_SCHEME_NOTE,
    bottlenecks,
    each_k,
    first_scheme,
    percent,
    second_scheme,
)
from pushforward.studies.digits.task import NUM_LABELS, Task, bits
from pushforward.studies.kit import images
from pushforward.studies.kit.comparison import Candidate
from pushforward.studies.kit.levels import middles
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import Columns, spread, values

COLUMNS: Columns = (
    ("bits/dim", lambda found: spread(bits(values(values(found, "nll"), "mean")))),
    ("rebuilding error", "error"),
    ("accuracy, all codes", "whole_accuracy"),
    ("accuracy, rest zero", "first_accuracy"),
    ("confidence, rest zero", lambda found: spread(values(values(found, "first"), "confidence"))),
    *SECOND_SCHEME_COLUMNS,
)


def bottleneck_given_labels(record: Record, task: Task, affine: Candidate) -> None:
    """Train affine couplings, given the label, with a bottleneck and without; measure both ways of sampling."""
    record.heading("A bottleneck, with the label given")
    flows, by_k = bottlenecks(record, task, {"affine": affine}, keep="bottleneck", none="none", given_labels=True)
    found = {k: one["affine"] for k, one in by_k.items()}
    record.scores(
        "Eight affine couplings, which take half the time of splines, trained with the label and a bottleneck, mean "
        "(lowest to highest) over the seeds: test "
        f"bits/dim, squared error of a rebuilt pixel (levels from 0 to {task.levels - 1}), accuracy of images of all "
        "codes, accuracy and confidence of images of the first k codes with the rest zero, and the second scheme. "
        + SECOND_SCHEME_NOTE,
        "bottleneck",
        COLUMNS,
        {f"k = {k}" if k else f"none, measured with {KEPT[-1]}": scores for k, scores in found.items()},
    )
    asked = torch.arange(NUM_LABELS).repeat_interleave(10)
    firsts = torch.stack([(task.test.labels == label).nonzero()[0, 0] for label in range(NUM_LABELS)])
    x, labels = task.test.x[firsts], task.test.labels[firsts]
    zero, held = {}, {}
    for k in KEPT:
        flow = flows[k].first("affine")
        zero[f"k = {k}, the rest zero"] = first_scheme(flow, asked, k, record.seed, task.levels)
        _, drawn = second_scheme(flow, middles(x), labels, k, 9, record.seed, task.levels)
        held[f"k = {k} held, the rest drawn"] = torch.cat([x[:, None], drawn], 1).flatten(0, 1)
    record.picture(
        "schemes",
        images.sheets(zero | held, across=3, levels=task.levels),
        "Our flow with a bottleneck and labels, one row a label. Above: the first k codes drawn, the rest zero. Below: "
        "a test image, then nine images with its first k codes and the rest drawn.",
    )
    said = each_k(
        lambda k: (
            f"with the rest zero the forest sees the label in {percent(found[k], 'first_accuracy')} of the images, "
            f"with all codes drawn in {percent(found[k], 'whole_accuracy')}; with the first {k} held the label is kept "
            f"in {percent(found[k], 'label_kept')} and the pixels keep {percent(found[k], 'variance_share')} of the "
            "variance in a label"
        )
    )
    record.answer(
        "With the label given, do the two sampling schemes behave as expected?",
        f"{said}. Without a bottleneck all codes show the label in {percent(found[0], 'whole_accuracy')}, the first "
        f"{KEPT[-1]} alone in {percent(found[0], 'first_accuracy')}, and these hold it in "
        f"{percent(found[0], 'label_kept')}.",
    )
