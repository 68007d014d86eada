"""The networks over a table's rows: how wide they are, what they are made from, how they are trained."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pushforward.numerics.default_device import on_the_cpu
from pushforward.rows import RowJoint, RowQuestions, question_nll
from pushforward.tables.answers import Answers
from pushforward.tables.encoders import encoder_of
from pushforward.tables.fit_options import FitOptions
from pushforward.tables.fitted_columns import FittedColumn
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.in_pieces.row_stream import RowStream, stream_of
from pushforward.tables.model_folder import QUESTIONS
from pushforward.tables.row_encoder import RowEncoder, Rows
from pushforward.tables.schema import Schema
from pushforward.tables.splitting import Split
from pushforward.training import History, fit

if TYPE_CHECKING:
    import polars as pl

FEW_ROWS, FEW_COLUMNS = 2_000, 8
HURRIED_SECONDS, A_WHILE = 20, 90  # narrower networks take more steps, which is worth more until steps are many
MANY_ROWS = 200_000
LEARNING_RATE = 8e-3
MOST_DECAY = 0.2  # of the weights; below,
DECAY_EPOCHS = 20  # what so many epochs keep of them is the same for all tables (arXiv:2405.13698)
PATIENCE = 40  # reports, of about a hundred
AVERAGE = 0.1  # of the steps; held-out rows choose one of these averages, and rows are not learned by heart meanwhile


def values_of_table(table: ForFitting) -> "pl.DataFrame":
    """Return the columns of a table that is fitted, as values."""
    import polars as pl

    return pl.DataFrame([one.values.alias(one.name) for one in table.columns])


@on_the_cpu()
def new_answers(table: ForFitting, training: np.ndarray, options: FitOptions, *, densities: bool = False) -> Answers:
    """Return the answers of a network that is to be trained; its initial weights depend on the seed alone.

    Args:
        table: What is fitted.
        training: Positions of the rows that train.
        options: How it is fitted.
        densities: Whether every modelled column has a density, as under a flow.
    """
    schema = Schema(tuple(one.name for one in table.columns), table.context)
    fitted = {
        one.name: FittedColumn(
            one.name, one.kind, one.dtype, one.values.null_count() / len(one.values),
            encoder_of(
                one.kind.name, one.values, training, density=densities and one.name not in table.context,
                period=one.kind.period,
            ),
        )
        for one in table.columns
    }  # fmt: skip
    columns = {name: fitted[name] for name in (*schema.context, *schema.modelled)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        questions = RowQuestions(**sizes(columns, len(table.context), len(training), options.max_seconds))
    return Answers(questions, columns, schema, table.missing)


def sizes(
    columns: dict[str, FittedColumn], num_context: int, num_rows: int, max_seconds: float | None
) -> dict[str, Any]:
    """Return the arguments of networks over these columns that are trained on so many rows in so many seconds."""
    few_rows, seconds = num_rows < FEW_ROWS, math.inf if max_seconds is None else max_seconds
    narrow = few_rows or len(columns) <= FEW_COLUMNS or seconds < HURRIED_SECONDS
    encoders = [column.encoder for column in columns.values()]
    return {
        "num_codes": [one.num_codes for one in encoders], "numbers": [one.is_number for one in encoders],
        "num_context": num_context, "dropout": 0.3 if few_rows else 0.1,
        "width": 128 if narrow else 192 if seconds <= A_WHILE else 256,
    }  # fmt: skip


def train(
    network: RowJoint | RowQuestions,
    loss: Callable[..., Tensor],
    split: Split[Rows],
    options: FitOptions,
    *,
    share: float,
    stream: RowStream | None = None,
    folder: str = "",
) -> History:
    """Train a network for a share of the time, or `num_steps`.

    Args:
        network: It.
        loss: Of a row.
        split: The rows that train, validate and test.
        options: How the table is fitted.
        share: Of the time.
        stream: The rows that train, where they are read piece by piece.
        folder: For the checkpoint, inside `out`.
    """
    validation, num_rows = split.validation, len(split.train) if stream is None else stream.num_rows
    # More steps are worth more than larger ones until rows are many.
    batch_size = max(32, min(num_rows // 10, 256)) if num_rows < MANY_ROWS else 512
    weight_decay = min(batch_size / (num_rows * LEARNING_RATE * DECAY_EPOCHS), MOST_DECAY)
    return fit(
        network, split.train.cells if stream is None else stream, loss=loss,
        validation=None if validation is None else validation.cells,
        optimizer="adamw", learning_rate=LEARNING_RATE, weight_decay=weight_decay, batch_size=batch_size,
        average=AVERAGE, patience=None if validation is None else PATIENCE, **options.training(share, folder),
    )  # fmt: skip


def train_questions(
    answers: Answers, split: Split[Rows], options: FitOptions, *, share: float, stream: RowStream | None = None
) -> History:
    """Train what answers questions, beside the law of whole rows, on the same rows; see `train`."""
    return train(answers.questions, question_nll, split, options, share=share, stream=stream, folder=QUESTIONS)


def encoded_stream(table: ForFitting, positions: Sequence[np.ndarray], encoder: RowEncoder) -> RowStream | None:
    """Return the training rows of a table that is read piece by piece, as these networks take them; else None."""
    return stream_of(table, positions, lambda frame: (encoder.encode(frame).cells.numpy(), None))
