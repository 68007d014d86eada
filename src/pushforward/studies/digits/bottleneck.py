"""Digits through a bottleneck: the source's flow and ours, trained to rebuild an image from its first few codes."""

from pushforward.studies.digits.task import AFFINE, load_digits, sources_realnvp
from pushforward.studies.digits.through_bottleneck import through_bottleneck
from pushforward.studies.kit import Record

TITLE = "Digits through a bottleneck"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 3, part 2"


def run(record: Record) -> None:
    """Train flows with and without a bottleneck and autoencoders from several seeds, and compare what they make."""
    through_bottleneck(record, load_digits(record), {"source": sources_realnvp(), "ours": AFFINE})
