"""The same coupling flow in zuko, nflows, normflows, FrEIA and FlowJAX, each in that library's own idiom."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

LEARNING_RATE = 1e-3
BOUND = 5.0  # every spline's box is [-5, 5]


class Case(NamedTuple):
    """One model and batch size, the same for every library.

    Attributes:
        features: Number of features D, even.
        batch_size: Rows in a training batch.
        num_layers: Number of couplings; each changes one half of the features, the halves take turns.
        hidden: Width of the conditioner's two hidden ReLU layers.
        bins: Bins of the rational-quadratic spline, 0 for an affine coupling.
        kind: "coupling"; "autoregressive", splines with masked networks of two hidden layers; "continuous", one
            velocity of two hidden layers; "planar", `num_layers` tanh ridges, whose training is variational, towards
            `log_target`.
    """

    features: int
    batch_size: int
    num_layers: int
    hidden: int
    bins: int
    kind: str = "coupling"

    @property
    def widths(self) -> list[int]:
        """Widths of a coupling's network, from its input to its output."""
        half = self.features // 2
        return [half, self.hidden, self.hidden, half * (3 * self.bins - 1 if self.bins else 2)]

    def batches(self, data: np.ndarray) -> np.ndarray:
        """Cut the shuffled training rows into whole batches, (num_batches, batch_size, D)."""
        whole = len(data) // self.batch_size * self.batch_size
        return data[:whole].reshape(-1, self.batch_size, self.features)


def log_target(x: Tensor) -> Tensor:
    """Unnormalized log-density of a banana in the first two features, (rows,): what variational training aims at."""
    return -0.5 * (x[:, 0].square() + (2 * x[:, 1] - x[:, 0].square()).square())


class TorchModel:
    """A torch flow with a bare training loop: fused Adam, mean negative log-likelihood, one batch after another.

    Args:
        module: The flow, whose parameters are trained.
        batches: (num_batches, batch_size, D).
        log_prob: (rows, D) -> (rows,), nats; None where the library cannot score rows.
        sample: number of rows -> (rows, D).
        loss: A batch -> what is minimized, where that is not the mean of -log_prob.
    """

    def __init__(
        self,
        module: nn.Module,
        batches: np.ndarray,
        *,
        log_prob: Callable[[Tensor], Tensor] | None,
        sample: Callable[[int], Tensor],
        loss: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.module = module
        self.num_parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
        self._log_prob, self._sample = log_prob, sample
        self._loss = loss or (lambda x: -log_prob(x).mean())
        self.measures = [*(["log_prob_seconds"] if log_prob else []), "sample_seconds"]
        self._batches: Iterator[Tensor] = cycle(torch.from_numpy(batches).unbind())
        self._optimizer = torch.optim.Adam(module.parameters(), LEARNING_RATE, fused=True)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Train on with another one than the benchmark's."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate

    def train(self, num_steps: int) -> int:
        """Run the steps; return how many were run."""
        for _ in range(num_steps):
            loss = self._loss(next(self._batches))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return num_steps

    @torch.no_grad()
    def log_prob(self, x: np.ndarray) -> np.ndarray:  # noqa: D102
        return self._log_prob(torch.from_numpy(x)).numpy()

    @torch.no_grad()
    def sample(self, num_samples: int) -> np.ndarray:  # noqa: D102
        return self._sample(num_samples).numpy()


class MLP(nn.Sequential):
    """Two hidden ReLU layers, called as nflows and normflows call a conditioner."""

    def __init__(self, in_features: int, out_features: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, out_features),
        )
        self.hidden_features = hidden  # both libraries divide the bins' logits by its square root

    def forward(self, x: Tensor, context: None = None) -> Tensor:  # noqa: D102
        return super().forward(x)


def zuko(case: Case, batches: np.ndarray) -> TorchModel:
    """`zuko.flows.NICE`, whose couplings take any univariate map; alternating masks."""
    from zuko.flows import NICE
    from zuko.transforms import MonotonicRQSTransform

    spline = {"univariate": MonotonicRQSTransform, "shapes": [(case.bins,), (case.bins,), (case.bins - 1,)]}
    flow = NICE(
        case.features,
        transforms=case.num_layers,
        hidden_features=(case.hidden, case.hidden),
        **(spline if case.bins else {}),
    )
    return TorchModel(flow, batches, log_prob=lambda x: flow().log_prob(x), sample=lambda n: flow().sample((n,)))


