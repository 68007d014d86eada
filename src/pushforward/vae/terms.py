"""The three terms of the bound, sample by sample."""

from typing import NamedTuple

from torch import Tensor


class Terms(NamedTuple):
    """The parts of the bound at samples z of q(z|x), each (n, num_samples), nats.

    Attributes:
        likelihood: log p(x|z), of the decoder's Bernoullis.
        prior: log p(z).
        posterior: log q(z|x), the posterior flow's share included.
    """

    likelihood: Tensor
    prior: Tensor
    posterior: Tensor

    @property
    def log_weight(self) -> Tensor:
        """Return log p(x|z) + log p(z) - log q(z|x), (n, num_samples): its mean over samples is the ELBO."""
        return self.likelihood + self.prior - self.posterior
