"""From a table of mixed columns to a trained law of its rows; and what its held-out rows say."""

from dataclasses import dataclass

import torch

from pushforward.metrics import Score
from pushforward.metrics.likelihood import score_of
from pushforward.numerics.default_device import on_the_cpu
from pushforward.rows import RowJoint, joint_nll
from pushforward.tables.fit_options import FitOptions
from pushforward.tables.fitted import Fit, timed
from pushforward.tables.fitted_columns import FittedColumn
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.row_baselines import PartsLaw, fit_row_baselines
from pushforward.tables.row_encoder import Rows
from pushforward.tables.row_law import RowLaw
from pushforward.tables.row_networks import encoded_stream, new_answers, sizes, train, train_questions, values_of_table
from pushforward.tables.row_quality import RowEvaluation
from pushforward.tables.splitting import Split, split_positions
from pushforward.training import History

SHARE_OF_JOINT = 0.6  # of the time


@dataclass(frozen=True, kw_only=True)
class RowFit(Fit[Rows, RowEvaluation]):
    """A law of mixed rows trained on a table, and what is known only where it was trained.

    Attributes:
        law: The law.
        questions: How the training of the questions went.
    """

    law: RowLaw
    questions: History
    called = "this model"

    def _evaluate(self) -> RowEvaluation:
        return self.law.evaluate(None, self, truth=None, seed=self.seed)

    def _compare(self) -> tuple[dict[str, Score], tuple[str, Score]]:
        encoders = [column.encoder for column in self.law.answers.fitted.values()]
        others: list[PartsLaw] = fit_row_baselines(
            self.split.train, self.split.validation, [one.num_codes for one in encoders],
            [one.is_number for one in encoders], len(self.schema.context),
        )  # fmt: skip
        test = self.split.test
        own, theirs = self.law.joint_log_prob(test), {one.name: one.log_prob(test) for one in others}
        scores = {name: score_of(torch.from_numpy(-values)) for name, values in theirs.items()}
        best = min(scores, key=lambda name: scores[name].mean)
        return scores, (best, score_of(torch.from_numpy(own - theirs[best])))


@on_the_cpu()
def fit_rows(table: ForFitting, options: FitOptions) -> RowFit:
    """Train a law of rows on a table."""
    positions = split_positions(table.num_rows, seed=options.seed, test=options.test)
    answers = new_answers(table, positions[0], options)
    law = RowLaw(_new_joint(answers.fitted, len(table.context), len(positions[0]), options), answers)
    split = Split.of(positions, answers.encoder.encode(values_of_table(table)).select)
    warnings = options.begin(table, held_out=split.held_out, called="model")
    stream = encoded_stream(table, positions, answers.encoder)
    seconds: dict[str, float] = {}
    with timed(seconds, "training"):
        history = train(law.joint, joint_nll, split, options, share=SHARE_OF_JOINT, stream=stream)
        spent = SHARE_OF_JOINT if options.max_seconds is None else history.seconds / options.max_seconds
        warnings += options.tell_left_out(stream)
        questions = train_questions(answers, split, options, share=1 - min(spent, SHARE_OF_JOINT), stream=stream)
    return RowFit(
        table=table, schema=law.schema, recipe="auto", seed=options.seed, split=split, history=history,
        positions=positions, questions=questions, warnings=warnings, seconds=seconds, law=law,
    )  # fmt: skip


def _new_joint(columns: dict[str, FittedColumn], num_context: int, num_rows: int, options: FitOptions) -> RowJoint:
    """Return a new joint; its initial weights depend on the seed alone."""
    marked = [d for d, one in enumerate(columns.values()) if one.missing and d >= num_context]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return RowJoint(**sizes(columns, num_context, num_rows, options.max_seconds), marked=marked)
