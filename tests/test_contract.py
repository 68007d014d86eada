"""The contract of a transform, on every transform and inverse of the zoo, in float64 unless a test says otherwise."""

import copy
import functools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.transforms import (
    Additive,
    Affine,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    RationalQuadratic,
    Scale,
    Shift,
)

# Tests share the specimens and leave them as they are.
specimen = functools.cache(lambda name: zoo.TRANSFORMS[name]())
CONDITIONAL = [name for name in zoo.TRANSFORMS if specimen(name).context is not None]
FORWARD = [name for name in zoo.TRANSFORMS if not name.startswith("inverse of ")]
every = pytest.mark.parametrize("name", zoo.TRANSFORMS)


def jacobian(transform, x, context) -> Tensor:
    if context is None:
        return torch.func.vmap(torch.func.jacrev(lambda row: transform(row)[0]))(x)
    return torch.func.vmap(torch.func.jacrev(lambda row, c: transform(row, c)[0]))(x, context)


def float32(name):
    transform, x, context = specimen(name)
    return copy.deepcopy(transform).float(), x.float(), None if context is None else context.float()


# ---- values and log_dets ---------------------------------------------------------------------------------------------


@every
def test_any_batch_shape_gives_the_same_rows(name):
    transform, x, context = specimen(name)
    for function, start in ((transform, x), (transform.inverse, transform(x, context)[0].detach())):
        value, log_det = function(start, context)
        assert log_det.shape == (7,)
        for rows, shape in (((0,), ()), (range(0), (0,)), (range(7), (7,)), (range(6), (2, 3))):
            rows = list(rows)
            part = start[rows].reshape(*shape, x.shape[1])
            own = None if context is None else context[rows].reshape(*shape, -1 if rows else context.shape[1])
            got, got_log_det = function(part, own)
            assert got.shape == part.shape
            assert got_log_det.shape == torch.Size(shape)
            assert_close(got, value[rows].reshape(part.shape))
            assert_close(got_log_det, log_det[rows].reshape(shape))


@every
def test_inverse_undoes_forward(name):
    transform, x, context = specimen(name)
    y, _ = transform(x, context)
    assert_close(transform.inverse(y, context)[0], x, rtol=zoo.tolerance(name), atol=zoo.tolerance(name))


@every
def test_log_det_is_the_jacobians(name):
    transform, x, context = specimen(name)
    expected = torch.linalg.slogdet(jacobian(transform, x, context)).logabsdet
    assert_close(transform(x, context)[1], expected, rtol=zoo.tolerance(name), atol=zoo.tolerance(name))


@every
def test_log_dets_of_forward_and_inverse_add_up_to_zero(name):
    transform, x, context = specimen(name)
    y, log_det = transform(x, context)
    assert_close(
        log_det + transform.inverse(y, context)[1], torch.zeros_like(log_det), rtol=0, atol=zoo.tolerance(name)
    )


@every
def test_no_specimen_is_the_identity(name):
    transform, x, context = specimen(name)
    if "empty" not in name:
        assert not torch.allclose(transform(x, context)[0], x, atol=1e-2)


@every
def test_steps_add_up_to_the_whole(name):
    transform, x, context = specimen(name)
    y, log_det = transform(x, context)
    for steps, value, total in (
        (transform.steps(x, context), y, log_det),
        (transform.steps_inverse(y, context), *transform.inverse(y, context)),
    ):
        assert_close(steps[-1].value if steps else value, value)
        assert_close(sum((step.log_det for step in steps), torch.zeros_like(total)), total)


# ---- zeros of the Jacobian -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in FORWARD if isinstance(specimen(n).transform, Coupling)])
def test_coupling_leaves_the_mask_and_transforms_each_other_feature_by_itself(name):
    transform, x, context = specimen(name)
    mask, J = transform.mask, jacobian(transform, x, context)
    D = len(mask)
    assert torch.equal(transform(x, context)[0][:, mask], x[:, mask])
    assert torch.equal(J[:, mask], torch.eye(D, dtype=J.dtype)[mask].expand(7, -1, -1))
    among_transformed = J[:, ~mask][:, :, ~mask]
    off_diagonal = ~torch.eye(D - int(mask.sum()), dtype=torch.bool)
    assert torch.all(among_transformed[:, off_diagonal] == 0)
    assert torch.any(J[:, ~mask][:, :, mask] != 0)


