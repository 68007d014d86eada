"""A variational autoencoder with a Bernoulli decoder: data -> posterior over latents, latents -> pixels."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.bases import Base
from pushforward.bases.density import normal_log_prob
from pushforward.errors import InputError, require_count, require_kind
from pushforward.flows import Flow
from pushforward.flows.binarization import check_binary, grey
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.generators import check_generator
from pushforward.numerics.normal_noise import normal_noise
from pushforward.specification import Specified, nodes
from pushforward.transforms import Transform
from pushforward.transforms.base import check_transform
from pushforward.vae.priors import vamps_in
from pushforward.vae.terms import Terms

# Without gradients, images times samples pass through in pieces of at most so many rows.
CHUNK_ROWS = 4096


class VAE(Specified, nn.Module):
    r"""Variational autoencoder of binary data: p(x, z) = prior(z) prod_i Bernoulli(x_i; sigmoid(decoder(z)_i)).

    The approximate posterior q(z|x) is a diagonal normal given by the encoder, or, with a posterior flow f, the law of
    z = f(z_0): log q(z|x) = log N(z_0; mean, std) - log|det df/dz_0|. Here f is the flow's `forward`, the direction
    data -> latent of its recipe: planar, coupling and masked autoregressive maps compute it and its log_det in one
    pass, and the bound needs no inverse of it. One Monte-Carlo formula serves every prior:
    ELBO(x) = E_q[log p(x|z) + log p(z) - log q(z|x)], with reparametrized samples.

    Train with `pf.fit(vae, images, loss=pf.losses.elbo)` on images of grey levels, which the loss binarizes. All
    methods here take binary x, an array or a tensor; `pf.vae.binarize` makes it. Made in eval() mode.

    Args:
        encoder: Module x (*batch, D) -> (*batch, 2 L + C): mean and log standard deviation of the L latents, and the C
            features that the posterior flow takes as context (C is its `context_features`, usually 0).
        decoder: Module z (*batch, L) -> (*batch, D), logits of the Bernoullis.
        prior: Any `Flow` or base over L features, such as `pf.bases.StandardNormal(L)` or `pf.recipes.realnvp(L)`. A
            `VampPrior` shares this encoder.
        posterior_flow: Any transform over L features, or a `Flow`, whose base is not used; None for a plain diagonal
            normal.

    Raises:
        ValueError: If the prior or the posterior flow does not fit: see the message.

    Example:
        >>> import pushforward as pf
        >>> vae = pf.vae.mlp_vae(16, latent_features=2, hidden_features=(8,), prior=pf.recipes.realnvp(2))
        >>> x = pf.vae.binarize(torch.rand(5, 16))
        >>> vae.elbo(x).shape, vae.sample(3).shape
        (torch.Size([5]), torch.Size([3, 16]))

    References:
        Kingma & Welling (2014), Auto-encoding variational Bayes. arXiv:1312.6114, eq. 3 and appendix C.
        Rezende & Mohamed (2015), Variational inference with normalizing flows. arXiv:1505.05770, eq. 15.
    """

    takes_integers = True  # grey levels, which the loss binarizes

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: Flow | Base,
        *,
        posterior_flow: Flow | Transform | None = None,
    ) -> None:
        super().__init__()
        require_kind("encoder", encoder, nn.Module, "a module x -> (mean, log standard deviation)")
        require_kind("decoder", decoder, nn.Module, "a module z -> logits")
        require_kind("prior", prior, (Flow, Base), "a Flow or a base", 'names such as "flow" are for pf.vae.mlp_vae')
        kinds, wanted = (Flow, Transform, type(None)), "a Flow, a transform or None"
        require_kind("posterior_flow", posterior_flow, kinds, wanted, "use one such as pf.recipes.planar(features)")
        if isinstance(posterior_flow, Transform):
            check_transform("posterior_flow", posterior_flow)
        if prior.context_features:
            raise ValueError(f"prior must take no context; it needs {prior.context_features} features of it.")
        vamps = vamps_in(prior)
        if posterior_flow is not None and vamps:
            raise ValueError("a VampPrior mixes diagonal normals: use it without posterior_flow, or another prior.")
        if isinstance(posterior_flow, Flow) and (
            len(posterior_flow.preprocessing) or len(posterior_flow.context_preprocessing)
        ):
            raise ValueError("posterior_flow must have no preprocessing: put its steps into a Compose.")
        for vamp in vamps:
            vamp.share(encoder)
        self.encoder, self.decoder, self.prior, self.posterior_flow = encoder, decoder, prior, posterior_flow
        self.latent_features = prior.features
        own = None if posterior_flow is None else posterior_flow.features
        if own not in (None, self.latent_features):
            raise ValueError(f"posterior_flow has {own} features, the prior {self.latent_features}: make them equal.")
        self.context_size = 0 if posterior_flow is None else posterior_flow.context_features
        self.eval()

    # ---- the two networks ----------------------------------------------------------------------------------------

    def posterior(self, x: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return mean and log standard deviation of q_0, (*batch, L) each, and the posterior flow's context.

        Args:
            x: (*batch, D) of zeros and ones.

        Raises:
            ValueError: If x holds other values, or the encoder returns another number of features.
        """
        x = as_tensor(x, "x")
        check_binary(x)
        return self._encoded(x)

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        wanted = getattr(self.encoder, "in_features", x.shape[-1])
        if x.shape[-1] != wanted:
            raise ValueError(f"x must have {wanted} pixels a row; got shape {tuple(x.shape)}.")
        out = self.encoder(x.to(self._dtype))
        sizes = (self.latent_features, self.latent_features, self.context_size)
        if out.shape[-1] != sum(sizes):
            raise ValueError(
                f"the encoder must return {sum(sizes)} features (mean and log standard deviation of "
                f"{self.latent_features} latents, and {self.context_size} of context); it returns {out.shape[-1]}."
            )
        mean, log_std, context = out.split(sizes, -1)
        return mean, log_std, context if self.context_size else None

    def encode(
        self, x: Any, num_samples: int = 1, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw z from q(z|x), differentiably: (n, D) -> z (n, num_samples, L) and log q(z|x) (n, num_samples), nats."""
        num_samples = require_count("num_samples", num_samples)
        check_generator(generator)
        mean, log_std, context = self.posterior(x)
        mean, log_std = mean.unsqueeze(-2), log_std.unsqueeze(-2)
        shape = (*mean.shape[:-2], num_samples, self.latent_features)
        noise = normal_noise(shape, mean, generator)
        z = mean + log_std.exp() * noise
        log_q = normal_log_prob(noise) - log_std.sum(-1)
        z, log_det = self._refine(z, None if context is None else context.unsqueeze(-2))
        return z, log_q - log_det

    def decode(self, z: Tensor) -> Tensor:
        """Return the probability that each pixel is 1: (*batch, L) -> (*batch, D)."""
        return self.decoder(z).sigmoid()

    def _refine(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | float]:
        """Send z (*batch, L) through the posterior flow, and return its log_det too."""
        if self.posterior_flow is None:
            return z, 0.0
        flow = self.posterior_flow
        return (flow.transform if isinstance(flow, Flow) else flow)(z, context)

    # ---- bounds --------------------------------------------------------------------------------------------------

    def terms(self, x: Any, num_samples: int = 1, *, generator: torch.Generator | None = None) -> Terms:
        """Return log p(x|z), log p(z) and log q(z|x) at samples of q(z|x): x (n, D) -> (n, num_samples) each, nats.

        Args:
            x: Zeros and ones.
            num_samples: Samples for each row.
            generator: Source of the samples.

        Raises:
            ValueError: If x is not (n, D) of zeros and ones, or `num_samples` is below 1.
        """
        x = as_tensor(x, "x")
        if x.ndim != 2:
            raise ValueError(f"x must have shape (n, D); got {tuple(x.shape)}: flatten images with x.flatten(1).")
        z, log_q = self.encode(x, num_samples, generator=generator)
        logits = self.decoder(z)
        if logits.shape[-1] != x.shape[-1]:  # one logit would be shared by all pixels, silently
            raise ValueError(
                f"the decoder must return {x.shape[-1]} logits, one a pixel; it returns {logits.shape[-1]}."
            )
        # log Bernoulli(x; sigmoid(l)) = x l - log(1 + exp(l))
        likelihood = (logits * x.to(logits.dtype)[:, None] - functional.softplus(logits)).sum(-1)
        return Terms(likelihood, self.prior.log_prob(z), log_q)

    def elbo(self, x: Any, num_samples: int = 1, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the evidence lower bound of each row, the mean over samples of q(z|x): (n, D) -> (n,), nats."""
        return self._in_pieces(lambda terms: terms.log_weight, x, num_samples, generator).mean(-1)

    def iwae(self, x: Any, num_samples: int = 500, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the importance-weighted bound of each row, (n,), nats.

        log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x): on average not below the ELBO, rising to log p(x) with K
        (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, eq. 8).

        Args:
            x: (n, D) of zeros and ones.
            num_samples: K.
            generator: Source of the samples.
        """
        log_weights = self._in_pieces(lambda terms: terms.log_weight, x, num_samples, generator)
        return log_weights.logsumexp(-1) - math.log(num_samples)

    def _in_pieces(
        self, part: Callable[[Terms], Tensor], x: Any, num_samples: int, generator: torch.Generator | None
    ) -> Tensor:
        """Return a part of the terms, (n, num_samples), computed piece by piece where no gradient is wanted."""
        x, num_samples = as_tensor(x, "x"), require_count("num_samples", num_samples)
        if torch.is_grad_enabled() or len(x) * num_samples <= CHUNK_ROWS:
            return part(self.terms(x, num_samples, generator=generator))
        rows, samples = max(CHUNK_ROWS // num_samples, 1), min(num_samples, CHUNK_ROWS)
        pieces = []
        for some in x.split(rows):
            counts = [min(samples, num_samples - first) for first in range(0, num_samples, samples)]
            pieces.append(torch.cat([part(self.terms(some, count, generator=generator)) for count in counts], -1))
        return torch.cat(pieces)

    # ---- pictures ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, num_samples: int, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draw z from the prior and return the pixels' probabilities, (num_samples, D).

        Args:
            num_samples: Number of images.
            temperature: Scales the standard deviation of the prior, or of its base if it is a flow.
            generator: Source of the samples.
        """
        return self.decode(self.sample_prior(num_samples, temperature=temperature, generator=generator))

    @torch.no_grad()
    def sample_prior(
        self, num_samples: int, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw latents from the prior, (num_samples, L).

        Raises:
            ValueError: If the number of samples or the temperature is not valid.
        """
        num_samples = require_count("num_samples", num_samples, 0)
        return self.prior.sample(num_samples, temperature=temperature, generator=generator)

    @torch.no_grad()
    def reconstruct(self, x: Any) -> Tensor:
        """Return the pixels' probabilities at the centre of q(z|x), the mean sent through the posterior flow.

        Shape: (n, D) -> (n, D).
        """
        mean, _, context = self.posterior(x)
        return self.decode(self._refine(mean, context)[0])

    def specification(self) -> dict[str, Any]:
        """Return how it was built, as plain values; the encoder stands there once, and not in a VampPrior.

        Raises:
            InputError: If encoder and VampPrior no longer share one network.
        """
        if any(vamp.encoder is not self.encoder for vamp in vamps_in(self.prior)):
            raise InputError("the VampPrior has another encoder than its VAE: a model file holds one for both.")
        specification = super().specification()
        for node in nodes(specification["prior"]):
            if node["type"] == "VampPrior":
                node["encoder"] = None
        return specification

    # ---- hooks of `fit` ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def initialize(self, x: Any, context: Any = None) -> None:
        """Let prior and posterior flow learn from training images what they learn from data, once.

        A VampPrior begins with images as its pseudo-inputs, an ActNorm with the moments of latents that the untrained
        encoder gives.

        Args:
            x: (n, D), grey levels or zeros and ones.
            context: Not used.
        """
        flows = [part for part in (self.posterior_flow, self.prior) if isinstance(part, (Flow, Transform))]
        vamps = vamps_in(self.prior)
        if not flows and not vamps:
            return
        x = as_tensor(x, "x")
        # Floats may be anything, for a decoder and a loss of one's own.
        levels = (x if x.is_floating_point() and not vamps else grey(x)).to(self._dtype)
        for vamp in vamps:
            vamp.initialize(levels)
        mean, log_std, own = self._encoded(levels)
        z = mean + log_std.exp() * normal_noise(mean.shape, mean.cpu(), torch.Generator().manual_seed(0)).to(mean)
        for part in flows:
            part.initialize(z, own if part is self.posterior_flow else None)
            if part is self.posterior_flow:
                z, _ = self._refine(z, own)

    def redraw(self, generator: torch.Generator) -> None:
        """Draw the random probes of estimated log_dets anew, in the prior and in the posterior flow."""
        for part in (self.prior, self.posterior_flow):
            if isinstance(part, (Flow, Transform)):
                part.redraw(generator)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.decoder.parameters()).dtype
