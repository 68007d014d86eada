"""Digits given their label: does a forest trained on real digits see the label asked for, and how surely?"""

from pushforward.studies.digits import given_labels
from pushforward.studies.digits.task import AFFINE, SPLINES, as_long_as_ours, load_digits, sources_realnvp
from pushforward.studies.kit import Record

TITLE = "Digits given their label"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 4"


def run(record: Record) -> None:
    """Train conditional flows from several seeds; judge their codes, images and bottlenecks label by label."""
    task = load_digits(record)
    models = given_labels.train_given_labels(
        record, task, {"source": sources_realnvp(), "ours": SPLINES, "longer": as_long_as_ours(sources_realnvp())}
    )
    given_labels.score_by_label(task, models)
    given_labels.codes_by_label(task, models)
    given_labels.draw_by_label(task, models)
    given_labels.bottlenecks_by_label(record, task, AFFINE)
