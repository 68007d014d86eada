"""The autoencoder of the usual exercise: two perceptrons, and a prior taken by name."""

from collections.abc import Sequence

import torch
from torch import nn

from pushforward.bases import Base
from pushforward.errors import require_choice, require_count, require_widths
from pushforward.flows import Flow
from pushforward.nets import MLP
from pushforward.transforms import Transform
from pushforward.vae.model import VAE
from pushforward.vae.priors import PRIORS, VampPrior


def mlp_vae(
    features: int = 784,
    *,
    latent_features: int = 32,
    prior: str | Flow | Base = "normal",
    posterior_flow: Flow | Transform | None = None,
    hidden_features: int | Sequence[int] = (512, 512),
    activation: str = "relu",
) -> VAE:
    """Return a VAE whose encoder and decoder are perceptrons of the same widths, the decoder's in reverse order.

    Args:
        features: Number of pixels D.
        latent_features: Number of latents L.
        prior: "normal" (N(0, I)), "mixture" (100 diagonal normals), "vampprior" (500 pseudo-inputs), "flow" (8 masked
            affine couplings, random masks), "spline" (4 spline couplings, random masks), or any `Flow` or base over L
            features.
        posterior_flow: Any transform or `Flow` over L features that refines the posterior, such as
            `pf.recipes.planar(L)`; one with `context_features=C` sees C outputs of the encoder.
        hidden_features: Widths of the encoder's hidden layers; an integer is two layers of that width.
        activation: "relu", "gelu", "silu" or "tanh".

    Raises:
        ValueError: If a size or a name is not valid.

    Example:
        >>> vae = mlp_vae(latent_features=2, prior="flow")
        >>> vae.sample(3).shape
        torch.Size([3, 784])
    """
    features = require_count("features", features)
    latent_features = require_count("latent_features", latent_features)
    widths = require_widths("hidden_features", hidden_features)
    if isinstance(prior, (Flow, Base)) and prior.features != latent_features:
        raise ValueError(f"prior has {prior.features} features, latent_features is {latent_features}: make them equal.")
    context = getattr(posterior_flow, "context_features", 0)
    encoder = MLP(features, 2 * latent_features + context, hidden_features=widths, activation=activation)
    decoder = MLP(latent_features, features, hidden_features=widths[::-1], activation=activation)
    for network in (encoder, decoder):
        _start(network)
    if prior == "vampprior":
        prior = VampPrior(encoder, latent_features, features)
    elif isinstance(prior, str):
        prior = PRIORS[require_choice("prior, where it is a name,", prior, [*PRIORS, "vampprior"])](latent_features)
    return VAE(encoder, decoder, prior, posterior_flow=posterior_flow)


@torch.no_grad()
def _start(network: MLP) -> None:
    """Draw the weights anew, those of the hidden layers so that rectified values keep their size (arXiv:1502.01852).

    As conditioners start, with small weights and the last layer at zero, the autoencoder learns far more slowly.
    """
    for layer in (network.first, *network.hidden):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    network.last.reset_parameters()
