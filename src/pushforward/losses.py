"""Losses: `(model, batch, generator, **options) -> (B,)`, one number a row; `fit` alone takes their weighted mean."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pushforward.display import shapes
from pushforward.errors import require_choice, require_count, require_number
from pushforward.flows import Flow
from pushforward.flows.binarization import binarize as binarized
from pushforward.transforms import Compose, Continuous
from pushforward.transforms.conditioning import bounded

__all__ = ["Batch", "bottleneck", "dequantized_nll", "elbo", "flow_matching", "nll", "regularized_nll", "reverse_kl"]

Loss = Callable[..., Tensor]
_AnyLoss = TypeVar("_AnyLoss", bound=Loss)


class Batch(NamedTuple):
    """What a loss is given at one step.

    Attributes:
        x: Rows of data, (size, D), or None where the loss needs no data.
        context: (size, C), or None.
        weight: (size,), or None where every row counts the same.
        size: Number of rows.
    """

    x: Tensor | None
    context: Tensor | None
    weight: Tensor | None
    size: int

    def __repr__(self) -> str:
        return shapes(self)


def _needs(method: str) -> Callable[[_AnyLoss], _AnyLoss]:
    """Let a loss say which method of the model it calls, as `loss.needs`: `fit` checks it."""

    def mark(loss: _AnyLoss) -> _AnyLoss:
        loss.needs = method  # type: ignore[attr-defined]
        return loss

    return mark


@_needs("log_prob")
def nll(model: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Negative log-likelihood of each row in nats, (size,): minimising its mean is maximum likelihood.

    Args:
        model: Anything with `log_prob(x, context)`.
        batch: Rows of data with their context.
        generator: Unused; every loss takes one.
    """
    return -model.log_prob(batch.x, batch.context)  # type: ignore[operator]


@_needs("encode_and_log_prob")
def bottleneck(
    model: nn.Module, batch: Batch, generator: torch.Generator | None = None, *, k: int, weight: float = 1.0
) -> Tensor:
    """Negative log-likelihood plus the error of rebuilding each row from its first k latent dimensions, (size,).

    The other latent dimensions are set to zero before decoding, not in the likelihood: nll(x) + weight |x - decode(z_1,
    ..., z_k, 0, ..., 0)|^2 with z = encode(x). The latent is thereby sorted, what matters most for the picture first.

    Args:
        model: A flow, or anything with `encode_and_log_prob` and `decode`.
        batch: Rows of data with their context.
        generator: Unused; every loss takes one.
        k: Number of latent dimensions kept, from 1 to D.
        weight: Of the squared error, summed over the features in squared units of x. 1 / (2 sigma^2) makes it, up to a
            constant, the nats of Gaussian noise of standard deviation sigma around the rebuilt row.

    Raises:
        ValueError: If k is not from 1 to D, or the weight is negative.

    Example:
        >>> import pushforward as pf
        >>> from functools import partial
        >>> flow = pf.recipes.realnvp(3, num_layers=2)
        >>> history = pf.fit(flow, torch.randn(100, 3), loss=partial(bottleneck, k=2), num_steps=5, progress=False)
    """
    z, log_prob = model.encode_and_log_prob(batch.x, batch.context)  # type: ignore[operator]
    k = require_count("k", k, 1, z.shape[-1])
    weight = require_number("weight", weight, least=0)
    kept = torch.cat([z[..., :k], torch.zeros_like(z[..., k:])], -1)
    rebuilt = model.decode(kept, batch.context)  # type: ignore[operator]
    return weight * (batch.x - rebuilt).square().sum(-1) - log_prob


