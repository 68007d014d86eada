"""A model on disk: how it is built, as plain values, and its tensors; loading runs no code of the file's."""

from pushforward.model_file.format import MODEL_FILE
from pushforward.model_file.loading import load, load_with_metadata, read_metadata
from pushforward.model_file.saving import save
from pushforward.model_file.types import TYPES

__all__ = ["MODEL_FILE", "TYPES", "load", "load_with_metadata", "read_metadata", "save"]
