"""Tables that do not fit into memory, and work shared by processes and machines."""

from pushforward.scale.scorer import Scorer
from pushforward.scale.stream_rows import stream_rows

__all__ = ["Scorer", "stream_rows"]
