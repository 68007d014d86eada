"""The spline in C against plain torch: values, gradients, layouts, and all that has to go through plain torch."""

import ctypes
import shutil
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pushforward.kernels import spline_native
from pushforward.kernels.native import building, library
from pushforward.kernels.rational_quadratic import plain, rational_quadratic
from pushforward.kernels.switch import kernels

COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform == "win32", reason="there is no C compiler, or none that the kernels use"
)
OPTIONS = {"bins": 8, "bound": 5.0, "inverse": False}
SIZES = ((2, 5), (8, 1), (8, 32), (32, 23), (64, 16))
CASES = [(bins, features, inverse) for bins, features in SIZES for inverse in (False, True)]
NAMES = ("mapped", "log slope", "by values", "by params")


def inputs(bins, dtype, rows=301, features=5):
    """Values, half of them in the tails of some bins, the first five special; raw parameters; gradients of results."""
    generator = torch.Generator().manual_seed(bins)
    raw = 2 * torch.randn(rows, (3 * bins - 1) * features, generator=generator, dtype=torch.float64)
    values = 2.5 * torch.randn(rows, features, generator=generator, dtype=torch.float64)
    values.view(-1)[:5] = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
    by = torch.randn(2, rows, features, generator=generator, dtype=torch.float64)
    return values.to(dtype), raw.to(dtype), by.to(dtype)


def as_params(raw, bins):
    return raw.unflatten(-1, (3 * bins - 1, -1)).transpose(-1, -2)


def results(function, values, raw, by, bins, inverse):
    values, raw = values.clone().requires_grad_(), raw.clone().requires_grad_()
    found = function(values, as_params(raw, bins), bins=bins, bound=5.0, inverse=inverse)
    return [*(part.detach() for part in found), *torch.autograd.grad(found, (values, raw), tuple(by))]


@pytest.fixture
def calls(monkeypatch):
    """The dtypes for which the compiled library was asked."""
    asked, compiled = [], spline_native.compiled
    monkeypatch.setattr(spline_native, "compiled", lambda dtype: asked.append(dtype) or compiled(dtype))
    return asked


@pytest.mark.parametrize(("bins", "features", "inverse"), CASES)
def test_float64_agrees_with_plain_torch_to_rounding(calls, bins, features, inverse):
    given = inputs(bins, torch.float64, features=features)
    found, wanted = (results(way, *given, bins, inverse) for way in (rational_quadratic, plain))
    for name, part, exact in zip(NAMES, found, wanted, strict=True):
        torch.testing.assert_close(part, exact, rtol=1e-8, atol=1e-9, equal_nan=True, msg=name)
    assert calls == [torch.float64]