@pytest.mark.parametrize("name", [n for n in FORWARD if isinstance(specimen(n).transform, Autoregressive)])
def test_autoregressive_depends_on_earlier_features_alone(name):
    transform, x, context = specimen(name)
    J = jacobian(transform, x, context)[:, transform.order][:, :, transform.order]
    assert torch.equal(J, J.tril())
    below = torch.ones(J.shape[1:], dtype=torch.bool).tril(-1)
    assert torch.all((J != 0).any(0)[below])


@pytest.mark.parametrize("name", [n for n in FORWARD if isinstance(specimen(n).transform, (Elementwise, Scale, Shift))])
def test_elementwise_keeps_features_apart(name):
    J = jacobian(*specimen(name))
    assert torch.equal(J, torch.diag_embed(J.diagonal(dim1=1, dim2=2)))


@every
def test_a_row_does_not_depend_on_its_batch_mates(name):
    transform, x, context = float32(name)
    together, log_det = transform(x, context)
    for row in (0, 3, 6):
        alone, own = transform(x[row], None if context is None else context[row])
        assert_close(alone, together[row], rtol=1e-5, atol=1e-5)
        assert_close(own, log_det[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_log_prob_of_a_row_does_not_depend_on_its_batch_mates(name):
    flow = zoo.FLOWS[name]()
    x, context = 1.5 * torch.randn(300, flow.features, generator=torch.manual_seed(0)), zoo.context_for(flow, 300)
    together = flow.log_prob(x, context)
    alone = torch.stack([flow.log_prob(x[i], None if context is None else context[i]) for i in range(0, 300, 30)])
    assert_close(alone, together[::30], rtol=1e-5, atol=1e-5)


# ---- identity at zero ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Additive(), Affine(), Affine("tanh"), Affine("plain"), RationalQuadratic(7, 3.0)])
def test_a_family_with_zero_parameters_is_the_identity(family):
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)[:, None]
    for function in (family.forward, family.inverse):
        y, log_det = function(x, torch.zeros(33, 1, family.num_params, dtype=torch.float64))
        assert_close(y, x)
        assert_close(log_det, torch.zeros_like(x))


@pytest.mark.parametrize("name", [n for n in zoo.FLOWS if not any(word in n for word in ("permute", "orthogonal"))])
def test_a_fresh_flow_is_the_identity_up_to_its_order(name):
    flow = zoo.FLOWS[name](fresh=True)
    x, context = torch.randn(20, flow.features, generator=torch.manual_seed(0)), zoo.context_for(flow, 20)
    assert_close(flow.encode(x, context).abs().sort(-1).values, x.abs().sort(-1).values, rtol=1e-5, atol=1e-5)
    assert_close(flow.log_prob(x, context), flow.base.log_prob(x), rtol=1e-5, atol=1e-5)


# ---- numbers: tails, dtypes, NaN -------------------------------------------------------------------------------------


@every
def test_values_and_gradients_far_away_are_not_nan(name):
    transform, x, context = float32(name)
    D = x.shape[1]
    signs = torch.tensor([[1.0] * D, [-1.0] * D, [(-1.0) ** i for i in range(D)], [1.0] + [0.0] * (D - 1)])
    context = None if context is None else context[:1]
    for size in (10.0, 1e4, 1e15, 1e30):
        far = (signs * size).requires_grad_()
        y, log_det = transform(far, context)
        assert not y.isnan().any()
        assert not log_det.isnan().any()
        tensors = [far, *transform.parameters()]
        gradients = torch.autograd.grad(y.sum() + log_det.sum(), tensors, allow_unused=True)
        finite = [bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None]
        assert all(finite) or "inverse of asinh" in name  # sinh overflows, and so does its slope


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_context_far_away_gives_no_nan(name):
    transform, x, context = float32(name)
    for function in (transform, transform.inverse):
        for far in (context * 1e30, torch.full_like(context, -1e30)):
            value, log_det = function(x, far)
            assert not value.isnan().any()
            assert not log_det.isnan().any()


@every
def test_the_dtype_is_kept(name):
    transform, x, context = specimen(name)
    assert {t.dtype for t in (*transform(x, context), *transform.inverse(x.clamp(0.1, 0.9), context))} == {
        torch.float64
    }
    transform, x, context = float32(name)
    assert {t.dtype for t in (*transform(x, context), *transform.inverse(x.clamp(0.1, 0.9), context))} == {
        torch.float32
    }


@every
def test_nan_in_is_nan_out_for_its_own_row_alone(name):
    transform, x, context = specimen(name)
    for function, start in ((transform, x), (transform.inverse, transform(x, context)[0])):
        clean, clean_log_det = function(start, context)
        start = start.clone()
        start[3] = torch.nan
        value, log_det = function(start, context)
        others = torch.arange(7) != 3
        assert value[3].isnan().all()
        assert_close(value[others], clean[others])
        assert_close(log_det[others], clean_log_det[others])


# ---- purity ----------------------------------------------------------------------------------------------------------


@every
def test_it_is_pure(name):
    transform, x, context = specimen(name)
    tensors = [x, *transform.state_dict().values(), *(() if context is None else (context,))]
    before, random = [tensor.clone() for tensor in tensors], torch.get_rng_state()
    y, log_det = transform(x, context)
    transform.inverse(y, context)
    again, log_det_again = transform(x, context)
    assert torch.equal(y, again)
    assert torch.equal(log_det, log_det_again)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
    assert torch.equal(random, torch.get_rng_state())


# ---- context ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONDITIONAL)
def test_one_context_stands_for_every_row(name):
    transform, x, context = specimen(name)
    expected = transform(x, context[2].expand(7, -1))
    for shared in (context[2], context[2:3]):
        for got, wanted in zip(transform(x, shared), expected, strict=True):
            assert_close(got, wanted)
        for got, wanted in zip(
            transform.inverse(x, shared), transform.inverse(x, context[2].expand(7, -1)), strict=True
        ):
            assert_close(got, wanted)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_context_matters(name):
    transform, x, context = specimen(name)
    assert not torch.allclose(transform(x, context)[0], transform(x, context.flip(0))[0], atol=1e-3)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_context_axis_of_size_one_stretches(name):
    transform, x, context = specimen(name)
    x = x[:6].reshape(2, 3, -1)
    for own in (context[:2, None], context[None, :3]):
        got, wanted = transform(x, own), transform(x, own.expand(2, 3, -1))
        assert_close(got[0], wanted[0])
        assert_close(got[1], wanted[1])


@pytest.mark.parametrize("name", CONDITIONAL)
def test_missing_or_ill_shaped_context_is_refused(name):
    transform, x, context = specimen(name)
    for function in (transform, transform.inverse):
        with pytest.raises(ValueError, match="needs context with 3 features; none was given"):
            function(x)
        with pytest.raises(ValueError, match=r"needs context with 3 features on the last axis; got shape \(7, 2\)"):
            function(x, context[:, :2])
        with pytest.raises(ValueError, match=r"got shape \(7, 1\): labels go in as .*one_hot\(labels, 3\)"):
            function(x, torch.arange(7)[:, None])
        with pytest.raises(ValueError, match=r"context has batch \(5,\), x has batch \(7,\): give context of shape"):
            function(x, context[:5])
        with pytest.raises(ValueError, match=r"context has batch \(3,\), x has batch \(3, 3\): use context\[:, None\]"):
            function(x[:1].expand(3, 3, -1), context[:3])


@pytest.mark.parametrize("name", [n for n in zoo.TRANSFORMS if n not in CONDITIONAL])
def test_unwanted_context_is_refused(name):
    transform, x, _ = specimen(name)
    for function in (transform, transform.inverse):
        with pytest.raises(ValueError, match=r"takes no context; got one of shape \(7, 3\)"):
            function(x, torch.zeros(7, 3, dtype=x.dtype))


@pytest.mark.parametrize(
    ("got", "want", "remedy"),
    [
        ((5,), (5, 5), r"context has batch (5,), x has batch (5, 5): use context[:, None]."),
        ((2,), (2, 3, 4), "use context[:, None, None]."),
        ((2, 3), (2, 3, 4), "use context[:, :, None, :]."),
        ((3,), (2, 3), "use context[None, ...]."),
        ((4,), (2, 3), "give context of shape (C,) or one row of context for each row of x."),
        ((2, 3), (6,), "give context of shape (C,) or one row of context for each row of x."),
    ],
)
def test_the_remedy_for_an_ill_shaped_context_works(got, want, remedy):
    layer = specimen("elementwise, affine soft, D = 1, context").transform
    x, context = torch.zeros(*want, 1, dtype=torch.float64), torch.zeros(*got, 3, dtype=torch.float64)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        layer(x, context)
    assert str(error.value).endswith(remedy)
    if "use " in remedy:
        index = remedy.split("use ")[1].removesuffix(".")
        layer(x, eval(index, {"context": context}))


# ---- compiling -------------------------------------------------------------------------------------------------------


# The three log-scales of Affine differ in one line: one wrapper stands for the others.
@pytest.mark.parametrize(
    "name", [n for n in FORWARD if n.startswith("elementwise") or not ("affine tanh" in n or "affine plain" in n)]
)
def test_both_directions_compile_without_a_graph_break(name, few_root_steps):
    transform, x, context = specimen(name)

    def both(x, context):
        y, log_det = transform(x, context)
        return y, log_det, *transform.inverse(y, context)

    torch._dynamo.reset()
    with torch.no_grad():
        got = torch.compile(both, fullgraph=True, backend="eager")(x, context)
        for a, b in zip(got, both(x, context), strict=True):
            assert_close(a, b)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # inside inductor
def test_a_training_step_compiles_with_inductor():
    flow = zoo.make_flow("realnvp", num_layers=1)
    x = torch.randn(64, 2, generator=torch.manual_seed(0))
    torch._dynamo.reset()
    results = []
    for log_prob in (flow.log_prob, torch.compile(flow.log_prob, fullgraph=True)):
        flow.zero_grad()
        loss = -log_prob(x).mean()
        loss.backward()
        results.append([loss.detach(), *(parameter.grad.clone() for parameter in flow.parameters())])
    for eager, compiled in zip(*results, strict=True):
        assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


# ---- float32, trained ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_float32_round_trips_after_training(name):
    flow = zoo.FLOWS[name](fresh=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, flow.features, generator=generator).mul(0.7).exp() - 1
    context = zoo.context_for(flow, 256)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    first = None
    for _ in range(30):
        optimizer.zero_grad()
        loss = -flow.log_prob(x, context).mean()
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
    assert loss.item() < first - 0.02
    error = (flow.decode(flow.encode(x, context), context) - x).abs()
    assert error.median() < (1e-4 if name.startswith("cnf") else 1e-6)  # a solver's error is above rounding
    assert error.max() < 2e-3
    tolerance = zoo.tolerance(name) if name.startswith("cnf") else None
    assert pf.verify(flow, x[:100], None if context is None else context[:100], tolerance=tolerance).ok


# ---- composition -----------------------------------------------------------------------------------------------------


def test_the_inverse_of_an_inverse_is_the_transform():
    transform, x, _ = specimen("coupling, spline, alternating")
    assert_close(Inverse(Inverse(transform))(x), transform(x))


def test_slices_prefixes_and_indices_share_the_parts():
    first, second, third = Scale((2.0, 3.0)), Shift((1.0, -1.0)), Scale((-1.0, 0.5))
    both = Compose([first, second, third])
    x = torch.tensor([[1.0, 2.0]])
    assert len(both) == 3
    assert list(both) == [first, second, third]
    assert both[0] is first
    assert both[-1] is third
    assert both["Shift 2"] is second
    assert both[1:][0] is second
    assert both[1:].names == ("Shift 2", "Scale 3")
    assert_close(both.prefix(2)(x)[0], second(first(x)[0])[0])
    assert_close(both[::2](x)[0], third(first(x)[0])[0])
    assert_close(both[::-1](x)[0], first(second(third(x)[0])[0])[0])
    assert len(both.prefix(0)) == 0
    y, log_det = both(x)
    halfway, one = both[:2](x)
    rest, two = both[2:](halfway)
    assert_close(rest, y)
    assert_close(one + two, log_det)
    with pytest.raises(KeyError, match="no part is named 'Shift 1'; the names are"):
        both["Shift 1"]
    with pytest.raises(ValueError, match="names must be unique, one a transform"):
        Compose([first, second], names=["a", "a"])
    with pytest.raises(ValueError, match=r"must share one context; got context_features \[2, 3\]"):
        Compose([zoo._elementwise(2, Affine(), 2), zoo._elementwise(2, Affine(), 3)])
