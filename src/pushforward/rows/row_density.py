"""A joint density of rows and the answers to questions about them, as one module in one file."""

from torch import nn

from pushforward.flows import Flow
from pushforward.rows.joint import RowJoint
from pushforward.rows.questions import RowQuestions
from pushforward.specification import Specified


class RowDensity(Specified, nn.Module):
    """What a table is modelled by.

    Args:
        joint: Scores and draws whole rows: of mixed cells, or a flow where all columns are real.
        questions: Answers whatever is asked about some columns given others.
    """

    def __init__(self, joint: RowJoint | Flow, questions: RowQuestions) -> None:
        super().__init__()
        self.joint, self.questions = joint, questions
