"""The order in which C computes a masked network: every unit after what it sees, and nothing that a mask removes."""

from collections.abc import Sequence

import numpy as np


def sorted_network(masks: Sequence[np.ndarray], sequence: np.ndarray, context: int) -> np.ndarray | None:
    """Return the integers that network.h calls `sorted`, or None where an output sees its feature or a later one.

    Args:
        masks: Of each layer, (out, in), boolean; the outputs of the last are the first parameter of all D features,
            then the second.
        sequence: The features in the order in which they become known, (D,).
        context: Size of the context, which the first layer sees.
    """
    features = len(sequence)
    level = np.empty(features, np.int64)  # of each input: the first place in the sequence that may see it
    level[sequence] = np.arange(1, features + 1)
    order = sequence.astype(np.int64)
    where: list[np.ndarray] = []
    reach: list[np.ndarray] = []
    known: list[np.ndarray] = []
    for number, mask in enumerate(masks):
        waits = np.where(mask, level, 0).max(1, initial=0)
        last = number + 1 == len(masks)
        if last:
            place = np.argsort(sequence)  # of each feature
            by_output = np.tile(place, len(mask) // features)
            if (waits > by_output).any():
                return None
            waits = by_output
        after = np.argsort(waits, kind="stable")
        kept = mask[np.ix_(after, order)]
        where.append(np.where(kept, after[:, None] * mask.shape[1] + order, -1).ravel())
        where.append(after)
        if number == 0:
            where.append((after[:, None] * context + np.arange(context)).ravel())
        sees = np.searchsorted(level[order], waits[after], side="right")
        reach += [sees, np.searchsorted(sees, np.arange(mask.shape[1]), side="right")]
        if not last:
            known.append(np.searchsorted(waits[after], np.arange(features), side="right"))
        level, order = waits, after
    return np.concatenate([*where, *reach, *known]).astype(np.int32)
