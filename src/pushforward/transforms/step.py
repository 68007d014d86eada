"""What one step of a flow gave."""

from typing import NamedTuple

from torch import Tensor

from pushforward.display import shapes


class Step(NamedTuple):
    """One step of a flow: its name, the value it gave, (*batch, D), and its log_det, (*batch,), in nats."""

    name: str
    value: Tensor
    log_det: Tensor

    def __repr__(self) -> str:
        return shapes(self)
