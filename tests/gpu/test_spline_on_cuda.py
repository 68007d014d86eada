"""The fused spline on a GPU against float64 plain torch."""

import pytest
import torch

from pushforward.kernels.rational_quadratic import plain, rational_quadratic


def inputs(bins, dtype, rows=300, features=5):
    generator = torch.Generator().manual_seed(bins)
    raw = 2 * torch.randn(rows, (3 * bins - 1) * features, generator=generator, dtype=torch.float64)
    values = 2.5 * torch.randn(rows, features, generator=generator, dtype=torch.float64)
    values[0] = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
    by = torch.randn(2, rows, features, generator=generator, dtype=torch.float64)
    return values.to("cuda", dtype), raw.to("cuda", dtype), by.to("cuda", dtype)


def results(function, values, raw, by, bins, inverse):
    values, raw = values.clone().requires_grad_(), raw.clone().requires_grad_()
    params = raw.unflatten(-1, (3 * bins - 1, values.shape[-1])).transpose(-1, -2)
    found = function(values, params, bins=bins, bound=5.0, inverse=inverse)
    return [*(part.detach() for part in found), *torch.autograd.grad(found, (values, raw), tuple(by))]


@pytest.mark.parametrize("bins", [2, 8, 32, 200])
@pytest.mark.parametrize("inverse", [False, True])
def test_float64_agrees_to_rounding(bins, inverse):
    given = inputs(bins, torch.float64)
    for found, wanted in zip(
        results(rational_quadratic, *given, bins, inverse), results(plain, *given, bins, inverse), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-8, equal_nan=True)


@pytest.mark.parametrize("bins", [2, 8, 32])
@pytest.mark.parametrize("inverse", [False, True])
def test_the_error_of_float32_is_at_most_twice_plain_torchs(bins, inverse):
    values, raw, by = inputs(bins, torch.float32, rows=20_000)
    exact = results(plain, values.double(), raw.double(), by.double(), bins, inverse)
    plainly = results(plain, values, raw, by, bins, inverse)
    fused = results(rational_quadratic, values, raw, by, bins, inverse)
    for wanted, one, other in zip(exact, plainly, fused, strict=True):
        known = wanted.isfinite()
        # Quantiles: the largest errors are those of a few bins so thin that both versions lose all digits there.
        for share in (0.5, 0.99):
            of_plain, of_kernel = (
                ((part - wanted) / (1 + wanted.abs()))[known].abs().sort().values[int(share * known.sum())]
                for part in (one, other)
            )
            assert of_kernel <= 2 * of_plain + 1e-7, share


def test_a_kernel_ran_at_all():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        values, raw, by = inputs(8, torch.float32)
        results(rational_quadratic, values, raw, by, 8, False)
        torch.cuda.synchronize()
    names = {event.key for event in profile.key_averages()}
    assert {"_forward_kernel", "_backward_kernel"} <= names


def test_strides_broadcast_batches_and_no_rows():
    values, raw, _ = inputs(8, torch.float64)
    params = raw.unflatten(-1, (23, 5)).transpose(-1, -2)
    options = {"bins": 8, "bound": 5.0, "inverse": False}
    for v, p in [
        (values[1:].T.contiguous().T, params[1:]),
        (values[1:], params[1:2]),
        (values[1:, ::2], params[1:, ::2].contiguous()),
        (values[1:].reshape(13, 23, 5), params[1:].reshape(13, 23, 5, 23)),
        (values[:0], params[:0]),
        (values[1], params[1]),
    ]:
        for found, wanted in zip(rational_quadratic(v, p, **options), plain(v, p, **options), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_second_derivatives_func_and_compile_work():
    values, raw, _ = inputs(4, torch.float64)
    values, params = values[1:4], raw[1:4].unflatten(-1, (11, 5)).transpose(-1, -2)

    def total(v, p):
        mapped, log_slope = rational_quadratic(v, p, bins=4, bound=5.0, inverse=False)
        return (mapped.square() + log_slope).sum()

    assert torch.autograd.gradgradcheck(total, (values.clone().requires_grad_(), params.clone().requires_grad_()))
    torch.func.hessian(total)(values, params)
    torch.func.jvp(total, (values, params), (values, params))
    compiled = torch.compile(total, fullgraph=True)
    torch.testing.assert_close(compiled(values, params), total(values, params))
    torch.library.opcheck(
        torch.ops.pushforward.rational_quadratic.default,
        (values.reshape(3, 5).requires_grad_(), params.detach().requires_grad_(), 4, 5.0, False),
    )


def test_more_elements_than_int32_counts():
    free, _ = torch.cuda.mem_get_info()
    rows = 2**31 // (23 * 32) + 1000
    if free < rows * 32 * 23 * 4 * 1.2:
        pytest.skip("the card has too little memory")
    params = torch.randn(rows, 23 * 32, device="cuda").unflatten(-1, (23, 32)).transpose(-1, -2)
    values = torch.randn(rows, 32, device="cuda")
    options = {"bins": 8, "bound": 5.0, "inverse": False}
    mapped, _ = rational_quadratic(values, params, **options)
    torch.testing.assert_close(mapped[-50:], plain(values[-50:], params[-50:], **options)[0], rtol=1e-4, atol=1e-4)
