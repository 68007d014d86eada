"""Training steps in C, many at a call, where flow, loss and optimizer are those that the kernel knows."""

import torch
from torch import nn

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
from pushforward.transforms import Compose
from pushforward.transforms.fused import chain_of, has_hooks


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
    plain = len(model.preprocessing) == 0

    @torch.no_grad()
    def seen(rows: Rows) -> SeenRows:
        x, log_det, context = model.preprocess(rows.x, rows.context)
        constant = None if plain else log_det.to(flat.dtype)
        return SeenRows(
            x.to(flat.dtype), None if context is None else context.to(flat.dtype), rows.weight, constant
        )

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


def _is_covered(model: nn.Module) -> bool:
    """Return whether a model is a plain flow onto a standard normal, whose preprocessing is fixed."""
    if type(model) is not Flow or type(model.base) is not StandardNormal or has_hooks(model):
        return False
    fixed = [*model.preprocessing.parameters(), *model.context_preprocessing.parameters()]
    return not fixed and not any(has_hooks(module) for module in model.modules())
