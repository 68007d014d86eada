"""The flows of the studies on MNIST with fully connected networks: masked and additive couplings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward import Flow, nets, recipes, transforms
from pushforward.bases import GaussianMixture, Joint, StandardNormal
from pushforward.data import pixel_units
from pushforward.flows.dequantization import dequantized
from pushforward.kernels.rational_quadratic import MIN_SHARE, MIN_SLOPE, SLOPE_AT_ZERO
from pushforward.studies.mnist.training import LEVELS, PIXELS
from pushforward.transforms import Affine, Compose, Coupling, Elementwise, Transform

NUM_LAYERS = 4  # of both additive flows
LEADING = 50  # principal components that draw the digit: they hold 82 % of the pixels' variance
NUM_COUPLINGS = 3  # of the leading components, in each of our layers but the first
NUM_COMPONENTS = 100  # of each of the two mixtures that are the base of our flow
CLUSTERED = 20_000  # images that its start is taken from


def coupling(
    mask: Tensor, univariate: Affine | transforms.Additive, hidden: Sequence[int], dropout: float = 0.0
) -> Coupling:
    """Return a coupling whose network has these hidden layers."""
    num_kept = int(mask.sum())
    num_params = (PIXELS - num_kept) * univariate.num_params
    return Coupling(mask, univariate, nets.MLP(num_kept, num_params, hidden_features=hidden, dropout=dropout))


# ---- masked coupling -----------------------------------------------------------------------------------------------


def masks_of(kind: str, num_layers: int, *, paired: bool) -> list[Tensor]:
    """Return one mask a layer: a "chequerboard" inverted at each layer, or "random" ones, each drawn anew.

    Where random ones are `paired`, every second one is the complement of the one before: then each pixel is
    transformed as often as any other.
    """
    chosen: list[Tensor] = []
    for layer in range(num_layers):
        again = layer % 2 and (paired or kind == "chequerboard")
        chosen.append(~chosen[-1] if again else transforms.masks.MASKS[kind](PIXELS))
    return chosen


def source_masked(kind: str) -> Flow:
    """Return the source's flow: couplings with tanh on the scale, pixels as x + u/255.

    The source gives no sizes. Pixels of paper are to be widened from 1/255 to about 1, by e^5.5 or more, and a layer
    widens by e at most the half of the pixels that it transforms: hence 16 layers.
    """
    layers = [coupling(mask, Affine("tanh"), (256, 256)) for mask in masks_of(kind, 16, paired=False)]
    return Flow(Compose(layers), StandardNormal(PIXELS), pixel_units("1/255"))


def our_masked(kind: str) -> Flow:
    """Return six wider couplings with a scale of each pixel before them, behind a logit and a spline of each pixel."""
    layers: list[Transform] = [
        Compose([transforms.ActNorm(PIXELS), coupling(mask, Affine("tanh"), (512, 512), dropout=0.2)])
        for mask in masks_of(kind, 6, paired=True)
    ]
    steps = Compose([paper_spline(), *layers, transforms.ActNorm(PIXELS)])
    return Flow(steps, StandardNormal(PIXELS), pixel_units("logit"))


def paper_spline(features: int = PIXELS) -> Elementwise:
    """Return a spline of each pixel behind the logit that starts by making the noise of level 0 normal.

    Four of five pixels are paper, level 0: there the dequantized pixel is uniform noise on one level, which the logit
    turns into log u, and no affine map of log u is normal. The spline sends the quantiles of log u to those of a
    normal law in the lower half of its box; the inked levels keep the upper half. Training changes it pixel by pixel.
    """
    bound, spread = 14.0, 1.3  # the logit of MAF ends at 13.8; a standard deviation of paper in the box
    normal = torch.distributions.Normal(0.0, 1.0)
    quantile = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5])
    u = normal.cdf(quantile)
    paper = torch.logit(1e-6 + u / LEVELS)
    # Then the end of level 0, and the middle grey.
    x = torch.cat([torch.tensor([-bound]), paper, torch.tensor([-5.5, 0.0, bound])])
    y = torch.cat([torch.tensor([-bound]), spread * (quantile + 3.5) - bound, torch.tensor([-5.3, 1.0, bound])])
    slopes = torch.cat([spread * u / normal.log_prob(quantile).exp(), torch.tensor([3.0, 1.0])])
    sizes = [(knots.diff() / (2 * bound) - MIN_SHARE).log() for knots in (x, y)]
    layer = Elementwise(features, transforms.RationalQuadratic(len(x) - 1, bound))
    assert layer.params is not None
    with torch.no_grad():
        layer.params.copy_(torch.cat([*sizes, (slopes - MIN_SLOPE).expm1().log() - SLOPE_AT_ZERO]))
    return layer


# ---- additive coupling ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExpScale(transforms.Univariate):
    """y = exp(s) x, log dy/dx = s, the same for every row."""

    num_params = 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        log_scale = params.squeeze(-1)
        return x * log_scale.exp(), log_scale

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.forward(y, -params)


def additive_layer(mask: Tensor, width: int, dropout: float = 0.0) -> Compose:
    """Return y_B = x_B + m(x_A) and then y <- exp(s) y; A is where the mask is True, m has five linear layers."""
    m = coupling(mask, transforms.Additive(), (width,) * 4, dropout)
    return Compose([m, Elementwise(PIXELS, ExpScale())])


def source_additive(images: Tensor, units: str = "1/256", width: int = 512, dropout: float = 0.0) -> Flow:
    """Return the source's flow on pixels in these units; A and B are the upper and the lower half, and swap roles."""
    upper = transforms.masks.halves(PIXELS)
    layers = [additive_layer(~upper if layer % 2 else upper, width, dropout) for layer in range(NUM_LAYERS)]
    return Flow(Compose(layers), StandardNormal(PIXELS), pixel_units(units))


