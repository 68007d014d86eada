"""Pictures of flows, data and training: each function returns a figure that a notebook shows by itself."""

from pushforward.report.plots.plane import log_density, panels, samples, steps
from pushforward.report.plots.sheets import images
from pushforward.report.plots.side_by_side import densities
from pushforward.report.plots.tables import history, latent_quantiles, pairs, plane

__all__ = [
    "densities",
    "history",
    "images",
    "latent_quantiles",
    "log_density",
    "pairs",
    "panels",
    "plane",
    "samples",
    "steps",
]
