"""Autoencoders of digits, nonlinear and linear: what a flow's bottleneck is compared with."""

from functools import partial

import torch
from torch import Tensor, nn

from pushforward import losses, nets
from pushforward.data.digits import LEVELS
from pushforward.studies.digits.task import PIXELS, QUICK, Task
from pushforward.studies.kit import Candidate, middles, to_levels


class Autoencoder(nn.Module):
    """A small autoencoder with k codes, of images whose pixels take so many levels."""

    def __init__(self, k: int, levels: int = LEVELS) -> None:
        super().__init__()
        self.levels = levels
        self.encoder = nets.MLP(PIXELS, k, hidden_features=(128, 128), dropout=0.1)
        self.decoder = nets.MLP(k, PIXELS, hidden_features=(128, 128), dropout=0.1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, (n, k)."""
        return self.encoder(2 * x / self.levels - 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return images of codes, (n, 64), values in (0, levels)."""
        return self.levels * torch.sigmoid(self.decoder(codes))


def rebuilding_error(model: nn.Module, batch: losses.Batch, generator: torch.Generator | None = None) -> Tensor:
    """Squared error of each rebuilt image, summed over the pixels: the loss of an autoencoder."""
    return (batch.x - model.decode(model.encode(batch.x))).square().sum(-1)  # type: ignore[operator]


def autoencoder(task: Task, k: int) -> Candidate:
    """Return an autoencoder with k codes as it is trained."""
    options = {"num_steps": task.autoencoder_steps, "learning_rate": 2e-3, "batch_size": 128, "loss": rebuilding_error}
    return Candidate(f"autoencoder, k = {k}", partial(Autoencoder, k, task.levels), options, QUICK)


class PrincipalComponents:
    """The linear autoencoder: the k directions of largest variance of training images (n, 64)."""

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


@torch.no_grad()
def sampled(model: Autoencoder | PrincipalComponents, task: Task, num_samples: int, seed: int) -> Tensor:
    """Draw images from a Gaussian fitted to the codes of the training images."""
    codes = sampled_codes(model.encode(middles(task.train.x)), num_samples, seed)
    return to_levels(model.decode(codes), task.levels)