def zuko_autoregressive(case: Case, batches: np.ndarray) -> TorchModel:
    """`zuko.flows.NSF` as it is by default; the order is turned around from step to step."""
    from zuko.flows import NSF

    flow = NSF(case.features, bins=case.bins, transforms=case.num_layers, hidden_features=(case.hidden, case.hidden))
    return TorchModel(flow, batches, log_prob=lambda x: flow().log_prob(x), sample=lambda n: flow().sample((n,)))


def nflows_autoregressive(case: Case, batches: np.ndarray) -> TorchModel:
    """Masked autoregressive splines of nflows, with its feed-forward blocks, and reversals between them."""
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import CompositeTransform, ReversePermutation
    from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform

    steps: list[nn.Module] = []
    for _ in range(case.num_layers):
        step = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            case.features, case.hidden, num_blocks=1, num_bins=case.bins, use_residual_blocks=False, tails="linear",
            tail_bound=BOUND,
        )  # fmt: skip
        steps += [step, ReversePermutation(case.features)]
    flow = Flow(CompositeTransform(steps), StandardNormal([case.features]))
    return TorchModel(flow, batches, log_prob=flow.log_prob, sample=flow.sample)


def nflows(case: Case, batches: np.ndarray) -> TorchModel:
    """The layers of nflows' `SimpleRealNVP` (alternating masks), with an MLP in place of its residual net."""
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import CompositeTransform
    from nflows.transforms.coupling import AffineCouplingTransform, PiecewiseRationalQuadraticCouplingTransform

    def coupling(layer: int) -> nn.Module:
        mask = (torch.arange(case.features) + layer) % 2
        if case.bins == 0:
            return AffineCouplingTransform(mask, net)
        return PiecewiseRationalQuadraticCouplingTransform(
            mask, net, num_bins=case.bins, tails="linear", tail_bound=BOUND
        )

    def net(in_features: int, out_features: int) -> nn.Module:
        return MLP(in_features, out_features, case.hidden)

    transform = CompositeTransform([coupling(layer) for layer in range(case.num_layers)])
    flow = Flow(transform, StandardNormal([case.features]))
    return TorchModel(flow, batches, log_prob=flow.log_prob, sample=flow.sample)


def normflows(case: Case, batches: np.ndarray) -> TorchModel:
    """Affine: the coupling blocks and swaps of normflows' README. Spline: its coupling with alternating masks.

    normflows' own wrapper of the spline has a residual net and a second, unconditional spline on the features that pass
    through; the same model as the others' needs the coupling inside the wrapper.
    """
    import normflows as nf
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    class Spline(nf.flows.Flow):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.coupling = PiecewiseRationalQuadraticCoupling(
                mask, lambda i, o: MLP(i, o, case.hidden), num_bins=case.bins, tails="linear", tail_bound=BOUND
            )

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            return self.coupling.inverse(z)

        def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.coupling(x)

    half = case.features // 2
    flows: list[nn.Module] = []
    for layer in range(case.num_layers):
        if case.bins:
            flows.append(Spline((torch.arange(case.features) + layer) % 2))
        else:
            net = nf.nets.MLP([half, case.hidden, case.hidden, case.features])
            flows += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(case.features, mode="swap")]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(case.features, trainable=False), flows)
    return TorchModel(flow, batches, log_prob=flow.log_prob, sample=lambda n: flow.sample(n)[0])


