"""Densities of rows of mixed cells: scales of columns, networks, the joint and any question about it."""

from pushforward.rows.joint import RowJoint, joint_nll
from pushforward.rows.marginal import Marginal
from pushforward.rows.questions import RowQuestions, question_nll
from pushforward.rows.row_density import RowDensity

__all__ = ["RowJoint", "Marginal", "RowQuestions", "RowDensity", "joint_nll", "question_nll"]
