"""Data units keep the digits of data units, both ways: dates in days, metres on a map, prices in cents."""

import math

import pytest
import torch
from torch import Tensor

import pushforward as pf
from pushforward.transforms import ActNorm, Asinh, Logit, Orthogonal, Scale, Shift, Standardize

SPREAD = 0.1


def days(offset: float, rows: int = 400) -> Tensor:
    """float64, (rows, 2), of spread 0.1 around the offset."""
    noise = torch.randn(rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return offset + SPREAD * noise


class Centre(pf.transforms.Transform):
    """A user's own: its number is all that it holds."""

    def __init__(self, centre: float) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float64))

    def forward(self, x, context=None):  # noqa: ANN001, ANN201
        return (x - self.centre) * 10, x.new_zeros(x.shape[:-1]) + 2 * math.log(10)

    def inverse(self, y, context=None):  # noqa: ANN001, ANN201
        return y / 10 + self.centre, y.new_zeros(y.shape[:-1]) - 2 * math.log(10)


class Plain(pf.transforms.Transform):
    """A user's own that holds no number at all."""

    def __init__(self, centre: float) -> None:
        super().__init__()
        self.centre = centre

    def forward(self, x, context=None):  # noqa: ANN001, ANN201
        return (x - self.centre) * 10, x.new_zeros(x.shape[:-1]) + 2 * math.log(10)

    def inverse(self, y, context=None):  # noqa: ANN001, ANN201
        return y / 10 + self.centre, y.new_zeros(y.shape[:-1]) - 2 * math.log(10)


PREPROCESSING = {
    "standardize": lambda offset: [Standardize(2)],
    "asinh": lambda offset: [Asinh(2)],
    "actnorm": lambda offset: [ActNorm(2)],
    "both": lambda offset: [Standardize(2), Asinh(2)],
    "rotated": lambda offset: [Orthogonal(2), Standardize(2)],
    "shift": lambda offset: [Shift(-offset), Scale(10.0)],
    "logit": lambda offset: [Scale(1 / (2 * offset)), Logit(), Standardize(2)],
    "a user's": lambda offset: [Centre(offset)],
    "a user's without tensors": lambda offset: [Plain(offset)],
}


def fitted(preprocessing: list, x: Tensor) -> pf.Flow:
    torch.manual_seed(0)
    flow = pf.recipes.nsf(2, num_layers=2, hidden_features=(8,), preprocessing=preprocessing)
    pf.fit(flow, x, num_steps=5, progress=False)
    return flow


def check_digits(flow: pf.Flow, x: Tensor, context: Tensor | None = None) -> None:
    """Both ways in every entry, to a thousandth of the spread and of a nat."""
    z = flow.encode(x, context)
    for back in (flow.decode(z, context), flow.steps_inverse(z, context)[-1].value):
        assert back.dtype == torch.float64
        assert (back - x).abs().max() < 1e-3 * SPREAD
    given = None if context is None else context[0]
    sample = flow.sample(500, given, generator=torch.Generator().manual_seed(1))
    assert sample.dtype == torch.float64
    assert len(sample[:, 0].unique()) > 490
    drawn, log_prob = flow.sample_and_log_prob(500, given, generator=torch.Generator().manual_seed(1))
    assert (drawn - sample).abs().max() < 1e-5 * SPREAD
    torch.testing.assert_close(flow.log_prob(drawn, given), log_prob, rtol=0, atol=1e-3)
    path = pf.latent_path(flow, x[0], x[1], given, num_points=3).x
    assert (path[[0, -1]] - x[:2]).abs().max() < 1e-3 * SPREAD
    assert flow.distribution(given).sample((3,)).dtype == torch.float64


@pytest.mark.parametrize("offset", [1e4, 1e6 + 0.3, 1e9])
@pytest.mark.parametrize("name", PREPROCESSING)
def test_data_come_back_with_the_digits_of_float64(name, offset):
    x = days(offset)
    flow = fitted(PREPROCESSING[name](offset), x)
    assert flow.data_dtype == "float64"
    check_digits(flow, x)


