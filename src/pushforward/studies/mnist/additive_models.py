"""The flows of the study `mnist-additive`: the source's, and one that draws the digit first and its details after."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward import recipes
from pushforward.bases import GaussianMixture, Joint, StandardNormal
from pushforward.data import pixel_units
from pushforward.flows import Flow
from pushforward.flows.dequantization import dequantized
from pushforward.studies.mnist.models import LEVELS, PIXELS, coupling
from pushforward.transforms import (
    Additive,
    Affine,
    Compose,
    Elementwise,
    OnFeatures,
    Orthogonal,
    Scale,
    Shift,
    Transform,
    Univariate,
    masks,
)

NUM_LAYERS = 4  # of both flows
LEADING = 50  # principal components that draw the digit: they hold 82 % of the pixels' variance
NUM_COUPLINGS = 3  # of the leading components, in each of our layers but the first
NUM_COMPONENTS = 100  # of each of the two mixtures that are the base of our flow
CLUSTERED = 20_000  # images that its start is taken from


@dataclass(frozen=True)
class ExpScale(Univariate):
    """y = exp(s) x, log dy/dx = s, the same for every row."""

    @property
    def num_params(self) -> int:  # noqa: D102
        return 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        log_scale = params.squeeze(-1)
        return x * log_scale.exp(), log_scale

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        log_scale = params.squeeze(-1)
        return y * (-log_scale).exp(), -log_scale


def additive_layer(mask: Tensor, width: int) -> Compose:
    """Return y_B = x_B + m(x_A) and then y <- exp(s) y; A is where the mask is True, m has five linear layers."""
    return Compose([coupling(mask, Additive(), (width,) * 4), Elementwise(PIXELS, ExpScale())])


def source_additive(images: Tensor) -> Flow:
    """Return the source's flow on pixels in [0, 1); A and B are the upper and the lower half, and swap roles."""
    upper = masks.halves(PIXELS)
    layers = [additive_layer(~upper if layer % 2 else upper, 512) for layer in range(NUM_LAYERS)]
    return Flow(Compose(layers, names=layer_names()), StandardNormal(PIXELS), pixel_units("1/256"))


def our_additive(images: Tensor) -> Flow:
    """Return a flow of principal components that draws the digit first, then its details.

    The first layer takes from the 734 components of detail, which pass as the source's B, what the 50 leading ones tell
    of them, and has a scale for each image where the source has one for all. The other three change the leading ones
    alone. For each of the two groups the base is a learned mixture that starts on clusters of the images: no continuous
    map makes the separate modes that ten digits are out of one normal law.
    """
    mean, variances, rotation = principal_components(images)
    preprocessing = [Scale(1 / LEVELS), Shift(-mean), rotation, Scale(variances.rsqrt())]
    couplings = recipes.realnvp(
        LEADING,
        num_layers=(NUM_LAYERS - 1) * NUM_COUPLINGS,
        hidden_features=(512, 512),
        mask="random",
        dropout=0.1,
    ).transform
    assert isinstance(couplings, Compose)
    layers: list[Transform] = [coupling(torch.arange(PIXELS) < LEADING, Affine("tanh"), (512,) * 4, dropout=0.1)]
    for first in range(0, len(couplings), NUM_COUPLINGS):
        layers.append(OnFeatures(torch.arange(LEADING), couplings[first : first + NUM_COUPLINGS]))
    mixtures = [GaussianMixture(size, NUM_COMPONENTS) for size in (LEADING, PIXELS - LEADING)]
    flow = Flow(Compose(layers, names=layer_names()), Joint(mixtures), preprocessing)
    _start_on_clusters(flow, mixtures, images[:CLUSTERED])
    return flow


def layer_names() -> list[str]:
    """Return the names of a flow's layers, from data to latent."""
    return [f"layer {number}" for number in range(1, NUM_LAYERS + 1)]


@torch.no_grad()
def _start_on_clusters(flow: Flow, mixtures: Sequence[GaussianMixture], images: Tensor) -> None:
    """Set the components of mixtures, which share a flow's base, to clusters that k-means finds in its latents."""
    from sklearn.cluster import KMeans

    seed = int(torch.randint(2**31 - 1, ()))
    z = flow.encode(dequantized(images, torch.Generator().manual_seed(seed)))
    scale = flow.preprocessing[-1]
    assert isinstance(scale, Scale)
    seen = z / scale.factor  # in the image, where distances mean something
    sizes = [mixture.features for mixture in mixtures]
    for mixture, own, visible in zip(mixtures, z.split(sizes, -1), seen.split(sizes, -1), strict=True):
        means = KMeans(mixture.num_components, n_init=1, max_iter=20, random_state=seed)
        clusters = torch.from_numpy(means.fit_predict(visible.numpy())).long()
        for component in range(mixture.num_components):
            rows = own[clusters == component]
            # One observation of unit variance keeps the deviation of a cluster of few images above zero.
            squares = (rows - rows.mean(0)).square().sum(0)
            mixture.mean[component] = rows.mean(0)
            mixture.log_std[component] = ((squares + 1) / (len(rows) + 1)).log() / 2
            mixture.logits[component] = math.log(len(rows))


def principal_components(images: Tensor) -> tuple[Tensor, Tensor, Orthogonal]:
    """Return mean (784,), variances (784,) from large to small, and the rotation to the principal components.

    Args:
        images: (n, 784), uint8; the law meant is that of (k + u) / 256.
    """
    mean, covariance = torch.zeros(PIXELS, dtype=torch.float64), torch.zeros(PIXELS, PIXELS, dtype=torch.float64)
    for rows in images.split(5_000):
        mean += rows.double().sum(0)
        covariance += rows.double().T @ rows.double()
    mean /= len(images)
    # Uniform noise adds a half to the mean and a twelfth to each variance, in levels.
    covariance = covariance / len(images) - mean.outer(mean) + torch.eye(PIXELS, dtype=torch.float64) / 12
    variances, directions = torch.linalg.eigh(covariance)
    rotation = Orthogonal(PIXELS)
    rotation.matrix.copy_(directions.flip(1).T)
    return (
        ((mean + 0.5) / LEVELS).float(),
        (variances.flip(0) / LEVELS**2).float(),
        rotation,
    )
