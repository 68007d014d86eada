"""Variational autoencoders for binary images, whose prior and posterior can be any flow."""

from pushforward.flows.binarization import BINARIZATIONS, binarize
from pushforward.vae.mlp import mlp_vae
from pushforward.vae.model import VAE
from pushforward.vae.priors import PRIORS, VampPrior
from pushforward.vae.terms import Terms

__all__ = ["BINARIZATIONS", "PRIORS", "VAE", "Terms", "VampPrior", "binarize", "mlp_vae"]