def within_the_rules(images: Tensor) -> Flow:
    """Return the source's flow on the logit of the pixels, with dropout: what its rules leave open, used.

    Behind the logit ink and paper lie far apart beside the noise of each, so that what is drawn is one or the other.
    Networks of half the width take more steps in the same time.
    """
    return source_additive(images, "logit", 256, 0.1)


def our_additive(images: Tensor) -> Flow:
    """Return a flow of principal components that draws the digit first, then its details.

    The first layer takes from the 734 components of detail, which pass as the source's B, what the 50 leading ones tell
    of them, and has a scale for each image where the source has one for all. The other three change the leading ones
    alone. For each of the two groups the base is a learned mixture that starts on clusters of the images: no continuous
    map makes the separate modes that ten digits are out of one normal law.
    """
    mean, variances, rotation = principal_components(images)
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
        layers.append(transforms.OnFeatures(torch.arange(LEADING), couplings[first : first + NUM_COUPLINGS]))
    mixtures = [GaussianMixture(size, NUM_COMPONENTS) for size in (LEADING, PIXELS - LEADING)]
    scale = variances.rsqrt()
    preprocessing = [transforms.Scale(1 / LEVELS), transforms.Shift(-mean), rotation, transforms.Scale(scale)]
    flow = Flow(Compose(layers), Joint(mixtures), preprocessing)
    seed = int(torch.randint(2**31 - 1, ()))
    with torch.no_grad():
        z = flow.encode(dequantized(images[:CLUSTERED], torch.Generator().manual_seed(seed)))
    sizes = [mixture.features for mixture in mixtures]
    # Clusters are those of the image, where distances mean something.
    for mixture, own, seen in zip(mixtures, z.split(sizes, -1), (z / scale).split(sizes, -1), strict=True):
        _start_on_clusters(mixture, own, seen, seed)
    return flow


@torch.no_grad()
def _start_on_clusters(mixture: GaussianMixture, z: Tensor, seen: Tensor, seed: int) -> None:
    """Set the components of a mixture to the latents of the clusters that k-means finds in what is seen of them."""
    from sklearn.cluster import KMeans

    means = KMeans(mixture.num_components, n_init=1, max_iter=20, random_state=seed)
    clusters = torch.from_numpy(means.fit_predict(seen.numpy())).long()
    for component in range(mixture.num_components):
        rows = z[clusters == component]
        # One observation of unit variance keeps the deviation of a cluster of few images above zero.
        squares = (rows - rows.mean(0)).square().sum(0)
        mixture.mean[component] = rows.mean(0)
        mixture.log_std[component] = ((squares + 1) / (len(rows) + 1)).log() / 2
        mixture.logits[component] = math.log(len(rows))


def principal_components(images: Tensor) -> tuple[Tensor, Tensor, transforms.Orthogonal]:
    """Return mean (784,), variances (784,) from large to small, and the rotation to the principal components.

    Images are (n, 784), uint8; the law meant is that of (k + u) / 256.
    """
    x = images.double()
    mean = x.mean(0)
    covariance = x.T @ x / len(x) - mean.outer(mean)
    covariance.diagonal().add_(1 / 12)  # of uniform noise, which adds a half to the mean as well, in levels
    variances, directions = torch.linalg.eigh(covariance)
    rotation = transforms.Orthogonal(PIXELS)
    rotation.matrix.copy_(directions.flip(1).T)
    return ((mean + 0.5) / LEVELS).float(), (variances.flip(0) / LEVELS**2).float(), rotation
