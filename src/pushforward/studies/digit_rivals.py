"""What the flows on digits are compared with: autoencoders, principal components, Gaussians."""

import torch
from torch import Tensor, nn

from pushforward.data.digits import LEVELS
from pushforward.losses import Batch
from pushforward.nets import MLP
from pushforward.studies.digit_models import NUM_LABELS, PIXELS
from pushforward.tables.baselines import Baseline, Gaussian
from pushforward.training.rows import dequantized
from pushforward.transforms import Standardize


class Autoencoder(nn.Module):
    """A small autoencoder with k codes, and a Gaussian fitted to its codes to sample from.

    Args:
        k: Number of codes.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.encoder = MLP(PIXELS, k, hidden_features=(128, 128), dropout=0.1)
        self.decoder = MLP(k, PIXELS, hidden_features=(128, 128), dropout=0.1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, (n, k)."""
        return self.encoder(2 * x / LEVELS - 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return images of codes, (n, 64), values in (0, 17)."""
        return LEVELS * torch.sigmoid(self.decoder(codes))


def rebuilding_error(model: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Squared error of each rebuilt image, summed over the pixels: the loss of an autoencoder."""
    return (batch.x - model.decode(model.encode(batch.x))).square().sum(-1)  # type: ignore[operator]


class PrincipalComponents:
    """The linear autoencoder: the k directions of largest variance of the training images.

    Args:
        x: (n, 64), training images, middles of their levels.
        k: Number of directions.
    """

    def __init__(self, x: Tensor, k: int) -> None:
        self.mean = x.mean(0)
        self.directions = torch.linalg.svd(x - self.mean, full_matrices=False)[2][:k]

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, (n, k)."""
        return (x - self.mean) @ self.directions.T

    def decode(self, codes: Tensor) -> Tensor:
        """Return images of codes, (n, 64)."""
        return codes @ self.directions + self.mean


def sampled_codes(codes: Tensor, num_samples: int, seed: int) -> Tensor:
    """Draw new codes from a Gaussian fitted to codes (n, k): an autoencoder has no law of its own for them."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.linalg.cholesky(codes.T.cov().reshape(codes.shape[1], -1))
    return codes.mean(0) + torch.randn(num_samples, codes.shape[1], generator=generator) @ factor.T


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
