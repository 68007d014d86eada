"""Tables that do not fit into memory, and work shared by processes and machines."""

from pushforward.scale.scorer import Scorer

__all__ = ["Scorer"]