RECIPES = {
    "nice": pf.recipes.nice,
    "realnvp": pf.recipes.realnvp,
    "nsf": pf.recipes.nsf,
    "nsf, autoregressive": lambda *args, **named: pf.recipes.nsf(*args, autoregressive=True, **named),
    "maf": pf.recipes.maf,
    "iaf": pf.recipes.iaf,
    "planar": lambda features, hidden_features, **named: pf.recipes.planar(features, **named),
    "cnf": pf.recipes.cnf,
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_keeps_the_digits_of_data_and_of_context(name):
    x, context = days(2460000.5, 60), 1e6 + days(0, 60)[:, :1]
    torch.manual_seed(0)
    layers = {} if name == "cnf" else {"num_layers": 2}
    prepared = {"preprocessing": [Standardize(2)], "context_preprocessing": [Standardize(1)]}
    flow = RECIPES[name](2, hidden_features=(8,), context_features=1, **layers, **prepared)
    flow.initialize(x, context)
    check_digits(flow, x, context)
    standardized = flow.preprocess(x, context)[2]
    assert standardized.std() > 0.9


def test_the_chosen_flow_keeps_the_digits():
    x = days(2460000.5)
    flow = pf.recipes.auto(x)
    pf.fit(flow, x, num_steps=5, progress=False)
    check_digits(flow, x)


def test_integer_contexts_keep_their_digits_up_to_the_preprocessing():
    seconds = 1_700_000_000 + torch.arange(100)[:, None]
    flow = pf.recipes.realnvp(2, num_layers=2, context_features=1, context_preprocessing=[Standardize(1)])
    pf.fit(flow, torch.randn(100, 2), seconds, validation=None, num_steps=2, progress=False)
    assert flow.context_preprocessing[0].mean.item() == 1_700_000_049.5
    assert len(flow.preprocess(torch.zeros(100, 2), seconds)[2].unique()) == 100


@pytest.mark.parametrize("change", ["float", "double", "half", "to float32", "saved", "copied", "from_base", "state"])
def test_digits_survive_what_is_done_to_a_flow(change, tmp_path):
    x = days(2460000.7)
    flow = fitted([Shift((-2460000.7, 0.0)), Standardize(2)], x)
    flow.initialize(x.float())  # done once: nothing is lost by data of fewer digits
    if change == "saved":
        pf.save(flow, tmp_path / "model.safetensors")
        flow = pf.load(tmp_path / "model.safetensors")
    elif change == "copied":
        import copy

        flow = copy.deepcopy(flow)
    elif change == "from_base":
        flow = flow.from_base(1)
    elif change == "state":
        other = pf.recipes.nsf(
            2, num_layers=2, hidden_features=(8,), preprocessing=[Shift((-2460000.7, 0.0)), Standardize(2)]
        )
        other.load_state_dict(flow.state_dict())
        flow = other
    else:
        before = flow.log_prob(x)
        flow = {"float": flow.float, "double": flow.double, "half": flow.half}.get(
            change, lambda: flow.to(torch.float32)
        )()
        if change == "half":
            flow.transform.float(), flow.base.float()
            torch.testing.assert_close(flow.log_prob(x), before, rtol=0, atol=0.2)
        else:
            torch.testing.assert_close(flow.log_prob(x).float(), before, rtol=0, atol=1e-3)
    check_digits(flow, x)


def test_a_resumed_run_gives_samples_of_the_data_s_dtype(tmp_path):
    for x, dtype in ((days(1e6), torch.float64), (days(0.0).float(), torch.float32)):
        out = tmp_path / str(dtype)
        flow = fitted_in(out, x, False)
        assert flow.sample(1).dtype == dtype
        assert fitted_in(out, x, True).sample(1).dtype == dtype
        pf.fit(flow, x, num_steps=5, progress=False, out=out, resume=True)  # the same object: the same run


def fitted_in(out, x: Tensor, resume: bool) -> pf.Flow:  # noqa: ANN001
    torch.manual_seed(0)
    flow = pf.recipes.realnvp(2, num_layers=2, preprocessing=[Standardize(2)])
    pf.fit(flow, x, num_steps=5, progress=False, out=out, resume=resume)
    return flow


@pytest.mark.parametrize("name", PREPROCESSING)
def test_float32_data_come_back_in_float32(name):
    flow = fitted(PREPROCESSING[name](1.0), days(1.0).float())
    assert flow.sample(3).dtype == flow.decode(torch.zeros(3, 2)).dtype == torch.float32
    assert flow.double().sample(3).dtype == torch.float64


def test_a_flow_that_saw_no_data_gives_the_digits_of_its_preprocessing():
    base, layer = pf.bases.StandardNormal(2), pf.transforms.LULinear(2)
    assert pf.Flow(layer, base).sample(3).dtype == torch.float32
    assert pf.Flow(layer, base, [Shift(2460000.5)]).sample(3).dtype == torch.float32
    check_digits(
        pf.Flow(layer, base, [Shift(torch.tensor(-2460000.5, dtype=torch.float64)), Scale(10.0)]), days(2460000.5)
    )
    check_digits(pf.Flow(layer, base, [Centre(2460000.5)]), days(2460000.5))
    check_digits(pf.Flow(layer, base, [Shift(-2460000.5), Scale(10.0)], data_dtype="float64"), days(2460000.5))
    with pytest.raises(ValueError, match="data_dtype must be one of float32, float64; got 'int8'"):
        pf.Flow(layer, base, data_dtype="int8")


def test_without_a_preprocessing_nothing_has_more_digits_than_the_flow():
    flow = fitted([], days(0.0))
    assert flow.sample(3).dtype == torch.float32


def test_digits_under_a_default_dtype_of_float64():
    torch.set_default_dtype(torch.float64)
    try:
        x = days(2460000.5)
        check_digits(fitted([Standardize(2)], x), x)
    finally:
        torch.set_default_dtype(torch.float32)


class Rounding(Standardize):
    """Undone in float32, as it was up to 0.1.0."""

    def inverse(self, y, context=None):  # noqa: ANN001, ANN201
        return super().inverse(y.float(), context)


@pytest.mark.parametrize("offset", [1e5, 1e6, 1e9])
def test_verify_measures_the_round_trip_in_units_of_the_columns_spread(offset):
    x = days(offset, 50)
    torch.manual_seed(0)
    good, bad = (
        pf.recipes.nsf(2, num_layers=2, hidden_features=(8,), preprocessing=[make(2)])
        for make in (Standardize, Rounding)
    )
    for flow in (good, bad):
        flow.initialize(x)
    report = pf.verify(good, x)
    assert report.ok, report
    assert report.round_trip_error < 1e-5
    report = pf.verify(bad, x)
    assert any(problem.startswith("round trip") for problem in report.problems)
    back = bad.decode(bad.encode(x)).double()
    away = torch.maximum((x - x.mean(0)).abs(), x.std(0, correction=0))
    assert math.isclose(report.round_trip_error, ((back - x).abs() / away).max().item(), rel_tol=1e-3)
    if offset < 1e9:  # there, one value is all that is left
        assert not pf.verify(good, x.float()).ok
