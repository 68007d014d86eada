"""What a table must be before a flow is fitted to it, and what makes the fitted density doubtful."""

from collections.abc import Sequence

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import Table, listing

SAMPLE_ROWS = 20_000  # warnings look at so many rows: 500 columns take about a second
FEW_REPEATS = 20  # fewer distinct values than rows / 20 are few
ATOM_SHARE = 0.05  # a value in so many of the rows is no accident of a smooth density
NEAR_ONE = 1e-6


def check_for_fitting(table: Table) -> None:
    """Raise InputError unless a density can be fitted: at least 3 rows, no constant and no identical columns.

    Scoring needs none of this: a single row has a density under a model that is there.
    """
    rows = len(table.values)
    if rows < 3:
        raise InputError(f"{table.source}: {rows} row{'s' * (rows != 1)} cannot show a density (give 3 or more)")
    constant = [p for p, name in enumerate(table.columns) if (table.values[:, p] == table.values[0, p]).all()]
    if constant:
        names, value = listing([table.columns[p] for p in constant]), table.values[0, constant[0]]
        which, them = f"column {names} is constant (every row is {value:g})", "it"
        if len(constant) > 1:
            which, them = f"columns {names} are constant", "them"
        raise InputError(f"{table.source}: {which}: a constant has no density (leave {them} out)")
    seen: dict[bytes, str] = {}
    for name, column in zip(table.columns, table.values.T, strict=True):
        twin = seen.setdefault((column + 0.0).tobytes(), name)  # + 0.0 makes -0 and 0 one value
        if twin != name:
            raise InputError(
                f'{table.source}: columns "{twin}" and "{name}" are identical in every row: their joint density is'
                " infinite (leave one of them out)"
            )


def column_warnings(table: Table, *, context: Sequence[str] = ()) -> list[str]:
    """Say in plain words which columns make a density reflect rounding: few values, one frequent value, near-collinear.

    At most 20,000 rows, drawn with a fixed seed, are looked at.

    Args:
        table: At least 3 rows, no constant columns.
        context: Names of columns that are context: these may take few values, and may depend on each other.
    """
    rows = len(table.values)
    sample = table.values
    if rows > SAMPLE_ROWS:
        sample = sample[np.sort(np.random.default_rng(0).choice(rows, SAMPLE_ROWS, replace=False))]
    modelled = [p for p, name in enumerate(table.columns) if name not in context]
    return [*_repeated_values(table, sample, modelled), *_collinear_pairs(table, sample, modelled)]


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


def _collinear_pairs(table: Table, sample: np.ndarray, modelled: list[int]) -> list[str]:
    pairs = _near_collinear(sample)
    pairs = [(i, j) for i, j in pairs if i in modelled or j in modelled]
    if not pairs:
        return []
    names = [f'"{table.columns[i]}" and "{table.columns[j]}"' for i, j in pairs]
    return [
        f"nearly a straight line between {_some(names)} (|r| > 1 - {NEAR_ONE:g}): the density across the line reflects"
        " rounding (leave one of each pair out)"
    ]


def _near_collinear(sample: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of columns whose correlation, outliers left out, is within 1e-6 of 1 or -1.

    Each column is shifted by its median and divided by the median of its deviations that are not zero, so that no scale
    is too small or too large; cells beyond 20 such units are left out, pair by pair, so that one outlier neither hides
    a line nor makes one.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        z = sample - np.median(sample, axis=0)
        deviations = np.where(z == 0, np.nan, np.abs(z))
        z /= np.nanmedian(deviations, axis=0)
        kept = (np.abs(z) <= 20).astype(float)
        z = np.where(kept > 0, z, 0.0)
        # Row i, column j: sums of column i over the rows kept in both i and j.
        count = kept.T @ kept
        mean = (z.T @ kept) / count
        variance = (z.T**2 @ kept) / count - mean**2
        correlation = ((z.T @ z) / count - mean * mean.T) / np.sqrt(variance * variance.T)
        near = (np.abs(correlation) > 1 - NEAR_ONE) & (count >= 3)
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(near, 1))]


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
