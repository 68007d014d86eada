"""Continuous flows of other libraries, and normflows' planar flow, for `run.py` and `race.py`."""

import numpy as np
import torch
from torch import Tensor, nn

from peers import Case, TorchModel, log_target

TOLERANCE = 1e-5  # of every adaptive solver


def zuko(case: Case, batches: np.ndarray) -> TorchModel:
    """`zuko.flows.CNF`: an MLP velocity, Dormand-Prince steps shared by the batch, exact trace, adjoint gradients."""
    from zuko.flows import CNF

    flow = CNF(case.features, hidden_features=(case.hidden, case.hidden), atol=TOLERANCE, rtol=TOLERANCE, exact=True)
    return TorchModel(flow, batches, log_prob=lambda x: flow().log_prob(x), sample=lambda n: flow().sample((n,)))


class Hypernetwork(nn.Module):
    """The velocity of torchdiffeq's `examples/cnf.py`: a mean of planar velocities whose weights depend on time."""

    def __init__(self, features: int, hidden: int = 32, width: int = 64) -> None:
        super().__init__()
        self.features, self.width = features, width
        block = width * features
        self.net = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 3 * block + width)
        )

    def forward(self, t: Tensor, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:  # noqa: D102
        z = states[0]
        with torch.set_grad_enabled(True):
            z.requires_grad_(True)
            block = self.width * self.features
            weights = self.net(t.reshape(1, 1)).reshape(-1)
            w = weights[:block].reshape(self.width, self.features, 1)
            u = weights[block : 2 * block].reshape(self.width, 1, self.features)
            u = u * torch.sigmoid(weights[2 * block : 3 * block]).reshape(self.width, 1, self.features)
            b = weights[3 * block :].reshape(self.width, 1, 1)
            h = torch.tanh(z.unsqueeze(0) @ w + b)
            dz = (h @ u).mean(0)
            trace = sum(torch.autograd.grad(dz[:, i].sum(), z, create_graph=True)[0][:, i] for i in range(z.shape[1]))
        return dz, -trace.reshape(-1, 1)


def torchdiffeq(case: Case, batches: np.ndarray) -> TorchModel:
    """The recipe of torchdiffeq's example: N(0, I) at t = 0, data at t = 1, adjoint gradients; its net's sizes stay."""
    from torchdiffeq import odeint_adjoint

    net = Hypernetwork(case.features)

    def solved(x: Tensor, start: float, end: float) -> tuple[Tensor, Tensor]:
        state, times = (x, x.new_zeros(len(x), 1)), x.new_tensor([start, end])
        x_path, change = odeint_adjoint(net, state, times, atol=TOLERANCE, rtol=TOLERANCE, method="dopri5")
        return x_path[-1], change[-1].squeeze(-1)

    def log_prob(x: Tensor) -> Tensor:
        z, change = solved(x, 1.0, 0.0)
        return -0.5 * (z.square().sum(-1) + case.features * np.log(2 * np.pi)) - change

    return TorchModel(
        net, batches, log_prob=log_prob, sample=lambda n: solved(torch.randn(n, case.features), 0.0, 1.0)[0].detach()
    )


def normflows(case: Case, batches: np.ndarray) -> TorchModel:
    """`normflows.flows.Planar` with tanh, which cannot score given rows: it has no inverse."""
    import normflows as nf

    flows = [nf.flows.Planar((case.features,)) for _ in range(case.num_layers)]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(case.features, trainable=False), flows)

    def loss(batch: Tensor) -> Tensor:
        x, log_q = flow.sample(len(batch))
        return (log_q - log_target(x)).mean()

    return TorchModel(flow, batches, log_prob=None, sample=lambda n: flow.sample(n)[0], loss=loss)
