"""Gaussians on images of digits, one, one a cluster or one a label: densities that the flows have to beat."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.data.toy_density import data_generator
from pushforward.flows.dequantization import dequantized
from pushforward.studies.digits.task import NUM_LABELS, PIXELS
from pushforward.tables.baselines import Baseline, Gaussian
from pushforward.transforms import Compose, Standardize, Transform

ENOUGH_ROWS = 21_000  # for a covariance of 64 to 784 features
ROWS_AT_ONCE = 4_096
PRINCIPAL = 50


class LabelGaussians:
    """One Gaussian a label, mean and shrunk covariance of the label's dequantized images (n, 64)."""

    context_features = NUM_LABELS

    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.scaling = Standardize(PIXELS)
        self.scaling.initialize(x)
        y = self.scaling(x.double())[0]
        self.gaussians = [Gaussian(y[labels == label]) for label in range(NUM_LABELS)]

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Return log p(x | label) in nats, (n,)."""
        y, log_det = self.scaling(x.double())
        each = torch.stack([gaussian.log_prob(y) for gaussian in self.gaussians], -1)
        return (each * context).sum(-1) + log_det

    def sample(
        self, num_samples: int, context: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw images, (labels, num_samples, 64); context is one-hot rows."""
        noise = torch.randn(len(context), num_samples, PIXELS, dtype=torch.float64, generator=generator)
        chosen = [self.gaussians[int(label)] for label in context.argmax(-1)]
        drawn = [one.coefficients[0] + temperature * z @ one.cholesky.T for one, z in zip(chosen, noise, strict=True)]
        return self.scaling.inverse(torch.stack(drawn))[0]


def whole_gaussian(x: Tensor, seed: int, *, units: Sequence[Transform] = (), copies: int | None = None) -> Baseline:
    """Return one Gaussian with full covariance for all images (n, D) of levels.

    Rows are taken to be Gaussian behind `units`, transforms from dequantized levels such as
    `pf.data.pixel_units("logit")`; the baseline's log_prob is in levels all the same. Each image is seen `copies`
    times, each time with other noise, by default as often as gives 21,000 rows.
    """
    scaling = Compose(units)
    mean, covariance, _ = _moments(x, scaling, copies or -(-ENOUGH_ROWS // len(x)), data_generator(seed))
    return Baseline("Gaussian, full covariance", scaling, Gaussian.of_moments(mean, covariance))


def gaussian_mixture(
    x: Tensor,
    seed: int,
    *,
    units: Sequence[Transform] = (),
    num_components: int = 20,
    shrinkage: float = 2_000,
    copies: int | None = None,
) -> Baseline:
    """Return a mixture of Gaussians with full covariances, one on each cluster of k-means; see `whole_gaussian`.

    Clusters are those of the leading principal components of the images. Steps of expectation maximization after that
    gain a nat on MNIST and take minutes: in 784 dimensions a row belongs to one component anyway. Each covariance is
    mixed with that of all rows as if it had been seen in `shrinkage` further rows. Both defaults are those of the best
    log-likelihood on MNIST's validation images in logit space.

    Raises:
        ValueError: If there are more components than images.
    """
    if not 1 <= num_components <= len(x):
        raise ValueError(f"num_components must be from 1 to {len(x)}, the number of images; got {num_components}.")
    scaling, generator, copies = Compose(units), data_generator(seed), copies or -(-ENOUGH_ROWS // len(x))
    _, whole, _ = _moments(x, scaling, copies, generator)
    clusters = _clusters(x, num_components, seed)
    gaussians = []
    for cluster in range(num_components):
        mean, covariance, count = _moments(x[clusters == cluster], scaling, copies, generator)
        pooled = (count * covariance + shrinkage * whole) / (count + shrinkage)
        gaussians.append(Gaussian.of_moments(mean, pooled))
    name = f"mixture of {num_components} Gaussians, full covariances"
    return Baseline(name, scaling, Mixture(gaussians, clusters.bincount().double() / len(x)))


def gaussian_parameters(features: int, num_components: int = 1) -> int:
    """Return how many numbers a Gaussian with full covariance takes, or a mixture of several with their weights."""
    return num_components * (features * (features + 3) // 2 + 1) - 1


class Mixture:
    """Sum of w_k N(m_k, S_k), with weights (K,) above 0, of sum 1."""

    def __init__(self, gaussians: list[Gaussian], weights: Tensor) -> None:
        self.gaussians, self.weights = gaussians, weights

    def log_prob(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of rows (n, D) in nats, (n,)."""
        each = torch.stack([gaussian.log_prob(y) for gaussian in self.gaussians], -1)
        return torch.logsumexp(each + self.weights.log(), -1)


def _moments(x: Tensor, scaling: Transform, copies: int, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
    """Return mean (D,), covariance (D, D) and number of the dequantized rows in the units of `scaling`.

    The generator must not be that of `metrics.nll`: a Gaussian fitted to the noise that the test images then get too
    looks two nats too good on MNIST.
    """
    pieces = (
        scaling(dequantized(rows, generator))[0].double() for _ in range(copies) for rows in x.split(ROWS_AT_ONCE)
    )
    first = next(pieces)
    centre = first.mean(0)  # sums about a centre keep their digits
    total, squares, count = torch.zeros_like(centre), first.new_zeros(len(centre), len(centre)), 0
    for rows in itertools.chain([first], pieces):
        away = rows - centre
        total, squares, count = total + away.sum(0), squares.addmm_(away.T, away), count + len(rows)
    shift = total / count
    return centre + shift, squares / count - shift.outer(shift), count


def _clusters(x: Tensor, num_clusters: int, seed: int) -> Tensor:
    """Return the cluster of each image, (n,)."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    codes = PCA(min(PRINCIPAL, *x.shape), random_state=seed).fit_transform(x.float().numpy())
    return torch.as_tensor(KMeans(num_clusters, n_init=1, random_state=seed).fit_predict(codes))
