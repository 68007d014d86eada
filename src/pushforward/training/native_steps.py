"""Training steps in C, many at a call, where flow, loss and optimizer are those that the kernel knows."""

from functools import partial

import torch
from torch import Tensor, nn

from pushforward import losses
from pushforward.bases import StandardNormal
from pushforward.flows import Flow
from pushforward.kernels.switch import kernels_are_on
from pushforward.kernels.training_steps import Adam, SeenRows, TrainingSteps
from pushforward.training.data.batches import Batches, RowBatches
from pushforward.training.data.rows import Rows
from pushforward.training.data.stream import StreamBatches
from pushforward.training.flat_weights import Weights
from pushforward.training.options import Options
from pushforward.training.random_states import fixed_noise
from pushforward.transforms import Compose
from pushforward.transforms.fused import chain_of, has_hooks

SEEN_ROWS = 8_192  # whose numbers stay in the processor's cache


def native_steps(
    weights: Weights, optimizer: torch.optim.Optimizer, options: Options, batches: Batches
) -> TrainingSteps | None:
    """Return steps in C for maximum likelihood of a flow of couplings by Adam, or None where torch has to take them.

    The preprocessing learns nothing in a run, so the kernel is given the rows as the transform sees them.

    Args:
        weights: The model's parameters, laid flat.
        optimizer: Adam or AdamW over them, with its state.
        options: Of the run.
        batches: Where rows come from.
    """
    model, flat = weights.model, weights.flat.detach()
    if not (
        flat.device.type == "cpu"
        and kernels_are_on()
        and options.loss is losses.nll
        and not callable(options.optimizer)
        and not options.compile
        and options.precision != "bf16"
        and isinstance(batches, RowBatches)
        and batches.rows.x is not None
        and not batches.rows.form.dequantize
        and _is_covered(model)
    ):
        return None
    assert isinstance(model, Flow)
    chain = chain_of(model.transform) if isinstance(model.transform, Compose) else None
    if chain is None or chain.features != model.features:
        return None
    tensors = [tensor for link in chain.links for tensor in link.tensors()]
    # Something else learns, too, or some of it does not, or two links share what they learn.
    if not chain.has_gradient(inverse=False) or sum(tensor.numel() for tensor in tensors) != flat.numel():
        return None

    seen = partial(_seen, model, flat.dtype)
    group, state = optimizer.param_groups[0], optimizer.state[weights.flat]
    adam = Adam(
        betas=group["betas"],
        epsilon=group["eps"],
        weight_decay=group["weight_decay"],
        decoupled=isinstance(optimizer, torch.optim.AdamW),
        clip_norm=options.clip_norm,
        seed=options.seed,
    )
    try:
        steps = TrainingSteps(
            chain, flat, (state["exp_avg"], state["exp_avg_sq"]), seen(batches.rows), adam, batches.batch_size
        )
    except ValueError:
        return None
    if isinstance(batches, StreamBatches):
        batches.hand_on(seen, steps.use)
    return steps


@torch.no_grad()
def _seen(model: Flow, dtype: torch.dtype, rows: Rows) -> SeenRows:
    """Return rows as the transform sees them, after the preprocessing, which passes over some at a time."""
    assert rows.x is not None
    each: list[list[Tensor]] = [[], [], []]
    for some in rows.pieces(SEEN_ROWS, fixed_noise(rows.x.device)):
        for found, value in zip(each, model.preprocess(some.x, some.context), strict=True):
            found += [] if value is None else [value.to(dtype)]
    x, log_det, context = (torch.cat(found) if found else None for found in each)
    assert x is not None
    return SeenRows(x, context, rows.weight, log_det if len(model.preprocessing) else None)


def _is_covered(model: nn.Module) -> bool:
    """Return whether a model is a plain flow onto a standard normal, whose preprocessing is fixed."""
    if type(model) is not Flow or type(model.base) is not StandardNormal or has_hooks(model):
        return False
    fixed = [*model.preprocessing.parameters(), *model.context_preprocessing.parameters()]
    return not fixed and not any(has_hooks(module) for module in model.modules())
