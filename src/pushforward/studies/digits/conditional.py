"""Digits given their label: does a forest trained on real digits see the label asked for, and how surely?"""

from pushforward.studies.digits import given_labels
from pushforward.studies.digits.task import AFFINE, SPLINES, load, sources_flow
from pushforward.studies.kit import Record

TITLE = "Digits given their label"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 4"


def run(record: Record) -> None:
    """Train conditional flows from several seeds; judge their codes, images and bottlenecks label by label."""
    task = load(record)
    models = given_labels.fit(record, task, {"source": sources_flow(), "ours": SPLINES})
    given_labels.likelihood(task, models)
    given_labels.codes(task, models)
    given_labels.images(task, models)
    given_labels.bottlenecks(record, task, AFFINE)
