"""What is asked of a fitted table: how probable rows are, rows like its own, missing cells, the law of a column."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import require_flag
from pushforward.tables.anomalies import find_anomalies, usual_among
from pushforward.tables.answers import answers_or_refused
from pushforward.tables.columns import names_in
from pushforward.tables.data_frames import of_kind
from pushforward.tables.improbable import note_on_given
from pushforward.tables.imputation import filled_with_means
from pushforward.tables.sample_blocks import SampleBlocks

if TYPE_CHECKING:
    from pushforward.tables.laws import Fitted, Law
    from pushforward.tables.schema import Schema


class Asked:
    """The questions of a `TableModel`, which its law answers."""

    law: "Law"
    schema: "Schema"
    kind: Any
    fitted: "Fitted | None"

    def log_prob(self, data: Any, *, given: str | Sequence[str] | None = None) -> np.ndarray:
        """Return the log probability of each row in nats: of the modelled columns given the context.

        Missing cells are left out of the event. Of a table of real columns the flow scores whole rows; rows with gaps,
        and what is given, are answered by the network beside it, whose measure is the same; given all columns but one,
        by the law of whole rows at the values that this network proposes.

        Args:
            data: Whatever `fit` takes, with the model's columns, those of the context included, in any order; others
                are ignored. What has no column names holds the model's columns, or the fitted table's, in their order.
            given: Names of columns whose cells are given: log p(the others | given).

        Returns:
            (rows,), float64. A category that the fitted table never had has the probability of "another value", and
            the rest of the row that of a row in which it is missing.

        Raises:
            InputError: If a column is missing, a cell is not of its column's kind, or a cell that is given, or of the
                context, holds a category that the fitted table never had.
        """
        asked = names_in(given or (), self.schema.columns)
        return self.law.log_prob(data, [name for name in asked if name not in self.schema.context])

    def sample(
        self,
        n: int,
        *,
        given: Any = None,
        complete: bool = False,
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> Any:
        """Draw rows of the table: its types, categories, decimals, and nothing beyond the range of a column.

        Where cells of the table are missing, so are cells of its rows, in the table's manner; not in rows of which
        cells of modelled columns are given.

        Args:
            n: Number of rows, for each row of what is given where there are several.
            given: Cells of some columns, those of the context included: a mapping from names to values, or rows of them
                in whatever `fit` takes.
            complete: Leave no cell missing.
            temperature: Below 1 gives rows nearer the mode.
            seed: Decides the rows, which are those of `pushforward sample`; by default torch's global generator does.

        Returns:
            A frame of the model's `kind` with all its columns, in the table's order; the draws of each row that is
            given follow one another. Cells that the table hardly ever had together bring a warning.

        Raises:
            InputError: If context is missing, or a value is not of its column's kind.
            ValueError: If `n` or `temperature` is out of range.
        """
        import polars as pl

        blocks = SampleBlocks(
            self.law, n, given, complete=require_flag("complete", complete), temperature=temperature, seed=seed
        )
        rows = pl.concat([blocks.draw(block) for block in range(len(blocks))])
        if note := note_on_given(self.law, given, "given"):
            warnings.warn(note, stacklevel=2)
        return of_kind(self.kind, rows)

    def impute(self, data: Any, *, num: int = 1, mean: bool = False, seed: int | None = None) -> Any:
        """Draw the missing cells of rows given the others; cells that are there stay as they are.

        Args:
            data: Rows as in `log_prob`.
            num: Draws of each row, which follow one another.
            mean: Fill in what is expected instead: the conditional mean of a number, as exact as its column is
                recorded, else the most probable value; each cell given those that are there.
            seed: Decides the draws.

        Returns:
            A frame of the model's `kind` with the model's columns, (rows * num). With `mean` also the quantiles
            "price_q5" and "price_q95" of each column of numbers of which cells were missing, null where none was.
        """
        answers = answers_or_refused(self.law.answers)
        if require_flag("mean", mean):
            return of_kind(self.kind, filled_with_means(answers, answers.read(data)))
        return of_kind(self.kind, answers.fill(answers.read(data), num, seed=seed))

    def predict(self, data: Any, column: str) -> Any:
        """Return the law of one column given all other cells of each row, directly: nothing is drawn.

        Args:
            data: Rows as in `log_prob`; the column itself need not be there, and is not looked at.
            column: Its name.

        Returns:
            A frame of the model's `kind`: of numbers mean, std and the quantiles q5, q25, q50, q75, q95 (dates in days
            since 1970, times in seconds; periodic numbers in order from the cut on, of hours 25 is 1); else the most
            probable value, and P(value) of each; of categories also P(another value), of all that the fitted table
            never had together.
        """
        return of_kind(self.kind, answers_or_refused(self.law.answers).predict(data, column))

    def anomalies(
        self,
        data: Any,
        *,
        level: float = 0.01,
        columns: str | Sequence[str] | None = None,
        reference: Any = None,
    ) -> Any:
        """Say of each row how unusual it is, beside rows that no one trained on, and what is unusual about it.

        A cell is as rare as its surprise, -log p(cell | all others), is among the surprises of its column; a row as its
        rarest cell, or as all of them together, whichever is rarer. Its p-value is the share of rows that no one
        trained on which are as rare, itself among them (a conformal p-value): of rows like the table's a share `level`
        is at or below any level, whatever the model is worth (arXiv:2104.08279).

        Args:
            data: Rows as in `log_prob`.
            level: Of p-values up to which a row is called an anomaly.
            columns: Names of those whose cells may be to blame, such as the one in which errors are sought; all by
                default.
            reference: Rows to compare with that no one trained on; by default those that `fit` held out, at most 2,000,
                whose scores the model file keeps.

        Returns:
            A frame of the model's `kind` (polars for arrays): log_prob; score, the row's rarity in nats; p_value;
            anomaly; column, the one with the rarest cell; why, of anomalies, in words: what is usual there given all
            other cells (of numbers the middle 90 %), and which of these, each alone, say so.

        Raises:
            InputError: If the model is a flow alone, or knows no rows to compare with.
        """
        if reference is None:
            self.learn_usual()
        found = find_anomalies(self.law, data, level=level, columns=columns, reference=reference)
        return found if self.kind in ("array", "tensor") else of_kind(self.kind, found)

    def learn_usual(self) -> None:
        """Score the rows that `fit` held out, if there are any and that was not done: files keep what they are like.

        What is rare is learned from the rows that chose the weights, p-values compare with those held out from all.
        """
        answers, fitted = self.law.answers, self.fitted
        if answers is None or answers.usual is not None or fitted is None or not fitted.split.held_out:
            return
        validation = fitted.rows_at(fitted.positions[1])
        answers.usual = usual_among(self.law, fitted.test_frame, validation if validation.height else None)
