"""Codes of digits: are they standard normal, and what do they look like in a plane?"""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pushforward import Flow, metrics
from pushforward.data import LabelledImages
from pushforward.flows.dequantization import dequantized
from pushforward.studies.digits.task import Task, context_of
from pushforward.studies.kit import Record, images, pictures
from pushforward.studies.kit.tables import Columns, Score, values

SHOWN = 1_000  # codes in a plane


@torch.no_grad()
def encoded(flow: Flow, part: LabelledImages, seed: int) -> Tensor:
    """Return the codes of dequantized images, given their labels where the flow takes them."""
    x = dequantized(part.x, torch.Generator().manual_seed(seed))
    return flow.encode(x, context_of(flow, part.labels))


NORMALITY_NOTE = (
    "Codes against N(0, I), mean (lowest to highest) over the seeds: the largest mean of a dimension, the range of the "
    "deviations, the mean of |z|² / 64, which is 1 if normal, the largest correlation of two dimensions, and two tests "
    "on at most 500 codes. The p-values are shares of simulated normal samples that look as bad or worse."
)
NORMALITY_COLUMNS: Columns = (
    ("largest |mean|", "largest_mean"),
    ("deviations", lambda found: f"{min(values(found, 'least_std')):.2f} to {max(values(found, 'largest_std')):.2f}"),
    ("mean |z|²/64", "mean_square_radius"),
    ("largest |correlation|", "max_correlation"),
    ("p, Kolmogorov", "kolmogorov_p_value"),
    ("p, MMD", "mmd_p_value"),
)


def normality(record: Record, name: str, codes: Mapping[int, Tensor]) -> list[Score]:
    """Compare codes (n, D), by seed, with N(0, I), and keep what comes out as the numbers "codes.NAME".

    Where `pf.metrics.LatentNormality` has one number a dimension, a score has the worst.
    """
    found = []
    for seed, z in codes.items():
        latent = metrics.latent_normality(z, seed=seed)
        score = Score(
            largest_mean=latent.mean.abs().max().item(),
            least_std=latent.std.min().item(),
            largest_std=latent.std.max().item(),
            mean_square_radius=z.double().square().mean().item(),  # mean of |z|^2 / D
            max_correlation=latent.max_correlation,
            largest_skewness=latent.skewness.abs().max().item(),
            largest_kurtosis=latent.kurtosis.abs().max().item(),
            kolmogorov_p_value=latent.kolmogorov_p_value,
            mmd=latent.mmd,
            mmd_p_value=latent.mmd_p_value,
        )
        found.append(score)
    record.number(f"codes.{name}", found)
    return found


def projections(task: Task, flow: Flow, seed: int) -> Figure:
    """Draw codes of test images, at most 1,000, as their labels on six planes."""
    z, seen = encoded(flow, task.test, seed)[:SHOWN], encoded(flow, task.seen, seed)
    figure, panels = pictures.board(3, 2, size=3.3)
    for axes, (names, directions) in zip(panels, planes(z, seen, task.seen.labels, seed).items(), strict=True):
        images.draw_codes(axes, z @ directions, task.test.labels[:SHOWN], names)
    return figure


def planes(z: Tensor, train_z: Tensor, train_labels: Tensor, seed: int) -> dict[tuple[str, str], Tensor]:
    """Return planes to project codes (n, D) on: axis names -> two orthonormal directions (D, 2).

    Three pairs of latent dimensions, a random plane, the plane in which these codes vary most, and the plane in which
    the means of the training codes' labels lie farthest apart.
    """
    features = z.shape[1]
    pairs = [(0, 1), (features // 2, features // 2 + 1), (features - 2, features - 1)]
    found = {(f"$z_{{{i + 1}}}$", f"$z_{{{j + 1}}}$"): torch.eye(features)[:, [i, j]] for i, j in pairs}
    random = torch.randn(features, 2, generator=torch.Generator().manual_seed(seed))
    found["random direction 1", "random direction 2"] = torch.linalg.qr(random)[0]
    found["largest variance", "second largest"] = _main_directions(z)
    means = torch.stack([train_z[train_labels == label].mean(0) for label in train_labels.unique()])
    found["label means, direction 1", "label means, direction 2"] = _main_directions(means)
    return found


def _main_directions(z: Tensor) -> Tensor:
    return torch.linalg.svd(z - z.mean(0), full_matrices=False)[2][:2].T
