"""Chains of couplings and mixing in C against plain torch: values, gradients, and what has to stay in plain torch."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

import pushforward as pf
import zoo
from pushforward.kernels.native.library import compiled
from pushforward.kernels.switch import kernels
from pushforward.transforms.fused import chain_of, fused

RECIPES = {
    **{
        f"splines, {activation}": lambda activation=activation: pf.recipes.nsf(
            5, num_layers=3, hidden_features=(17, 33), activation=activation
        )
        for activation in ("relu", "silu", "tanh", "gelu")
    },
    **{
        f"affine, {scale}": lambda scale=scale: pf.recipes.realnvp(
            6, num_layers=3, hidden_features=(16, 5), log_scale=scale
        )
        for scale in ("soft", "tanh", "plain")
    },
    "additive, one network for both": lambda: additive(),
    "LU": lambda: pf.recipes.nsf(4, num_layers=3, hidden_features=(16,), mixing="lu"),
    "permutations, three hidden layers": lambda: pf.recipes.nsf(
        7, num_layers=3, hidden_features=(16, 8, 9), mixing="permute"
    ),
    "context": lambda: pf.recipes.nsf(3, num_layers=2, context_features=2, bins=3),
    "64 features": lambda: pf.recipes.realnvp(64, num_layers=2, hidden_features=(70, 40)),
    "autoregressive splines": lambda: pf.recipes.nsf(
        5, num_layers=2, hidden_features=(17, 33), mixing="lu", autoregressive=True
    ),
    "autoregressive, context": lambda: pf.recipes.maf(4, num_layers=3, hidden_features=(9, 16), context_features=2),
    "autoregressive, fewer units than features": lambda: pf.recipes.maf(
        20, num_layers=2, hidden_features=(7, 12, 5), activation="silu"
    ),
    "context for some": lambda: some_context(),
    "orthogonal": lambda: pf.recipes.nsf(6, num_layers=3, hidden_features=(16,), mixing="orthogonal"),
    "a part without a kernel": lambda: with_plain_parts(),
}


def additive():
    masks = [torch.tensor([True, False, True, False]), torch.tensor([False, True, False, True])]
    net = pf.nets.MLP(2, 2, hidden_features=(9,))
    couplings = [pf.transforms.Coupling(mask, pf.transforms.Additive(), net) for mask in masks]
    return pf.Flow(pf.transforms.Compose(couplings), pf.bases.StandardNormal(4))


def some_context():
    parts = [*pf.recipes.nsf(3, num_layers=2).transform, *pf.recipes.nsf(3, num_layers=2, context_features=2).transform]
    return pf.Flow(pf.transforms.Compose(parts), pf.bases.StandardNormal(3))


def with_plain_parts():
    sizes = {"num_layers": 2, "hidden_features": (9,)}
    couplings, masked = pf.recipes.nsf(4, **sizes).transform, pf.recipes.maf(4, **sizes).transform
    scales = [pf.transforms.Scale((2.0, 0.5, 1.0, 3.0)) for _ in range(2)]
    parts = [scales[0], *couplings, scales[1], *masked]
    return pf.Flow(pf.transforms.Compose(parts), pf.bases.StandardNormal(4))


def made(name, dtype):
    flow = RECIPES[name]()
    return zoo.perturb(flow, size=0.7).to(dtype)


def rows(flow, number, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(number, flow.features, generator=generator, dtype=torch.float64)
    context = torch.randn(number, flow.context_features, generator=generator, dtype=torch.float64)
    return x.to(dtype), context.to(dtype) if flow.context_features else None


def results(flow, x, context, on):
    """Return log_prob and its gradients by x and the parameters; the same of x taken for latents; kernels on or off."""
    x = x.clone().requires_grad_()
    with kernels(on):
        log_prob = flow.log_prob(x, context)
        gradients = torch.autograd.grad(log_prob.sum(), [x, *flow.parameters()])
        z = 0.5 * x
        decoded, log_det = flow.transform.inverse(z, context)
        total = (decoded.tanh() * torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype)).sum() + log_det.sum()
        back = torch.autograd.grad(total, [x, *flow.parameters()])
    parts = [torch.cat([g.flatten() for g in some[1:]]) for some in (gradients, back)]
    return [log_prob.detach(), gradients[0], parts[0], decoded.detach(), back[0], parts[1]]


def ran_in_kernel(flow, x, context=None):
    return fused(flow.transform, x, context, inverse=False) is not None


@pytest.fixture(autouse=True)
def _there_is_a_compiler():
    if compiled(torch.float32) is None:
        pytest.skip("there is no C compiler")


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("number", [1, 77, 130])
def test_float64_agrees_with_plain_torch_to_rounding(name, number):
    flow = made(name, torch.float64)
    x, context = rows(flow, number, torch.float64)
    assert ran_in_kernel(flow, x, context)
    for found, wanted in zip(results(flow, x, context, True), results(flow, x, context, False), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", RECIPES)
def test_the_error_of_float32_is_at_most_twice_plain_torchs(name):
    ratios = []
    for seed in range(5):
        torch.manual_seed(seed)
        exact = made(name, torch.float64)
        flow = copy.deepcopy(exact).float()
        exact.load_state_dict({key: value.double() for key, value in flow.state_dict().items()})
        x, context = rows(flow, 400, torch.float32)
        wanted = results(exact, x.double(), None if context is None else context.double(), False)
        kernel, plain = results(flow, x, context, True), results(flow, x, context, False)
        errors = [
            [(part - true).abs().median() for part, true in zip(some, wanted, strict=True)] for some in (kernel, plain)
        ]
        ratios.append([(ours + 1e-7) / (theirs + 1e-7) for ours, theirs in zip(*errors, strict=True)])
    assert (torch.tensor(ratios).nanmedian(0).values <= 2).all()


@pytest.mark.parametrize("name", zoo.TRANSFORMS)
def test_every_transform_among_couplings_is_the_same_with_kernels_and_without(name):
    transform, x, context = zoo.TRANSFORMS[name]()
    features = x.shape[-1]
    around = [zoo.perturb(pf.recipes.nsf(features, num_layers=2, bins=3).transform, seed).double() for seed in (0, 1)]
    whole = pf.transforms.Compose([around[0], transform, around[1]] if features > 1 else [transform])
    z = whole(x, context)[0].detach()
    found = []
    for on in (True, False):
        with kernels(on):
            start = x.clone().requires_grad_()
            y, log_det = whole(start, context)
            total = y.sin().sum() + log_det.sum()
            needed = [start, *(p for p in whole.parameters() if p.requires_grad)]
            slopes = torch.autograd.grad(total, needed, materialize_grads=True) if total.requires_grad else ()
            with torch.no_grad():
                found.append([y.detach(), log_det.detach(), *slopes, *whole.inverse(z, context)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_nan_infinities_and_huge_numbers_come_out_as_in_plain_torch():
    for name in ("splines, relu", "affine, soft", "LU", "autoregressive, fewer units than features"):
        flow = made(name, torch.float64)
        x, _ = rows(flow, 8, torch.float64)
        x[0, 0], x[1, 1], x[2, 2], x[3, 0] = float("nan"), float("inf"), -float("inf"), 1e30
        x[4, -1] = 1e30
        with torch.no_grad():
            found, (wanted, encoded) = flow.log_prob(x), plainly(flow, x)
            torch.testing.assert_close(found[3:], wanted[3:])
            assert found[:3].isfinite().tolist() == wanted[:3].isfinite().tolist()
            assert flow.encode(x)[0].isnan().tolist() == encoded[0].isnan().tolist()
            decoded = flow.decode(x)
            with kernels(False):
                torch.testing.assert_close(decoded[3:], flow.decode(x)[3:])


def plainly(flow, x):
    with kernels(False):
        return flow.log_prob(x), flow.encode(x)


def test_an_inverse_autoregressive_flow_is_scored_feature_after_feature():
    inner = pf.recipes.nsf(6, num_layers=1, hidden_features=(17, 33), autoregressive=True, bins=4).transform[0]
    transform = pf.transforms.Compose([pf.transforms.Inverse(inner), pf.transforms.LULinear(6)])
    flow = zoo.perturb(pf.Flow(transform, pf.bases.StandardNormal(6)), size=0.5).double()
    x, _ = rows(flow, 100, torch.float64)
    with torch.no_grad():
        found, sampled = flow.log_prob(x), flow.decode(x)
        assert chain_of(flow.transform) is not None
        with kernels(False):
            torch.testing.assert_close(found, flow.log_prob(x))
            torch.testing.assert_close(sampled, flow.decode(x))
    weight = inner.conditioner.last.weight
    (gradient,) = torch.autograd.grad(flow.log_prob(x).sum(), weight)  # by plain torch
    with kernels(False):
        torch.testing.assert_close(gradient, torch.autograd.grad(flow.log_prob(x).sum(), weight)[0])


def dropping(kind, activation="relu", share=0.3):
    sizes = {"num_layers": 2, "hidden_features": (24, 16), "activation": activation, "dropout": share}
    flow = pf.recipes.nsf(4, autoregressive=kind == "autoregressive", mixing="lu", bins=4, **sizes)
    return zoo.perturb(flow, size=0.5).double().train()


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_gradients_through_dropout_are_those_of_what_was_kept(kind, activation):
    flow = dropping(kind, activation)
    x, _ = rows(flow, 3, torch.float64)
    named = dict(flow.named_parameters())
    parameters = [value for name, value in named.items() if name.endswith(("first.weight", "hidden.0.bias"))]

    def loss(*_):
        torch.manual_seed(3)
        return flow.log_prob(x)

    assert ran_in_kernel(flow, x)
    assert torch.autograd.gradcheck(loss, parameters)
    assert torch.equal(loss(), loss())
    torch.manual_seed(4)
    assert not torch.equal(loss(), flow.log_prob(x))
    assert not torch.equal(flow.log_prob(x), flow.log_prob(x))
    with kernels(False), torch.no_grad():
        exact = flow.eval().log_prob(x)
    torch.testing.assert_close(flow.log_prob(x), exact)


def test_dropout_is_drawn_on_the_cpu_whatever_the_default_device():
    flow = dropping("autoregressive")
    x, _ = rows(flow, 3, torch.float64)
    torch.set_default_device("meta")
    try:
        assert flow.log_prob(x).isfinite().all()
    finally:
        torch.set_default_device(None)


def test_a_rotation_that_is_replaced_or_elsewhere_is_not_read_from_where_it_was():
    flow = made("orthogonal", torch.float32)
    x, _ = rows(flow, 3, torch.float32)
    assert ran_in_kernel(flow, x)
    rotation = next(part for part in flow.transform.modules() if isinstance(part, pf.transforms.Orthogonal))
    rotation.matrix = rotation.matrix.T.contiguous()  # another matrix in its place is seen
    with torch.no_grad():
        found = flow.log_prob(x)
        with kernels(False):
            torch.testing.assert_close(found, flow.log_prob(x))
    rotation.to("meta")
    assert chain_of(flow.transform)(x, None, inverse=False) is None


def test_dropout_keeps_its_share_and_the_mean():
    mask = torch.tensor([True, False])
    net = pf.nets.MLP(1, 1, hidden_features=(400,), dropout=0.3)
    with torch.no_grad():
        net.first.weight.zero_()
        net.first.bias.fill_(1.0)
        net.last.weight.fill_(1.0)
    coupling = pf.transforms.Compose([pf.transforms.Coupling(mask, pf.transforms.Additive(), net)]).train()
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(20_000, 2, dtype=dtype)
        with torch.no_grad():
            sums = coupling.to(dtype)(x)[0][:, 1]  # of 400 values, each 0 or 1 / 0.7
        spread = (400 * 0.3 / 0.7) ** 0.5
        assert abs(sums.mean() - 400) < 5 * spread / 20_000**0.5
        assert abs(sums.std() - spread) < 0.03 * spread
        centred = sums - sums.mean()
        for apart in (1, 2, 16, 64):
            assert abs((centred[apart:] * centred[:-apart]).mean()) < 5 * spread**2 / 20_000**0.5


def test_a_gradient_through_dropout_is_not_differentiated_again():
    flow = dropping("coupling")
    x = rows(flow, 3, torch.float64)[0].requires_grad_()
    with pytest.raises(NotImplementedError, match="eval"):
        torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)


def test_batch_axes_strides_and_a_shared_context():
    flow = made("context", torch.float64)
    x, context = rows(flow, 24, torch.float64)
    for given, under in [
        (x.reshape(4, 6, 3), context.reshape(4, 6, 2)),
        (x.reshape(4, 6, 3), context[:4, None]),
        (x, context[0]),
        (x.T.contiguous().T, context),
        (x[0], context[0]),
        (x[:0], context[:0]),
    ]:
        with torch.no_grad():
            found = flow.log_prob(given, under)
            with kernels(False):
                torch.testing.assert_close(found, flow.log_prob(given, under))


def test_a_second_backward_and_a_gradient_of_the_gradient():
    flow = made("LU", torch.float64)
    x, _ = rows(flow, 5, torch.float64)
    x.requires_grad_()
    total = flow.log_prob(x).sum()
    first = torch.autograd.grad(total, x, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(total, x)[0], first)
    assert torch.autograd.gradgradcheck(lambda x: flow.log_prob(x), (x,))
    slope = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)[0]
    slope.square().sum().backward()
    found = [p.grad.clone() for p in flow.parameters() if p.grad is not None]
    flow.zero_grad()
    with kernels(False):
        torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)[0].square().sum().backward()
    for one, other in zip(found, [p.grad for p in flow.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(one, other)


def test_passes_that_overlap_do_not_share_memory():
    flow = made("splines, relu", torch.float64)
    parts = [rows(flow, 70, torch.float64, seed)[0] for seed in range(3)]
    wanted = []
    with kernels(False):
        for x in parts:
            wanted.append(torch.autograd.grad(flow.log_prob(x).sum(), list(flow.parameters())))
    for _ in range(2):  # the second time there is memory to be used again
        sums = [flow.log_prob(x).sum() for x in parts]
        for at in (1, 0, 2):
            for one, other in zip(torch.autograd.grad(sums[at], list(flow.parameters())), wanted[at], strict=True):
                torch.testing.assert_close(one, other)


def test_parameters_changed_between_forward_and_backward_are_refused():
    flow = made("splines, relu", torch.float32)
    log_prob = flow.log_prob(rows(flow, 5, torch.float32)[0])
    with torch.no_grad():
        next(flow.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        log_prob.sum().backward()


def test_frozen_parameters_get_no_gradient_and_new_values_are_seen():
    flow = made("splines, relu", torch.float64)
    x, _ = rows(flow, 5, torch.float64)
    flow.transform[0].requires_grad_(False)
    flow.log_prob(x).sum().backward()
    assert all(p.grad is None for p in flow.transform[0].parameters())
    assert all(p.grad is not None for p in flow.transform[1].parameters())
    before = flow.log_prob(x)
    state = flow.state_dict()
    flow.load_state_dict({key: 0.5 * value if value.is_floating_point() else value for key, value in state.items()})
    with torch.no_grad():
        after = flow.log_prob(x)
        with kernels(False):
            torch.testing.assert_close(after, flow.log_prob(x))
    assert not torch.equal(before, after)


class Doubled(pf.transforms.Coupling):
    def forward(self, x, context=None):
        y, log_det = super().forward(x, context)
        return 2 * y, log_det + x.shape[-1] * torch.log(torch.tensor(2.0))


def subclassed(flow):
    first = flow.transform[0]
    return pf.Flow(
        pf.transforms.Compose([Doubled(first.mask, first.univariate, first.conditioner), *list(flow.transform)[1:]]),
        flow.base,
    )


def with_hook(flow):
    flow.transform[0].conditioner.hidden[0].register_forward_hook(lambda module, given, out: 3 * out)
    return flow


def with_other_layer(flow):
    class Tripled(nn.Linear):
        def forward(self, x):
            return 3 * super().forward(x)

    old = flow.transform[0].conditioner.hidden[0]
    flow.transform[0].conditioner.hidden[0] = Tripled(old.in_features, old.out_features)
    return flow


def with_norm(flow):
    nn.utils.parametrizations.weight_norm(flow.transform[0].conditioner.hidden[0])
    return flow


@pytest.mark.parametrize("change", [subclassed, with_hook, with_other_layer, with_norm])
def test_what_is_no_plain_coupling_does_not_run_in_the_chain(change):
    flow = made("splines, relu", torch.float32)
    x, _ = rows(flow, 7, torch.float32)
    flow.log_prob(x)  # found as a chain, before it is changed
    changed = change(flow)
    assert chain_of(changed.transform) is None
    found = changed.log_prob(x)
    with kernels(False):
        torch.testing.assert_close(found, changed.log_prob(x), rtol=1e-5, atol=1e-5)  # the spline's own kernel may run


def test_a_hook_that_is_gone_lets_the_kernel_run_again():
    flow = made("splines, relu", torch.float32)
    x, _ = rows(flow, 7, torch.float32)
    handle = flow.transform[0].register_forward_hook(lambda *parts: None)
    assert not ran_in_kernel(flow, x)
    handle.remove()
    assert ran_in_kernel(flow, x)


def test_transforms_of_functions_autocast_and_other_dtypes_run_in_plain_torch():
    flow = made("affine, soft", torch.float64)
    x, _ = rows(flow, 3, torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(flow.encode))(x)
    log_det = flow.log_prob(x) - flow.base.log_prob(flow.encode(x))
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_det)
    torch.func.jvp(flow.log_prob, (x,), (x,))
    single = made("affine, soft", torch.float32)
    y = x.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert not ran_in_kernel(single, y)
    with pf.precision("bf16"):
        assert not ran_in_kernel(single, y)
    with pytest.raises(RuntimeError, match="same dtype"):
        made("affine, soft", torch.float64).transform(y)
    with kernels(False):
        assert not ran_in_kernel(single, y)
    assert ran_in_kernel(single, y)


def test_a_copy_and_a_pickled_flow_have_chains_of_their_own(tmp_path):
    flow = made("LU", torch.float64)
    x, _ = rows(flow, 3, torch.float64)
    before = flow.log_prob(x)
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        with torch.no_grad():
            next(other.parameters()).add_(1.0)
        assert not torch.equal(other.log_prob(x), before)
    assert torch.equal(flow.log_prob(x), before)
    alive = weakref.ref(flow.transform)
    del flow
    gc.collect()
    assert alive() is None


def test_two_threads_give_the_bits_of_one_forward_and_their_own_twice_backward():
    flow = pf.recipes.nsf(16, num_layers=3, hidden_features=(128, 128))
    zoo.perturb(flow)
    x, _ = rows(flow, 1000, torch.float32)
    torch.set_num_threads(1)
    try:
        one = results(flow, x, None, True)
        torch.set_num_threads(2)
        two, again = results(flow, x, None, True), results(flow, x, None, True)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one[0], two[0])
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
    torch.testing.assert_close(one[2], two[2], rtol=1e-3, atol=1e-3)