def freia(case: Case, batches: np.ndarray) -> TorchModel | None:
    """`GLOWCouplingBlock`s: each changes both halves in turn, so one block is two couplings. 0.2 has no splines."""
    from FrEIA.framework import SequenceINN
    from FrEIA.modules import GLOWCouplingBlock

    if case.bins:
        return None
    flow = SequenceINN(case.features)
    for _ in range(case.num_layers // 2):
        flow.append(GLOWCouplingBlock, subnet_constructor=lambda i, o: MLP(i, o, case.hidden))

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = flow(x)
        return log_det - 0.5 * (z.square().sum(-1) + case.features * np.log(2 * np.pi))

    def sample(num_samples: int) -> Tensor:
        return flow(torch.randn(num_samples, case.features), rev=True, jac=False)[0]

    return TorchModel(flow, batches, log_prob=log_prob, sample=sample)


class FlowJaxModel:
    """FlowJAX's `coupling_flow` with optax's Adam, jitted step by step or over `steps_at_once` scanned steps."""

    measures = ("log_prob_seconds", "sample_seconds")

    def __init__(self, case: Case, batches: np.ndarray, *, steps_at_once: int) -> None:
        import equinox as eqx
        import jax
        import optax
        from flowjax.distributions import StandardNormal
        from flowjax.flows import coupling_flow
        from flowjax.train.losses import MaximumLikelihoodLoss
        from paramax import NonTrainable

        self._jax, self._key, self._position = jax, jax.random.key(0), 0
        self._batches, self._steps_at_once = jax.numpy.asarray(batches), steps_at_once
        flow = coupling_flow(
            jax.random.key(0),
            base_dist=StandardNormal((case.features,)),
            transformer=_flowjax_spline(case.bins) if case.bins else None,
            flow_layers=case.num_layers,
            nn_width=case.hidden,
            nn_depth=2,
        )
        params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))
        self.num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
        optimizer, loss_fn = optax.adam(LEARNING_RATE), MaximumLikelihoodLoss()
        self._state = (params, optimizer.init(params))

        def step(state: tuple, batch: jax.Array) -> tuple[tuple, jax.Array]:
            params, optimizer_state = state
            loss, gradient = eqx.filter_value_and_grad(loss_fn)(params, static, batch)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state)
            return (eqx.apply_updates(params, updates), optimizer_state), loss

        def steps(state: tuple, batches: jax.Array, position: int) -> tuple:
            if steps_at_once == 1:
                return step(state, batches[position % len(batches)])[0]
            numbers = (position + jax.numpy.arange(steps_at_once)) % len(batches)
            return jax.lax.scan(lambda state, number: step(state, batches[number]), state, numbers)[0]

        self._steps = jax.jit(steps, donate_argnums=0)
        self._log_prob_jit = jax.jit(lambda params, x: eqx.combine(params, static).log_prob(x))
        self._sample_jit = jax.jit(
            lambda params, key, num_samples: eqx.combine(params, static).sample(key, (num_samples,)), static_argnums=2
        )

    def train(self, num_steps: int) -> int:
        """Run at least these steps; return how many were run."""
        calls = -(-num_steps // self._steps_at_once)
        for _ in range(calls):
            self._state = self._steps(self._state, self._batches, self._position)
            self._position += self._steps_at_once
        self._jax.block_until_ready(self._state)
        return calls * self._steps_at_once

    def log_prob(self, x: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(self._log_prob_jit(self._state[0], x))

    def sample(self, num_samples: int) -> np.ndarray:  # noqa: D102
        self._key, key = self._jax.random.split(self._key)
        return np.asarray(self._sample_jit(self._state[0], key, num_samples))


def _flowjax_spline(bins: int) -> Any:
    """FlowJAX's spline, its two outer slopes fixed at 1 as in the other libraries (it learns them by default)."""
    import equinox as eqx
    import jax
    from flowjax.bijections import RationalQuadraticSpline
    from paramax import Parameterize
    from paramax.utils import inv_softplus

    least = 1e-3

    def slopes(raw: jax.Array) -> jax.Array:
        return jax.numpy.pad(jax.nn.softplus(raw) + least, [*[(0, 0)] * (raw.ndim - 1), (1, 1)], constant_values=1.0)

    inner = Parameterize(slopes, jax.numpy.full(bins - 1, inv_softplus(1 - least)))
    spline = RationalQuadraticSpline(knots=bins - 1, interval=BOUND, min_derivative=least)
    return eqx.tree_at(lambda s: s.derivatives, spline, inner)
