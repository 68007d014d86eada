"""A model of what a shared training step costs, fitted to measured steps, and what it says of larger machines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

BYTES = 4  # of a gradient's number


class Step(NamedTuple):
    """A measured training step.

    Attributes:
        model: Which model took it.
        parameters: How many it has.
        rows: Of the whole batch.
        ranks: Processes that shared it.
        seconds: What it took.
    """

    model: str
    parameters: int
    rows: int
    ranks: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """Seconds of a step on N ranks: t = a + b rows / N, and c parameters + d where N > 1.

    Attributes:
        step: a, what every step takes, seconds.
        row: b of each model, seconds a row.
        parameter: c, the sum of gradients over ranks, seconds a parameter.
        meeting: d, what ranks wait for each other, seconds.
        parameters: Of each model.
        error: Root mean square of (fitted - measured) / measured.
        worst: The largest of these.
    """

    step: float
    row: dict[str, float]
    parameter: float
    meeting: float
    parameters: dict[str, int] = field(repr=False)
    error: float = 0.0
    worst: float = 0.0

    def seconds(self, model: str, rows: float, ranks: int) -> float:
        """Return what a step takes."""
        shared = self.parameter * self.parameters[model] + self.meeting if ranks > 1 else 0.0
        return self.step + self.row[model] * rows / ranks + shared


def fit_cost(steps: Sequence[Step]) -> Cost:
    """Return the cost that fits measured steps with the least squared relative error; none of its terms is negative."""
    from scipy.optimize import nnls

    parameters = {one.model: one.parameters for one in steps}
    names = list(parameters)
    terms = np.array([_terms(one, names) for one in steps])
    seconds = np.array([one.seconds for one in steps])
    scale = terms.max(0)
    scale[scale == 0] = 1.0
    found = nnls(terms / scale / seconds[:, None], np.ones(len(steps)))[0] / scale
    errors = terms @ found / seconds - 1
    return Cost(
        step=float(found[0]),
        row=dict(zip(names, found[1:-2].tolist(), strict=True)),
        parameter=float(found[-2]),
        meeting=float(found[-1]),
        parameters=parameters,
        error=float(np.sqrt((errors**2).mean())),
        worst=float(np.abs(errors).max()),
    )


def _terms(one: Step, models: Sequence[str]) -> list[float]:
    """Return what a, b of each model, c and d are multiplied by."""
    rows = [one.rows / one.ranks * (one.model == name) for name in models]
    several = float(one.ranks > 1)
    return [1.0, *rows, one.parameters * several, several]


@dataclass(frozen=True)
class Epoch:
    """One pass over a table by many machines, one process each.

    Attributes:
        bytes: Of the table.
        reading: Seconds in which one machine reads all of it, as each does.
        steps: How many.
        summed_bytes: That a machine sends in one step's sum.
        sum: Seconds of it over the network.
        step: Seconds of a step with it.
        hours: Of the pass: the longer of reading and training, which go on side by side.
    """

    bytes: int
    reading: float
    steps: int
    summed_bytes: float
    sum: float
    step: float
    hours: float


def epoch(
    cost: Cost,
    model: str,
    *,
    rows: int,
    columns: int,
    machines: int,
    batch: int,
    rows_read: float,
    network: float,
) -> Epoch:
    """Return what one pass would take.

    Args:
        cost: Of a step, as measured on one machine.
        model: Which of its models.
        rows: Of the table.
        columns: Of 8 bytes each.
        machines: How many share a step.
        batch: Rows of it, all machines together.
        rows_read: Rows that one machine reads in a second. Each reads all rows, and trains on its part of a batch.
        network: Bytes a second that a machine sends.
    """
    summed_bytes = 2 * (machines - 1) / machines * BYTES * cost.parameters[model]  # a ring: scatter, then gather
    over_network = summed_bytes / network
    step = cost.seconds(model, batch, machines) + over_network
    steps, reading = rows // batch, rows / rows_read
    return Epoch(
        bytes=rows * columns * 8,
        reading=reading,
        steps=steps,
        summed_bytes=summed_bytes,
        sum=over_network,
        step=step,
        hours=max(reading, steps * step) / 3600,
    )


class Line(NamedTuple):
    """Seconds of a run against rows: start + rows / rate, fitted with the least squared relative error.

    Attributes:
        start: Seconds.
        rate: Rows a second.
        worst: The largest relative error.
    """

    start: float
    rate: float
    worst: float


def fit_line(rows: Sequence[float], seconds: Sequence[float]) -> Line:
    """Return the line through measured times; it does not begin below 0."""
    from scipy.optimize import nnls

    count, took = np.asarray(rows, float), np.asarray(seconds, float)
    terms = np.stack([np.ones(len(count)), count / count.max()], 1)
    found = nnls(terms / took[:, None], np.ones(len(count)))[0]
    start, slope = float(found[0]), float(found[1] / count.max())
    errors = (start + slope * count) / took - 1
    return Line(start, 1 / slope if slope > 0 else float("inf"), float(np.abs(errors).max()))
