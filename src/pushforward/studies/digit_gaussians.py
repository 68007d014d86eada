"""Gaussians on digits, with labels and without: densities that the flows have to beat."""

import torch
from torch import Tensor

from pushforward.studies.digit_models import NUM_LABELS, PIXELS
from pushforward.tables.baselines import Baseline, Gaussian
from pushforward.training.rows import dequantized
from pushforward.transforms import Standardize


class LabelGaussians:
    """One Gaussian a label, mean and shrunk covariance of the label's dequantized training images: what to beat.

    Args:
        x: (n, 64), dequantized images.
        labels: (n,).
    """

    context_features = NUM_LABELS

    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.scaling = Standardize(PIXELS)
        self.scaling.initialize(x)
        y = self.scaling(x.double())[0]
        self.gaussians = [Gaussian(y[labels == label]) for label in range(NUM_LABELS)]

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | label) in nats, (n,)."""
        y, log_det = self.scaling(x.double())
        each = torch.stack([gaussian.log_prob(y) for gaussian in self.gaussians], -1)
        assert context is not None
        return (each * context).sum(-1) + log_det

    def sample(
        self, num_samples: int, context: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw images, (labels, num_samples, 64); context is one-hot rows."""
        noise = torch.randn(len(context), num_samples, PIXELS, dtype=torch.float64, generator=generator)
        chosen = [self.gaussians[int(label)] for label in context.argmax(-1)]
        drawn = [
            gaussian.coefficients[0] + temperature * z @ gaussian.cholesky.T
            for gaussian, z in zip(chosen, noise, strict=True)
        ]
        return self.scaling.inverse(torch.stack(drawn))[0]


def whole_gaussian(x: Tensor, seed: int, *, copies: int = 20) -> Baseline:
    """Return one Gaussian with full covariance for all images (n, 64) of levels, fitted with `copies` of the noise."""
    rows = dequantized(x.repeat(copies, 1), torch.Generator().manual_seed(seed)).double()
    scaling = Standardize(PIXELS)
    scaling.initialize(rows)
    return Baseline("Gaussian", scaling, Gaussian(scaling(rows)[0]))
