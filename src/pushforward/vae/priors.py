"""Priors of a variational autoencoder: those that have a name, and the VampPrior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pushforward import recipes
from pushforward.bases import Base, GaussianMixture, StandardNormal
from pushforward.bases.density import mixture_log_prob
from pushforward.errors import require_count, require_kind
from pushforward.flows import Flow
from pushforward.numerics.generators import drawn_from
from pushforward.numerics.normal_noise import normal_noise
from pushforward.specification import Specified

EDGE = 0.02  # pseudo-inputs begin at least so far from 0 and 1, where a logit is infinite


class VampPrior(Specified, Base):
    """Mixture of the posteriors of K learned pseudo-inputs: p(z) = 1/K sum_k q(z|u_k) (VampPrior, arXiv:1705.07120).

    It shares the encoder with its VAE, so each step encodes K images more. The pseudo-inputs are kept inside [0, 1] by
    a sigmoid; `fit` lets them begin as training images.

    Args:
        encoder: The encoder of the VAE, x (*batch, D) -> (*batch, 2 L), or None: the VAE then hands it over.
        features: Number of latents L.
        data_features: Number of pixels D.
        num_components: K.

    Raises:
        ValueError: If a size is not valid, or the encoder has others.
    """

    has_rsample = False
    encoder: nn.Module | None
    initialized: Tensor

    def __init__(self, encoder: nn.Module | None, features: int, data_features: int, num_components: int = 500) -> None:
        super().__init__()
        self.features = require_count("features", features)
        self.data_features = data_features = require_count("data_features", data_features)
        self.num_components = num_components = require_count("num_components", num_components)
        self.encoder = None
        if encoder is not None:
            require_kind("encoder", encoder, nn.Module, "a module x -> (mean, log standard deviation) or None")
            self.share(encoder)
        self.pseudo_logits = nn.Parameter(torch.randn(num_components, data_features))
        self.register_buffer("initialized", torch.tensor(False))

    def share(self, encoder: nn.Module) -> None:
        """Use the encoder of the VAE.

        Raises:
            ValueError: If there is another already, or this one's sizes do not fit.
        """
        if self.encoder not in (None, encoder):
            raise ValueError("the VampPrior has another encoder: make it with the one of this VAE.")
        for name, wanted in (("in_features", self.data_features), ("out_features", 2 * self.features)):
            if getattr(encoder, name, wanted) != wanted:
                raise ValueError(
                    f"the encoder of a VampPrior must have {name}={wanted} (data_features in, mean and log standard "
                    f"deviation of {self.features} latents out); got {getattr(encoder, name)}."
                )
        self.encoder = encoder

    def components(self) -> tuple[Tensor, Tensor]:
        """Return means and log standard deviations of the components, (K, L) each."""
        if self.encoder is None:
            raise ValueError("the VampPrior has no encoder yet: put it into a VAE, or make it with one.")
        mean, log_std = self.encoder(self.pseudo_logits.sigmoid()).chunk(2, -1)
        return mean, log_std

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        mean, log_std = self.components()
        return mixture_log_prob(z, mean, log_std, -math.log(self.num_components))

    def _draw(
        self, shape: tuple[int, ...], context: Tensor | None, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        mean, log_std = self.components()
        chosen = torch.randint(self.num_components, tuple(shape), device=mean.device, **drawn_from(generator))
        noise = normal_noise((*shape, self.features), mean, generator)
        return mean[chosen] + temperature * log_std[chosen].exp() * noise

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Take K of the images x (n, D), grey levels in [0, 1], as pseudo-inputs; only the first call does.

        Of fewer images each is taken once, and the other pseudo-inputs stay random: equal ones would stay equal.
        """
        if bool(self.initialized):
            return
        picked = x[torch.linspace(0, len(x) - 1, min(self.num_components, len(x)), device=x.device).long()]
        self.pseudo_logits[: len(picked)] = picked.clamp(EDGE, 1 - EDGE).logit()
        self.initialized.fill_(True)


def vamps_in(prior: nn.Module) -> list[VampPrior]:
    """Return every VampPrior in a prior: itself, the base of a flow, one of several bases side by side."""
    return [module for module in prior.modules() if isinstance(module, VampPrior)]


PRIORS: dict[str, Callable[[int], Flow | Base]] = {
    "normal": StandardNormal,
    "mixture": lambda features: GaussianMixture(features, 100),
    "flow": lambda features: recipes.realnvp(features, num_layers=8, hidden_features=(128, 128), mask="random"),
    "spline": lambda features: recipes.nsf(features, num_layers=4, hidden_features=(128, 128), mask="random"),
}
"""Priors that need the number of latents only, by name; "vampprior" needs the encoder too."""
