"""Codes of digits: are they standard normal, and what do they look like in a plane?"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.data.digits import LabelledImages
from pushforward.flows import Flow
from pushforward.flows.dequantization import dequantized
from pushforward.metrics import LatentNormality
from pushforward.studies.digits import models as digit_models
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit import pictures
from pushforward.studies.kit.tables import spread

NORMALITY_NOTE = (
    "Codes against N(0, I), mean (lowest to highest) over the seeds: the largest mean of a dimension, the range of the "
    "deviations, the mean of |z|² / 64, which is 1 if normal, the largest correlation of two dimensions, and two tests "
    "on at most 500 codes. The p-values are shares of simulated normal samples that look as bad or worse."
)
SHOWN = 1_000  # codes in a plane
NORMALITY_HEADER = ["largest |mean|", "deviations", "mean |z|²/64", "largest |correlation|", "p, Kolmogorov", "p, MMD"]


@torch.no_grad()
def encoded(flow: Flow, part: LabelledImages, seed: int) -> Tensor:
    """Return the codes of dequantized images, given their labels where the flow takes them."""
    x = dequantized(part.x, torch.Generator().manual_seed(seed))
    return flow.encode(x, digit_models.context_of(flow, part.labels))


def mean_square_radius(found: LatentNormality) -> float:
    """Return the mean of |z|^2 / D."""
    rows = found.num_rows
    return (found.mean.square() + found.std.square() * (rows - 1) / rows).mean().item()


def normality(found: LatentNormality) -> dict[str, float]:
    """Return what is kept of a comparison with N(0, I)."""
    return {
        "largest_mean": found.mean.abs().max().item(),
        "least_std": found.std.min().item(),
        "largest_std": found.std.max().item(),
        "mean_square_radius": mean_square_radius(found),
        "max_correlation": found.max_correlation,
        "largest_skewness": found.skewness.abs().max().item(),
        "largest_kurtosis": found.kurtosis.abs().max().item(),
        "kolmogorov_p_value": found.kolmogorov_p_value,
        "mmd": found.mmd,
        "mmd_p_value": found.mmd_p_value,
    }


def normality_cells(found: list[LatentNormality]) -> list[str]:
    """Return the cells of `NORMALITY_HEADER`, each over the seeds."""
    low, high = min(float(one.std.min()) for one in found), max(float(one.std.max()) for one in found)
    return [
        spread([one.mean.abs().max().item() for one in found]),
        f"{low:.2f} to {high:.2f}",
        spread([mean_square_radius(one) for one in found]),
        spread([one.max_correlation for one in found]),
        spread([one.kolmogorov_p_value for one in found]),
        spread([one.mmd_p_value for one in found]),
    ]


def projections(z: Tensor, labels: Tensor, train_z: Tensor, train_labels: Tensor, seed: int) -> Figure:
    """Draw codes (n, 64) of test images, at most 1,000, on six planes; training codes and labels decide one of them."""
    z, labels = z[:SHOWN], labels[:SHOWN]
    figure, panels = pictures.board(3, 2, size=3.3)
    for axes, (names, directions) in zip(panels, planes(z, train_z, train_labels, seed).items(), strict=True):
        digit_pictures.codes(axes, z @ directions, labels, names)
    return figure


def planes(z: Tensor, train_z: Tensor, train_labels: Tensor, seed: int) -> dict[tuple[str, str], Tensor]:
    """Return planes to project codes (n, 64) on: axis names -> two orthonormal directions (64, 2).

    Three pairs of latent dimensions, a random plane, the plane in which these codes vary most, and the plane in which
    the means of the training codes' labels lie farthest apart.
    """
    features = z.shape[1]
    unit = torch.eye(features)
    pairs = [(0, 1), (features // 2, features // 2 + 1), (features - 2, features - 1)]
    found = {(f"$z_{{{i + 1}}}$", f"$z_{{{j + 1}}}$"): unit[:, [i, j]] for i, j in pairs}
    random = torch.randn(features, 2, generator=torch.Generator().manual_seed(seed))
    found["random direction 1", "random direction 2"] = torch.linalg.qr(random)[0]
    found["largest variance", "second largest"] = _main_directions(z)
    means = torch.stack([train_z[train_labels == label].mean(0) for label in train_labels.unique()])
    found["label means, direction 1", "label means, direction 2"] = _main_directions(means)
    return found


def _main_directions(z: Tensor) -> Tensor:
    return torch.linalg.svd(z - z.mean(0), full_matrices=False)[2][:2].T
