"""Autoencoders of digits, nonlinear and linear: what a flow's bottleneck is compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.data.digits import LEVELS
from pushforward.losses import Batch
from pushforward.nets import MLP
from pushforward.studies.digits import models as digit_models
from pushforward.studies.digits.models import PIXELS, Task, middles, to_levels
from pushforward.studies.digits.quality import Judge, Quality
from pushforward.studies.digits.schemes import asked_labels, pixel_error
from pushforward.studies.kit.record import Record


class Autoencoder(nn.Module):
    """A small autoencoder with k codes, and a Gaussian fitted to its codes to sample from.

    Args:
        k: Number of codes.
        levels: Values a pixel takes.
    """

    def __init__(self, k: int, levels: int = LEVELS) -> None:
        super().__init__()
        self.levels = levels
        self.encoder = MLP(PIXELS, k, hidden_features=(128, 128), dropout=0.1)
        self.decoder = MLP(k, PIXELS, hidden_features=(128, 128), dropout=0.1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, (n, k)."""
        return self.encoder(2 * x / self.levels - 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return images of codes, (n, 64), values in (0, levels)."""
        return self.levels * torch.sigmoid(self.decoder(codes))


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


@dataclass(frozen=True)
class Autoencoded:
    """What an autoencoder does with the test images and with codes drawn from a Gaussian fitted to its own."""

    error: float
    samples: Quality


def trained_autoencoder(record: Record, data: Task, k: int, seed: int) -> Autoencoder:
    """Return an autoencoder with k codes; the validation images choose the step."""
    torch.manual_seed(seed)
    model = Autoencoder(k, data.levels)
    digit_models.fit(
        record,
        f"autoencoder, k = {k}, seed {seed}",
        model,
        data,
        data.autoencoder_steps,
        loss=rebuilding_error,
        learning_rate=2e-3,
        batch_size=128,
        seed=seed,
    )
    return model


@torch.no_grad()
def measure_autoencoder(
    record: Record, model: Autoencoder | PrincipalComponents, data: Task, judge: Judge, seed: int
) -> Autoencoded:
    """Measure the rebuilding of test images, and images of drawn codes."""
    x = middles(data.test.x)
    return Autoencoded(
        pixel_error(x, model.decode(model.encode(x))),
        judge.quality(autoencoder_samples(record, model, data, seed)),
    )


@torch.no_grad()
def autoencoder_samples(record: Record, model: Autoencoder | PrincipalComponents, data: Task, seed: int) -> Tensor:
    """Draw images from a Gaussian fitted to the codes of the training images."""
    num_samples = len(asked_labels(record))
    codes = sampled_codes(model.encode(middles(data.train.x)), num_samples, seed)
    return to_levels(model.decode(codes), data.levels)