@pytest.mark.parametrize(("bins", "features", "inverse"), CASES)
def test_the_error_of_float32_is_at_most_twice_plain_torchs(bins, features, inverse):
    values, raw, by = inputs(bins, torch.float32, 10_000 // features, features)
    exact = results(plain, values.double(), raw.double(), by.double(), bins, inverse)
    plainly, in_c = (results(way, values, raw, by, bins, inverse) for way in (plain, rational_quadratic))
    for name, wanted, *both in zip(NAMES, exact, plainly, in_c, strict=True):
        known = wanted.isfinite()
        errors = [((part - wanted) / (1 + wanted.abs()))[known].abs().sort().values for part in both]
        # Quantiles: the largest errors are those of a few bins so thin that both versions lose all digits there.
        for share in (0.5, 0.95, 0.99):
            of_plain, of_kernel = (error[int(share * len(error))] for error in errors)
            assert of_kernel <= 2 * of_plain + 1e-7, (name, share)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inverse", [False, True])
def test_nan_and_the_tails_come_out_as_they_went_in(dtype, inverse):
    values, raw, by = inputs(8, dtype)
    mapped, log_slope, by_values, by_raw = results(rational_quadratic, values, raw, by, 8, inverse)
    assert mapped[0, 0].isnan()
    assert log_slope[0, 0].isnan()
    assert by_values[0, 0] == 0
    assert torch.equal(mapped[0, 1:], values[0, 1:])
    assert log_slope[0, 1:].tolist() == [0.0] * 4
    assert torch.equal(by_values[0, 1:], by[0, 0, 1:])
    assert as_params(by_raw, 8)[0, 1:].abs().max() == 0
    assert by_values[1:].isfinite().all()


@pytest.mark.parametrize("inverse", [False, True])
def test_at_and_beside_knots_and_ends_values_are_continuous(inverse):
    _, raw, _ = inputs(8, torch.float64, rows=64, features=1)
    params = as_params(raw, 8)
    shares = params.unflatten(-1, (-1,))[..., 8:16].softmax(-1) if inverse else params[..., :8].softmax(-1)
    inner = (shares.cumsum(-1) * (1 - 8e-3) + torch.arange(1, 9) * 1e-3) * 10 - 5
    knots = torch.cat((torch.full((64, 1, 1), -5.0), inner[..., :-1], torch.full((64, 1, 1), 5.0)), -1)
    at = knots.movedim(-1, 0)
    beside = torch.stack((at.nextafter(at - 1), at, at.nextafter(at + 1)))
    given, options = (beside, params.expand(3, 9, *params.shape)), {"bins": 8, "bound": 5.0, "inverse": inverse}
    for found, wanted in zip(rational_quadratic(*given, **options), plain(*given, **options), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-7)
    given = [part.float() for part in given]
    exact = plain(*(part.double() for part in given), **options)
    for *both, wanted in zip(rational_quadratic(*given, **options), plain(*given, **options), exact, strict=True):
        ours, theirs = ((part - wanted).abs().flatten().quantile(torch.tensor([0.5, 0.95]).double()) for part in both)
        assert (ours <= 2 * theirs + 1e-7).all()


@pytest.mark.parametrize("inverse", [False, True])
def test_rows_and_parameters_of_any_strides_and_batches(inverse):
    values, raw, _ = inputs(8, torch.float64, rows=300, features=20)
    values, params = values[1:], as_params(raw, 8)[1:]
    for v, p in [
        (values.T.contiguous().T, params),
        (values, params.contiguous()),
        (values, params[:1]),
        (values[:, ::2], params[:, ::2]),
        (values.reshape(13, 23, 20), params.reshape(13, 23, 20, 23)),
        (values.reshape(13, 23, 20), params[:1, None]),
        (values[:3, :5], params[:3, :5]),
        (values[:0], params[:0]),
        (values.reshape(13, 23, 20)[:, :, :0], params.reshape(13, 23, 20, 23)[:, :, :0]),
        (values[1], params[1]),
    ]:
        both = []
        for way in (rational_quadratic, plain):
            v_, p_ = v.detach().requires_grad_(), p.detach().requires_grad_()
            found = way(v_, p_, bins=8, bound=5.0, inverse=inverse)
            with torch.no_grad():
                assert torch.equal(way(v, p, bins=8, bound=5.0, inverse=inverse)[0], found[0])
            both.append([*found, *torch.autograd.grad(found[0].sum() + found[1].square().sum(), (v_, p_))])
        for found, wanted in zip(*both, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("inverse", [False, True])
def test_derivatives_are_right_and_second_ones_too(inverse):
    values, raw, _ = inputs(4, torch.float64, rows=4)
    values, params = values[1:].requires_grad_(), as_params(raw, 4)[1:].clone().requires_grad_()

    def function(v, p):
        return rational_quadratic(v, p, bins=4, bound=5.0, inverse=inverse)

    assert torch.autograd.gradcheck(function, (values, params))
    assert torch.autograd.gradgradcheck(function, (values, params))
    log_slope = function(values, params)[1]
    batched = torch.autograd.grad(
        log_slope, (values, params), torch.eye(15).double().view(15, 3, 5), is_grads_batched=True
    )
    one_by_one = [torch.autograd.grad(function(values, params)[1].view(-1)[i], (values, params)) for i in range(15)]
    for found, wanted in zip(batched, zip(*one_by_one, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(wanted))


def test_what_is_no_plain_numbers_goes_through_plain_torch(calls):
    values, raw, _ = inputs(8, torch.float32, rows=4)
    values, params = values[1:], as_params(raw, 8)[1:]

    def total(v, p):
        mapped, log_slope = rational_quadratic(v, p, **OPTIONS)
        return (mapped.square() + log_slope).sum()

    torch.func.hessian(total)(values, params)
    torch.func.jvp(total, (values, params), (values, params))
    torch.func.vmap(total)(values, params)
    with FlopCounterMode(display=False), torch.no_grad():
        total(values, params)
    with pytest.warns(DeprecationWarning, match="trace"):
        traced = torch.jit.trace(total, (values, params), check_trace=False)
    exported = torch.export.export(_Module(), (values, params)).module()
    torch._dynamo.reset()
    compiled = torch.compile(total, fullgraph=True, backend="eager")
    assert total(values.to("meta"), params.to("meta")).is_meta
    with torch.autocast("cpu"):  # a conditioner's parameters
        total(values, params.bfloat16().float())
        rational_quadratic(values.bfloat16(), params.bfloat16(), **OPTIONS)
    assert calls == [torch.float32]  # parameters that are of the values' dtype again
    for way in (traced, exported, compiled):
        torch.testing.assert_close(way(values, params), total(values, params))
    with torch.inference_mode():
        torch.testing.assert_close(total(values.clone(), params.clone()), total(values, params))


class _Module(torch.nn.Module):
    def forward(self, v, p):
        mapped, log_slope = rational_quadratic(v, p, **OPTIONS)
        return (mapped.square() + log_slope).sum()


def test_more_bins_than_the_kernel_holds_and_kernels_off_go_through_plain_torch(calls):
    values, raw, _ = inputs(65, torch.float64)
    given = values, as_params(raw, 65)
    assert torch.equal(
        rational_quadratic(*given, bins=65, bound=5.0, inverse=False)[0].nan_to_num(),
        plain(*given, bins=65, bound=5.0, inverse=False)[0].nan_to_num(),
    )
    with kernels(on=False):
        rational_quadratic(values, as_params(inputs(8, torch.float64)[1], 8), **OPTIONS)
    assert calls == []


def test_without_a_compiled_library_plain_torch_runs(monkeypatch):
    monkeypatch.setattr(spline_native, "compiled", lambda dtype: None)
    given = inputs(8, torch.float64)
    for found, wanted in zip(
        results(rational_quadratic, *given, 8, True), results(plain, *given, 8, True), strict=True
    ):
        assert torch.equal(found.nan_to_num(), wanted.nan_to_num())


@pytest.mark.parametrize("inverse", [False, True])
def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch, inverse):
    monkeypatch.setattr(spline_native, "LEAST_SHARED_NUMBERS", 0)
    given = inputs(8, torch.float32, rows=997)
    alone = results(rational_quadratic, *given, 8, inverse)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = results(rational_quadratic, *given, 8, inverse)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("flags", [("-mavx2", "-mfma"), ("-msse2",), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_narrower_vectors_give_the_same(monkeypatch, tmp_path, flags, dtype):
    made, defines = tmp_path / "spline.so", ["-DREAL_DOUBLE"] if dtype == torch.float64 else []
    command = [COMPILER, *building.FLAGS, *flags, *defines, building.HERE / "spline.c", "-o", made, "-lm"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{COMPILER} does not know {flags}")
    narrow = ctypes.CDLL(str(made))
    for name in ("spline_map", "spline_gradient"):
        getattr(narrow, name).argtypes, getattr(narrow, name).restype = library.SIGNATURES[name]
    monkeypatch.setattr(spline_native, "compiled", lambda dtype: narrow)
    given, most = inputs(8, dtype), {torch.float64: 1e-9, torch.float32: 2e-2}[dtype]
    for inverse in (False, True):
        found = results(rational_quadratic, *given, 8, inverse)
        for part, exact in zip(found, results(plain, *given, 8, inverse), strict=True):
            torch.testing.assert_close(part, exact, rtol=most, atol=most, equal_nan=True)
