"""What every study is made of: the record, comparisons of models, and pictures; tables, cells and workers beside it."""

from pushforward.flows.in_words import num_parameters
from pushforward.studies.kit import images, pictures
from pushforward.studies.kit.comparison import Candidate, Comparison, Trained, drawn, train
from pushforward.studies.kit.levels import middles, one_hot, to_levels
from pushforward.studies.kit.pictures import Points
from pushforward.studies.kit.record import Record, file_name

__all__ = [
    "Candidate", "Comparison", "Points", "Record", "Trained", "drawn", "file_name", "images", "middles",
    "num_parameters", "one_hot", "pictures", "to_levels", "train",
]  # fmt: skip
