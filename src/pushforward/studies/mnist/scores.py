"""Log-likelihoods of MNIST's test images in two units: of trained flows, simple densities and published models."""

import math
from collections.abc import Mapping
from typing import Any

from pushforward import metrics
from pushforward.data import Digits, LabelledImages, pixel_units
from pushforward.studies.digits.gaussians import gaussian_mixture, whole_gaussian
from pushforward.studies.kit import Comparison, Record, pictures
from pushforward.studies.kit.tables import Columns, Score, cells, shown
from pushforward.studies.mnist.training import LEVELS, PIXELS

UNIT, LOGIT = "1/256", "logit"  # of `pixel_units`
NOTE = (
    "Log-likelihood of test images in nats an image, higher is better, in two units: pixels (k + u) / 256 in [0, 1), "
    "and their logit with lambda 1e-6; the standard error is that over the test images. Bits/dim, lower is better, are "
    "the same in all units. The gap is the mean over training images minus that over test images, in nats. Published "
    "figures are those of Papamakarios et al. (2017) in logit space, without labels."
)
COLUMNS: Columns = (
    ("[0, 1) (nats)", lambda found: f"{found[0].unit:,.1f} ± {found[0].unit_error:.1f}"),
    ("logit (nats)", lambda found: f"{found[0].logit:,.1f} ± {found[0].logit_error:.1f}"),
    ("bits/dim", lambda found: f"{found[0].bits_per_dim:.4f} ± {found[0].bits_error:.4f}"),
)
PUBLISHED = {
    "Gaussian, full covariance": -1366.9,
    "RealNVP, 10 layers": -1370.7,
    "RealNVP, 5 layers": -1323.2,
    "MAF, 5 layers": -1300.5,
    "MADE with mixtures of Gaussians": -1038.5,
}


def likelihood_of(model: Any, part: LabelledImages) -> Score:
    """Return a model's log-likelihood of dequantized images, nats an image, in all units, with standard errors."""
    unit, logit = (metrics.nll(model, part.x, dequantize=LEVELS, units=pixel_units(of)) for of in (UNIT, LOGIT))
    return Score(
        unit=-unit.mean,
        unit_error=unit.standard_error,
        logit=-logit.mean,
        logit_error=logit.standard_error,
        bits_per_dim=metrics.bits_per_dim(unit.mean, PIXELS, bin_width=1 / LEVELS),  # bounds the integers' own
        bits_error=unit.standard_error / (PIXELS * math.log(2)),
    )


def simple_densities(record: Record, data: Digits) -> dict[str, Any]:
    """Return densities that flows have to beat, fitted to the training images."""
    x, seed = data.train.x, record.seed
    few: dict[str, Any] = record.size({}, quick={"copies": 4})
    parts = record.size(20, quick=2)
    return {
        "Gaussian, full covariance, in [0, 1)": whole_gaussian(x, seed, units=pixel_units(UNIT), **few),
        "Gaussian, full covariance, in logit space": whole_gaussian(x, seed, units=pixel_units(LOGIT), **few),
        f"mixture of {parts} Gaussians, in logit space": gaussian_mixture(
            x, seed, units=pixel_units(LOGIT), num_components=parts, **few
        ),
    }


def likelihoods(
    flows: Comparison, data: Digits, curves: str, others: Mapping[str, Any] | None = None
) -> dict[str, Score]:
    """Score test images by simple and other densities and by flows, and show it; return scores by name and by key.

    `curves` is the caption of the picture of the flows' learning curves.
    """
    record, runs = flows.record, flows.histories()
    scores: dict[str, Score] = {}
    rows: list[list[Any]] = []
    for name, model in {**simple_densities(record, data), **(others or {})}.items():
        score = scores[name] = likelihood_of(model, data.test)
        record.number(f"test.{name}", score)
        rows.append([name, "", *cells(COLUMNS, [score]), "", ""])
    for key, name in flows.names.items():
        (one,) = flows.trained[key]
        score = scores[key] = likelihood_of(one.model, data.test)
        # As many training images as there are test images.
        seen = metrics.nll(one.model, data.train.x[: len(data.test.x)], dequantize=LEVELS, units=pixel_units(UNIT))
        gap = -seen.mean - score.unit
        record.number(f"test.{key.replace(' ', '.')}", vars(score) | {"gap": gap, "plan": runs[name].plan})
        rows.append([name, one.parameters, *cells(COLUMNS, [score]), f"{gap:.1f}", f"{one.minutes:.1f}"])
    rows += [[f"published: {name}", "", "", shown(value), "", "", ""] for name, value in PUBLISHED.items()]
    record.table(NOTE, ["model", "parameters", *(header for header, _ in COLUMNS), "gap", "minutes"], rows)
    in_levels = PIXELS * math.log(LEVELS)
    figure = pictures.curves_over_minutes(runs, "log-likelihood (nats an image)", of=lambda nll: in_levels - nll)
    record.picture("curves", figure, curves)
    return scores
