"""What a table must be before a flow is fitted to it, and what makes the fitted density doubtful."""

from collections.abc import Sequence

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import Table, listing
from pushforward.tables.problems import Problem, TableProblems

SAMPLE_ROWS = 20_000  # warnings look at so many rows: 500 columns take about a second
FEW_REPEATS = 20  # fewer distinct values than rows / 20 are few
ATOM_SHARE = 0.05  # a value in so many of the rows is no accident of a smooth density
NEAR_ONE = 1e-6


def check_rows(rows: int, source: str) -> None:
    """Raise InputError unless there are rows enough to show a density."""
    if rows < 3:
        raise InputError(f"{source}: {rows} row{'s' * (rows != 1)} cannot show a density (give 3 or more)")


def check_for_fitting(table: Table) -> None:
    """Raise InputError unless a density can be fitted: at least 3 rows, no constant and no identical columns.

    Scoring needs none of this: a single row has a density under a model that is there.
    """
    check_rows(len(table.values), table.source)
    if problems := fitting_problems(table):
        named = {name for problem in problems for name in problem.columns}
        others = [name for name in table.columns if name not in named]
        raise TableProblems(table.source, problems, table.select(others) if others else None)


def fitting_problems(table: Table) -> list[Problem]:
    """Return what keeps columns of a table from being fitted: that they are constant, or identical to others."""
    constant = [p for p, name in enumerate(table.columns) if (table.values[:, p] == table.values[0, p]).all()]
    found = []
    if constant:
        names, value = [table.columns[p] for p in constant], table.values[0, constant[0]]
        what, them = f"column {listing(names)} is constant (every row is {value:g})", "it"
        if len(constant) > 1:
            what, them = f"columns {listing(names)} are constant", "them"
        found.append(Problem(tuple(names), f"{what}: a constant has no density", f"leave {them} out"))
    seen: dict[bytes, str] = {}
    for p, name in enumerate(table.columns):
        if p in constant:
            continue
        twin = seen.setdefault((table.values[:, p] + 0.0).tobytes(), name)  # + 0.0 makes -0 and 0 one value
        if twin != name:
            what = f'columns "{twin}" and "{name}" are identical in every row: their joint density is infinite'
            found.append(Problem((name,), what, "leave one of them out"))
    return found


def column_warnings(table: Table, *, context: Sequence[str] = ()) -> list[str]:
    """Say in plain words which columns make a density reflect rounding.

    Those are columns with few distinct values or one very frequent value, pairs on nearly a straight line, and columns
    that nearly give one another as weighted sums (parts and their total). At most 20,000 rows, drawn with a fixed
    seed, are looked at.

    Args:
        table: At least 3 rows, no constant columns.
        context: Names of columns that are context: these may take few values, and may depend on each other.
    """
    rows = len(table.values)
    sample = table.values
    if rows > SAMPLE_ROWS:
        sample = sample[np.sort(np.random.default_rng(0).choice(rows, SAMPLE_ROWS, replace=False))]
    modelled = [p for p, name in enumerate(table.columns) if name not in context]
    return [*_repeated_values(table, sample, modelled), *_dependent_columns(table, sample, modelled)]


def _repeated_values(table: Table, sample: np.ndarray, modelled: list[int]) -> list[str]:
    few, atoms = [], []
    for p in modelled:
        values, counts = np.unique(sample[:, p], return_counts=True)
        if len(values) <= max(FEW_REPEATS, len(sample) / FEW_REPEATS) and len(values) <= len(sample) / 2:
            few.append(f'"{table.columns[p]}" ({len(values)})')
        elif counts.max() >= max(3, ATOM_SHARE * len(sample)):
            share = counts.max() / len(sample)
            atoms.append(f'"{table.columns[p]}" ({values[counts.argmax()]:g} in {share:.0%} of the rows)')
    warnings = []
    if few:
        warnings.append(
            f"few distinct values in {_some(few)}: the density there reflects rounding, not a smooth law"
            " (leave them out, or use them as context)"
        )
    if atoms:
        warnings.append(
            f"one value is very frequent in {_some(atoms)}: the density there reflects rounding, not a smooth law"
        )
    return warnings


def _dependent_columns(table: Table, sample: np.ndarray, modelled: list[int]) -> list[str]:
    z, kept = _scaled(sample)
    lines = _near_lines(z, kept)
    second = {j for _, j in lines}
    sums = _near_sums(z, kept, [p for p in range(len(table.columns)) if p not in second])
    warnings = []
    if pairs := [f'"{table.columns[i]}" and "{table.columns[j]}"' for i, j in lines if {i, j} & set(modelled)]:
        warnings.append(
            f"nearly a straight line between {_some(pairs)} (|r| > 1 - {NEAR_ONE:g}): the density across the line"
            " reflects rounding (leave one of each pair out)"
        )
    if set(sums) & set(modelled):
        warnings.append(
            f"nearly a weighted sum of one another are {listing([table.columns[p] for p in sums])}: the density across"
            " the sum reflects rounding (leave one of them out)"
        )
    return warnings


def _scaled(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns on one scale, outliers put at 0, and 1 where a cell is kept, 0 where it is such an outlier.

    Each column is shifted by its median and divided by the median of its deviations that are not zero, so that no scale
    is too small or too large; cells beyond 20 such units are outliers, which must neither hide a line nor make one.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        z = sample - np.median(sample, axis=0)
        z /= [np.median(d[d > 0]) if (d > 0).any() else 1.0 for d in np.abs(z).T]
        inside = np.abs(z) <= 20
    return np.where(inside, z, 0.0), inside.astype(float)


def _near_lines(z: np.ndarray, kept: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of columns whose correlation, over rows kept in both, is within 1e-6 of 1 or -1."""
    # Row i, column j of each matrix: column i over the rows kept in both i and j.
    with np.errstate(invalid="ignore", divide="ignore"):
        count = kept.T @ kept
        mean = (z.T @ kept) / count
        variance = (z.T**2 @ kept) / count - mean**2
        correlation = ((z.T @ z) / count - mean * mean.T) / np.sqrt(variance * variance.T)
        varies = np.minimum(variance, variance.T) > NEAR_ONE  # else rounding is divided by rounding
        near = (np.abs(correlation) > 1 - NEAR_ONE) & varies & (count >= 3)
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(near, 1))]


def _near_sums(z: np.ndarray, kept: np.ndarray, columns: list[int]) -> list[int]:
    """Return the columns with a part in any weighted sum whose variance is 1e-6 of what independent columns would give.

    Such sums are the eigenvectors of the correlation matrix, over rows without an outlier, with eigenvalues near zero.
    """
    z = z[kept[:, columns].all(axis=1)][:, columns]
    if len(z) < 2 * len(columns):
        return []
    spread = z.std(axis=0)
    columns = [p for p, width in zip(columns, spread, strict=True) if width > NEAR_ONE]
    z = ((z - z.mean(axis=0)) / np.maximum(spread, NEAR_ONE))[:, spread > NEAR_ONE]
    eigenvalues, vectors = np.linalg.eigh(z.T @ z / len(z))
    weights = np.abs(vectors[:, eigenvalues < NEAR_ONE]).max(axis=1, initial=0.0)
    return [p for p, weight in zip(columns, weights, strict=True) if weight > 0.05]


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
