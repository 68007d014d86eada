"""Cells of the study `sweep`: one training on two moons each, and what is measured of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward import RunError, fit, metrics
from pushforward.data import two_moons
from pushforward.studies.kit import drawn, num_parameters
from pushforward.studies.plane.flows import source_flow, spline_flow
from pushforward.studies.plane.quality import TEST_SEED

Settings = Mapping[str, float]  # "points", "epochs", "learning_rate", "width" and "blocks"

NOISE, BATCH_SIZE = 0.1, 128
VALIDATION_POINTS, VALIDATION_SEED = 2_000, 999_983  # the same for every run; they choose its weights
FINE = 0.2  # of the usual kernel width: a second MMD, which sees finer differences
KEPT_POINTS = 600  # samples and codes of each run, for the pictures


@dataclass(frozen=True)
class MoonsRun:
    """One run that the sweep is to make."""

    name: str
    kind: str  # "first", "centre", "effect", "random", "guided", "best" or "ours"
    seed: int  # of data, weights and training
    settings: Settings
    changed: str  # the setting in which an effect differs from the centre
    test_points: int  # fresh points behind the excess
    compared: int  # points on each side of the MMD

    def perform(self, scratch: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Train and measure on fresh points; a run that diverges has its reason, "failure", and nothing else."""
        try:
            return self._train_and_measure()
        except RunError as error:
            return {"failure": str(error)}, {}

    def _train_and_measure(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        points, epochs, width, blocks = (int(self.settings[name]) for name in ("points", "epochs", "width", "blocks"))
        data = two_moons(points, noise=NOISE, seed=self.seed)
        ours = self.kind == "ours"
        torch.manual_seed(self.seed)
        flow = spline_flow(bins=16, num_layers=blocks) if ours else source_flow(num_blocks=blocks, width=width)
        history = fit(
            flow,
            data.x,
            validation=two_moons(VALIDATION_POINTS, noise=NOISE, seed=VALIDATION_SEED).x,
            epochs=epochs,
            learning_rate=self.settings["learning_rate"],
            schedule="cosine" if ours else "constant",
            batch_size=min(BATCH_SIZE, points),
            seed=self.seed,
            progress=False,
        )
        excess = metrics.excess(flow, data.density, self.test_points, TEST_SEED)
        fresh, _, bandwidth = truth(self.compared)
        samples = drawn(flow, self.compared, self.seed)
        if not (math.isfinite(excess.mean) and samples.isfinite().all()):
            raise RunError("its densities or samples are not finite")
        with torch.no_grad():
            codes = flow.encode(fresh)
            back = flow.decode(codes)
        latent = metrics.latent_normality(codes, seed=self.seed)
        return {
            "validation": history.best_validation,
            "steps": history.steps,
            "seconds": round(history.seconds, 2),
            "parameters": num_parameters(flow),
            "nll": metrics.nll(flow, data.density.sample(self.test_points, TEST_SEED)).mean,
            "excess": excess.mean,
            "standard_error": excess.standard_error,
            "mmd": metrics.mmd(fresh, samples, bandwidth=bandwidth),
            "mmd_fine": metrics.mmd(fresh, samples, bandwidth=bandwidth * FINE),
            "round_trip_error": (back - fresh).abs().max().item(),
            "latent": {
                **{name: getattr(latent, name).tolist() for name in ("mean", "std", "skewness")},
                "excess_kurtosis": latent.kurtosis.tolist(),
                **{name: getattr(latent, name) for name in ("kolmogorov_p_value", "mmd", "mmd_p_value")},
            },
        }, {"samples": samples[:KEPT_POINTS], "codes": codes[:KEPT_POINTS]}


@cache
def truth(compared: int) -> tuple[Tensor, Tensor, float]:
    """Return two samples of the truth, (compared, 2), and the usual kernel width, the median distance."""
    density = two_moons(1).density
    fresh, other = (density.sample(compared, TEST_SEED + offset) for offset in (1, 2))
    return fresh, other, metrics.median_bandwidth(fresh, other)