@_needs("terms")
def elbo(
    model: nn.Module,
    batch: Batch,
    generator: torch.Generator | None = None,
    *,
    binarize: str = "dynamic",
    num_samples: int = 1,
    kl_weight: float = 1.0,
) -> Tensor:
    """Negative evidence lower bound of a VAE at images binarized in the batch, (size,), nats.

    -mean over samples z of q(z|x) of log p(x|z) + kl_weight (log p(z) - log q(z|x)), the same for every prior.

    Args:
        model: A `pf.vae.VAE`, or anything with `terms(x, num_samples, generator=...)`.
        batch: Images, (size, D): uint8 from 0 to 255 or floats from 0 to 1, without context.
        generator: Source of binarization and samples.
        binarize: "dynamic" (a fresh draw for every batch), "threshold", or "none" for images that are binary already;
            see `pf.vae.binarize`. The choice decides what data the bound is about.
        num_samples: Samples z for each image.
        kl_weight: Below 1 while warming up, so that no latent is given up too early; then it is no bound.

    Raises:
        ValueError: If the values are not images, there is context, or the weight is negative.

    Example:
        >>> import pushforward as pf
        >>> vae = pf.vae.mlp_vae(16, latent_features=2, hidden_features=(8,))
        >>> history = pf.fit(vae, torch.rand(100, 16), loss=elbo, num_steps=5, progress=False)
    """
    kl_weight = require_number("kl_weight", kl_weight, least=0)
    if batch.context is not None:
        raise ValueError("elbo takes no context, and would leave it unused: give fit the images alone.")
    assert batch.x is not None
    x = binarized(batch.x, binarize, generator=generator)
    terms = model.terms(x, num_samples, generator=generator)  # type: ignore[operator]
    return -(terms.likelihood + kl_weight * (terms.prior - terms.posterior)).mean(-1)


@_needs("bound")
def dequantized_nll(
    model: nn.Module, batch: Batch, generator: torch.Generator | None = None, *, num_samples: int = 1
) -> Tensor:
    """Upper bound of the negative log-likelihood of integers under learned noise, (size,), nats.

    Args:
        model: A `pf.VariationalDequantization`, or anything with `bound(x, context, num_samples=, generator=)`.
        batch: Integers, (size, D), with their context.
        generator: Source of the noise.
        num_samples: Samples of the noise for each row: more make the bound tighter.
    """
    return -model.bound(batch.x, batch.context, num_samples=num_samples, generator=generator)  # type: ignore[operator]


@_needs("sample_and_log_prob")
def reverse_kl(
    model: nn.Module,
    batch: Batch,
    generator: torch.Generator | None = None,
    *,
    log_density: Callable[[Tensor], Tensor] | Distribution,
    temperature: float = 1.0,
) -> Tensor:
    """Fit a flow to an unnormalized density: log q(x) - temperature log p(x) at samples of the flow, (size,).

    Its mean is KL(q || p) - log Z, Z the integral of the density (arXiv:1505.05770, eq. 15). Needs no data:
    `pf.fit(flow, None, loss=partial(reverse_kl, log_density=...), num_steps=...)`.

    Args:
        model: A flow. What its base chooses without a gradient (the component of a mixture) gets one from the loss of
            the rows against that of the others (score function, arXiv:1506.05254, 3.1).
        batch: Only its size counts, and its context where the flow takes one: one sample for each row.
        generator: Source of the samples.
        log_density: x (size, D) -> log p(x) up to a constant, (size,), nats; or a distribution whose `log_prob` is it.
        temperature: Weight of log p, raised from near 0 to 1 to find separate modes (annealing).
    """
    draw = model.sample_with_choice if isinstance(model, Flow) else model.sample_and_log_prob
    if batch.context is None:
        x, log_q, *choice = draw(batch.size, generator=generator)  # type: ignore[operator]
    else:
        drawn = draw(1, batch.context, generator=generator)  # type: ignore[operator]
        x, log_q, *choice = (drawn[0].squeeze(-2), *(None if part is None else part.squeeze(-1) for part in drawn[1:]))
    log_p = log_density.log_prob(x) if isinstance(log_density, Distribution) else log_density(x)
    loss = log_q - temperature * log_p
    return loss + _through_choice(loss.detach(), *choice) if choice and choice[0] is not None else loss


def _through_choice(loss: Tensor, choice: Tensor) -> Tensor:
    """Return zeros whose gradient is that of the mean loss through the probability of each row's choice, (n,).

    What the other rows lose on average is subtracted: the mean gradient stays, its noise shrinks.
    """
    others = (loss.sum() - loss) / max(len(loss) - 1, 1)
    return (choice - choice.detach()) * (loss - others).nan_to_num(0.0, 0.0, 0.0)


