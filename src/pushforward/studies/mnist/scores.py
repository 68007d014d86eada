"""Log-likelihoods of MNIST's test images in three units, and the densities that flows have to beat."""

import math
from dataclasses import dataclass
from typing import Any

from pushforward import metrics
from pushforward.data import pixel_units
from pushforward.data.digits import Digits, LabelledImages
from pushforward.studies.digits.gaussians import gaussian_mixture, whole_gaussian
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import shown
from pushforward.studies.mnist.models import LEVELS, PIXELS


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of dequantized images, nats an image; higher is better.

    Attributes:
        unit: Mean with pixels (k + u) / 256 in [0, 1).
        unit_error: Its standard error.
        logit: Mean in logit space, lambda 1e-6.
        logit_error: Its standard error.
        bits_per_dim: Upper bound on the integers' own bits a pixel; lower is better.
        bits_error: Its standard error.
    """

    unit: float
    unit_error: float
    logit: float
    logit_error: float
    bits_per_dim: float
    bits_error: float


SCORE_NOTE = (
    "Log-likelihood of test images in nats an image, higher is better, in two units: pixels (k + u) / 256 in [0, 1), "
    "and their logit with lambda 1e-6; the standard error is that over the test images. Bits/dim, lower is better, are "
    "the same in all units. The gap is the mean over training images minus that over test images, in nats. Published "
    "figures are those of Papamakarios et al. (2017) in logit space, without labels."
)
SCORE_HEADER = ["model", "parameters", "[0, 1) (nats)", "logit (nats)", "bits/dim", "gap", "minutes"]
PUBLISHED = {
    "Gaussian, full covariance": -1366.9,
    "RealNVP, 10 layers": -1370.7,
    "RealNVP, 5 layers": -1323.2,
    "MAF, 5 layers": -1300.5,
    "MADE with mixtures of Gaussians": -1038.5,
}


def likelihood(model: Any, part: LabelledImages) -> Likelihood:
    """Return a model's log-likelihood of images in all units."""
    unit = metrics.nll(model, part.x, dequantize=LEVELS, units=pixel_units("1/256"))
    logit = metrics.nll(model, part.x, dequantize=LEVELS, units=pixel_units("logit"))
    return Likelihood(
        -unit.mean,
        unit.standard_error,
        -logit.mean,
        logit.standard_error,
        metrics.bits_per_dim(unit.mean, PIXELS, bin_width=1 / LEVELS),
        unit.standard_error / (PIXELS * math.log(2)),
    )


def baselines(record: Record, data: Digits) -> dict[str, Likelihood]:
    """Return what simple densities of the training images give to the test images."""
    few: dict[str, Any] = {"copies": 4} if record.quick else {}
    parts = 2 if record.quick else 20
    found = {}
    for name, units in (("[0, 1)", "1/256"), ("logit space", "logit")):
        whole = whole_gaussian(data.train.x, record.seed, units=pixel_units(units), **few)
        found[f"Gaussian, full covariance, in {name}"] = likelihood(whole, data.test)
    mixture = gaussian_mixture(data.train.x, record.seed, units=pixel_units("logit"), num_components=parts, **few)
    found[f"mixture of {parts} Gaussians, in logit space"] = likelihood(mixture, data.test)
    return found


def score_row(
    name: str, found: Likelihood, parameters: int | str = "", gap: float | str = "", minutes: Any = ""
) -> list:
    """Return a row of the table under `SCORE_HEADER`."""
    return [
        name,
        parameters,
        f"{found.unit:,.1f} ± {found.unit_error:.1f}",
        f"{found.logit:,.1f} ± {found.logit_error:.1f}",
        f"{found.bits_per_dim:.4f} ± {found.bits_error:.4f}",
        gap if isinstance(gap, str) else f"{gap:.1f}",
        minutes if isinstance(minutes, str) else f"{minutes:.1f}",
    ]


def published_rows() -> list[list[str]]:
    """Return the rows of the published figures."""
    return [[f"published: {name}", "", "", shown(value), "", "", ""] for name, value in PUBLISHED.items()]
