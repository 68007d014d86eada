"""What the cells of a column are as numbers, on which a density of rows is learned."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoded:
    """The cells of a column, (n,) each.

    Attributes:
        code: Which category or atom, or the last code, "a number"; -1 where the cell is missing.
        z: The place of a number, and of an atom, on the column's scale.
        half: Half the width of its cell in z; 0 where the column has a density.
        log_slope: log(dz/dx) of cells with a density: what a log density in z needs to be one in x. Of categories the
            log of the share that those of the table have together, or of another value's; else 0.
    """

    code: np.ndarray
    z: np.ndarray
    half: np.ndarray
    log_slope: np.ndarray
