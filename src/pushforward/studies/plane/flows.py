"""The flows of points in the plane that more than one study trains: the source's RealNVP, and our splines."""

from functools import partial

from pushforward import Flow, recipes
from pushforward.studies.kit import Candidate
from pushforward.transforms import Standardize


def source_flow(context_features: int = 0, *, num_blocks: int = 8, width: int = 64) -> Flow:
    """Return the source's RealNVP: scale exp(tanh s), fixed random rotations between the blocks."""
    return recipes.realnvp(
        2,
        num_layers=num_blocks,
        hidden_features=(width, width),
        log_scale="tanh",
        mixing="orthogonal",
        context_features=context_features,
    )


def spline_flow(context_features: int = 0, *, bins: int = 8, num_layers: int = 6) -> Flow:
    """Return our recipe for points in the plane: spline couplings with learned mixing, data standardized inside."""
    return recipes.nsf(
        2,
        bins=bins,
        num_layers=num_layers,
        mixing="lu",
        context_features=context_features,
        preprocessing=[Standardize(2)],
    )


def our_splines(num_steps: int, *, bins: int = 8) -> Candidate:
    """Return `spline_flow` as it is trained on points without context."""
    options = {"num_steps": num_steps, "batch_size": 1024}
    return Candidate("6 splines (ours)", partial(spline_flow, bins=bins), options)