def flow_matching(
    model: nn.Module, batch: Batch, generator: torch.Generator | None = None, *, pairing: str = "independent"
) -> Tensor:
    """Train a continuous flow without simulation: squared error of the velocity along straight paths, (size,).

    Paths x_t = (1 - t) z + t x lead from a sample z of the base to a row x, t uniform; their velocity is x - z
    (arXiv:2210.02747, eq. 23, with no noise). The flow then gives exact log_prob and samples with any solver. The loss
    is no likelihood: its minimum is above zero, and its unit is that of the preprocessed x, squared.

    Args:
        model: A `Flow` with preprocessing and exactly one `Continuous` as its transform.
        batch: Rows of data with their context.
        generator: Source of z and t.
        pairing: "independent", or "optimal": z is paired with x within the batch so that the squared distances are
            least (arXiv:2302.00482), which straightens paths; not with context or weights: it would change the law.

    Raises:
        ValueError: If the model is another one, or the pairing is not valid.
    """
    continuous = _the_continuous(model, "flow_matching")
    require_choice("pairing", pairing, ("independent", "optimal"))
    assert isinstance(model, Flow)
    x, _, context = model.preprocess(batch.x, batch.context)
    if x.ndim != 2:
        raise ValueError(f"flow_matching needs rows x of shape (n, D); got {tuple(x.shape)}: flatten them.")
    own = context if model.base.context_features else None
    with torch.no_grad():
        if own is None:
            z = model.base.sample((len(x),), generator=generator).to(x.dtype)
        else:
            z = model.base.sample((len(x), 1), context=own[:, None], generator=generator).to(x.dtype).squeeze(1)
        if pairing == "optimal":
            if context is not None or batch.weight is not None:
                raise ValueError(
                    "pairing='optimal' would change the law given the context or with weights; use 'independent'."
                )
            z = z[_cheapest_pairs(x, z)]
        t = torch.rand(len(x), generator=generator, dtype=x.dtype, device=x.device)
    given = bounded(context) if context is not None and continuous.context_features else None
    moved = continuous.velocity(t, torch.lerp(z, x, t[:, None]), given)
    return (moved - (x - z)).square().sum(-1)


def regularized_nll(
    model: nn.Module,
    batch: Batch,
    generator: torch.Generator | None = None,
    *,
    kinetic: float = 0.01,
    stretch: float = 0.01,
) -> Tensor:
    """Negative log-likelihood of a continuous flow plus what makes it slow, (size,): RNODE (arXiv:2002.02798, eq. 11).

    Args:
        model: A `Flow` with preprocessing and exactly one `Continuous` as its transform.
        batch: Rows of data with their context.
        generator: Unused; every loss takes one.
        kinetic: Weight of int |v|^2 dt: straight paths at constant speed.
        stretch: Weight of int |dv/dx e|^2 dt, e a random probe: velocities that change little from place to place.

    Raises:
        ValueError: If the model is another one.
    """
    continuous = _the_continuous(model, "regularized_nll")
    assert isinstance(model, Flow)
    x, before, context = model.preprocess(batch.x, batch.context)
    z, log_det, energy, change = continuous.energies(x, context if continuous.context_features else None)
    log_prob = model.base.log_prob(z, context if model.base.context_features else None) + log_det + before
    return kinetic * energy + stretch * change - log_prob


def _the_continuous(model: nn.Module, loss: str) -> Continuous:
    """Return the model's one continuous transform, or say what the loss needs."""
    transform = getattr(model, "transform", None)
    while isinstance(transform, Compose) and len(transform) == 1:
        transform = transform[0]
    if not isinstance(model, Flow) or not isinstance(transform, Continuous):
        held = ", ".join(type(part).__name__ for part in transform) if isinstance(transform, Compose) else None
        raise ValueError(
            f"{loss} needs a Flow of preprocessing and exactly one Continuous, such as pf.recipes.cnf(D); got "
            f"{type(model).__name__} with {held or type(transform).__name__}. Put fixed maps into preprocessing."
        )
    return transform


def _cheapest_pairs(x: Tensor, z: Tensor) -> Tensor:
    """Return for each row of x the row of z that it is paired with, (n,)."""
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(torch.cdist(x, z).square().cpu().numpy())
    return torch.as_tensor(columns, device=x.device)
