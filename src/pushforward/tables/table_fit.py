"""From a table of real columns to a trained flow, checked once; and what its held-out rows say."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from pushforward.data import Density
from pushforward.flows import Flow
from pushforward.metrics import Score, gain, nll
from pushforward.numerics.default_device import on_the_cpu
from pushforward.report.wording import number
from pushforward.tables.answers import Answers
from pushforward.tables.baselines import fit_baselines
from pushforward.tables.fit_options import FitOptions
from pushforward.tables.fitted import Fit, timed
from pushforward.tables.flow_for_table import build, fresh_points, training_of
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.in_pieces.row_stream import numbers_to_learn, stream_of
from pushforward.tables.quality import Evaluation, evaluate
from pushforward.tables.row_networks import encoded_stream, new_answers, train_questions, values_of_table
from pushforward.tables.schema import Schema
from pushforward.tables.splitting import Part, Split, split_positions, split_rows
from pushforward.tables.table_checks import check_for_fitting, column_warnings
from pushforward.training import fit

FOR_A_COLUMN, FOR_QUESTIONS = 0.05, 0.3  # of the time, where questions are trained, too: for each column, and at most


@dataclass(frozen=True, kw_only=True)
class TableFit(Fit[Part, Evaluation]):
    """A flow trained on a table, and what is known only where it was trained.

    Attributes:
        flow: The trained flow.
        answers: What is said of some columns given others; None for a flow alone.
        truth: The true density, where it is known.
    """

    flow: Flow
    answers: Answers | None
    truth: Density | None
    called = "this flow"

    @property
    def log_scale(self) -> float:
        """Sum of the log standard deviations of the training columns: NLL - log_scale is in z-scored units."""
        return self.split.train.x.std(0, correction=0).log().sum().item()

    def summary(self) -> dict[str, Any]:
        """Return what a model file keeps of the fit."""
        table = self.table.numbers
        assert table is not None
        ranges = zip(table.values.min(0).tolist(), table.values.max(0).tolist(), strict=True)
        ends = {name: list(pair) for name, pair in zip(table.columns, ranges, strict=True)}
        return {**super().summary(), "ranges": ends, "log_scale": self.log_scale}

    def figures(self) -> list[tuple[str, ...]]:
        """Return the NLL of flow and baselines as text: name, mean with standard error, trimmed mean, z-scored mean."""
        scale, scores = self.log_scale, (self.evaluation.nll, *self.baselines.values())
        rows = [(*row, number(score.mean - scale)) for row, score in zip(super().figures(), scores, strict=True)]
        if self.evaluation.entropy is not None:
            entropy = self.evaluation.entropy
            rows.append(("exact entropy", number(entropy, 4), "", number(entropy - scale)))
        return rows

    def _evaluate(self) -> Evaluation:
        return evaluate(
            self.flow, self.split.test, log_scale=self.log_scale, truth=self.truth,
            fresh_points=fresh_points(self.recipe), seed=self.seed,
        )  # fmt: skip

    def _compare(self) -> tuple[dict[str, Score], tuple[str, Score]]:
        train, validation, test = self.split.train, self.split.validation, self.split.test
        others = fit_baselines(train.x, train.context, None if validation is None else validation.x)
        scores = {other.name: nll(other, test.x, test.context) for other in others}
        best = min(others, key=lambda other: scores[other.name].mean)
        return scores, (best.name, gain(self.flow, best, test.x, test.context))


@on_the_cpu()
def fit_flow(table: ForFitting, options: FitOptions, *, recipe: str, truth: Density | None) -> TableFit:
    """Train a flow on a table of real columns, and with recipe "auto" what answers questions about some of them.

    Columns are scaled inside the flow (asinh of robustly standardized values), so densities are in the table's units.
    """
    numbers = table.numbers
    assert numbers is not None
    modelled, given = numbers.split(table.context)
    check_for_fitting(numbers)
    schema = Schema(numbers.columns, () if given is None else given.columns)
    split = split_rows(modelled, given, seed=options.seed, test=options.test)
    warnings = options.begin(
        table, held_out=split.held_out, doubts=column_warnings(numbers, context=schema.context), called="flow"
    )
    share = 1 - min(FOR_A_COLUMN * len(schema.columns), FOR_QUESTIONS) if recipe == "auto" else 1.0
    flow = build(recipe, split.train, max_seconds=options.seconds(share), seed=options.seed)
    positions = split_positions(table.num_rows, seed=options.seed, test=options.test)
    stream = stream_of(table, positions, partial(numbers_to_learn, schema.modelled, schema.context))
    answers, questions, seconds = None, None, dict[str, float]()
    with timed(seconds, "training"):
        history = fit(
            flow, split.train.x if stream is None else stream, split.train.context if stream is None else None,
            validation=None if split.validation is None else (split.validation.x, split.validation.context),
            **options.training(share), **training_of(recipe, flow, validated=split.validation is not None),
        )  # fmt: skip
        warnings += options.tell_left_out(stream)
        if recipe == "auto":
            answers, frame = new_answers(table, positions[0], options, densities=True), values_of_table(table)
            rows = Split.of((*positions[:2], positions[2][:0]), lambda some: answers.encoder.encode(frame[some]))
            encoded = encoded_stream(table, positions, answers.encoder)
            questions = train_questions(answers, rows, options, share=1 - share, stream=encoded)
    return TableFit(
        table=table, schema=schema, recipe=recipe, seed=options.seed, split=split, history=history,
        positions=positions, questions=questions, warnings=warnings,
        seconds=seconds, flow=flow, answers=answers, truth=truth,
    )  # fmt: skip
