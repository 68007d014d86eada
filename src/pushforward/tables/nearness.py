"""Whether samples lie nearer to rows that trained than to rows that did not: a sign of rows learned by heart."""

from dataclasses import dataclass

import numpy as np

MOST_ROWS = 2_000


@dataclass(frozen=True)
class Nearness:
    """How near samples lie to training rows and to held-out ones.

    Attributes:
        share: Of the samples that lie nearer to a training row than to any of as many held-out ones; 0.5 by chance.
        error: Its standard error, by chance alone.
        training: Median distance of a sample to the nearest training row.
        held_out: The same to the nearest held-out row.
        between: The same of a held-out row to the nearest training row.
    """

    share: float
    error: float
    training: float
    held_out: float
    between: float


def nearness(samples: np.ndarray, training: np.ndarray, held_out: np.ndarray, *, seed: int = 0) -> Nearness:
    """Measure distances between rows of features, (n, features) each, of at most 2,000 rows each, drawn at random."""
    random, most = np.random.default_rng(seed), min(MOST_ROWS, len(training), len(held_out))
    samples, training, held_out = (
        rows[random.permutation(len(rows))[:size]]
        for rows, size in ((samples, MOST_ROWS), (training, most), (held_out, most))
    )

    to_training, nearest_training = _nearest(samples, training)
    to_held_out, nearest_held_out = _nearest(samples, held_out)
    # Equal distances count half.
    share = float(((to_training < to_held_out) + 0.5 * (to_training == to_held_out)).mean())
    # By chance each row of the two sets is one that trained or not: samples that share a nearest row go together.
    nearest = np.where(to_training <= to_held_out, nearest_training, most + nearest_held_out)
    error = 0.5 * float(np.sqrt((np.bincount(nearest).astype(float) ** 2).sum())) / len(samples)
    medians = (float(np.median(distance)) for distance in (to_training, to_held_out, _nearest(held_out, training)[0]))
    return Nearness(share, error, *medians)


def _nearest(rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each row to the nearest of others, and which that is, (n,) each."""
    from sklearn.neighbors import NearestNeighbors

    distance, which = NearestNeighbors(n_neighbors=1).fit(others).kneighbors(rows)
    return distance[:, 0], which[:, 0]
