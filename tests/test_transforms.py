"""Facts about single transforms that the contract does not cover: values, masks, learning from data, bad input."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import zoo
from pushforward.nets import MLP
from pushforward.transforms import (
    ActNorm,
    Additive,
    Affine,
    Asinh,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    Logit,
    LULinear,
    Orthogonal,
    Permutation,
    RationalQuadratic,
    Scale,
    Shift,
    Standardize,
    masks,
)

ROWS = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp() * torch.tensor(
    [1, 5, 9]
)


# ---- scale and shift -------------------------------------------------------------------------------------------------


def test_scale_multiplies_areas_and_shift_keeps_them():
    square = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    assert_close(Scale(2.0)(square), (2 * square, torch.full((1000,), math.log(4))))
    assert_close(Scale((2.0, 0.5))(square), (square * torch.tensor([2.0, 0.5]), torch.zeros(1000)))
    assert_close(Shift((3.0, -1.0))(square), (square + torch.tensor([3.0, -1.0]), torch.zeros(1000)))


def test_scale_takes_negative_and_integer_factors():
    y, log_det = Scale(torch.tensor([2, -3]))(torch.ones(2))
    assert_close(y, torch.tensor([2.0, -3.0]))
    assert_close(log_det, torch.tensor(math.log(6)))


def test_scale_and_shift_do_not_round_their_numbers_to_integers():
    x = torch.tensor([[1, 2]])
    assert_close(Scale(0.5)(x), (torch.tensor([[0.5, 1.0]]), torch.tensor([-math.log(4)])))
    assert_close(Shift(0.5)(x), (torch.tensor([[1.5, 2.5]]), torch.tensor([0.0])))


@pytest.mark.parametrize("factor", [0.0, (1.0, 0.0), torch.tensor([0, 1]), math.inf, math.nan])
def test_scale_refuses_factors_without_an_inverse(factor):
    with pytest.raises(ValueError, match="factor must be finite and not zero; got"):
        Scale(factor)


def test_scale_and_shift_refuse_matrices():
    for make, name in ((Scale, "factor"), (Shift, "offset")):
        with pytest.raises(
            ValueError, match=rf"{name} must be a number or one number a feature; got float32 of shape \(2, 2\)"
        ):
            make(torch.ones(2, 2))


def test_learned_numbers_are_parameters_and_fixed_ones_buffers():
    assert [name for name, _ in Scale(2.0, learned=True).named_parameters()] == ["factor"]
    assert [name for name, _ in Scale(2.0).named_buffers()] == ["factor"]
    given = torch.ones(2)
    Scale(given, learned=True).factor.data.fill_(7)
    assert torch.equal(given, torch.ones(2))


# ---- masks and permutations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [1, 2, 5, 8])
def test_masks_keep_half_of_the_features(features):
    for name in ("halves", "alternating", "random"):
        mask = masks.MASKS[name](features)
        assert mask.dtype == torch.bool
        assert mask.shape == (features,)
        assert mask.sum() == (features + 1) // 2
    assert masks.halves(5).tolist() == [True, True, True, False, False]
    assert masks.alternating(5).tolist() == [True, False, True, False, True]


def test_the_random_mask_is_its_generators():
    same = [masks.random(20, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], masks.random(20, generator=torch.Generator().manual_seed(4)))


def test_the_chequerboard_alternates_in_both_directions_and_each_channel():
    board = masks.chequerboard((2, 3, 4)).reshape(2, 3, 4)
    assert board[0].int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert torch.equal(board[0], board[1])
    assert torch.equal(masks.chequerboard(9), masks.chequerboard((3, 3)))
    with pytest.raises(ValueError, match="a chequerboard mask of 8 features needs"):
        masks.chequerboard(8)


def test_permutations_put_features_where_they_say():
    x = torch.arange(5.0)
    assert Permutation((3, 1, 0, 2, 4))(x)[0].tolist() == [3, 1, 0, 2, 4]
    assert Permutation.reverse(5)(x)[0].tolist() == [4, 3, 2, 1, 0]
    assert Permutation.swap_halves(5)(x)[0].tolist() == [3, 4, 0, 1, 2]
    assert Permutation.swap_halves(4)(x[:4])[0].tolist() == [2, 3, 0, 1]
    for wrong in ((0, 0, 1), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"permutation must hold each of 0..2 once; got \["):
            Permutation(wrong)


def test_orthogonal_is_orthogonal_and_its_generators():
    one, same = (Orthogonal(5, generator=torch.Generator().manual_seed(0)).matrix for _ in range(2))
    assert torch.equal(one, same)
    assert_close(one @ one.T, torch.eye(5, dtype=torch.float64))


def test_random_rotations_prefer_no_direction():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.stack([Orthogonal(3, generator=generator).matrix for _ in range(300)])
    # Of a uniform one every entry has mean 0 and variance 1 / D, and so has the trace, of variance 1.
    error = 4 / math.sqrt(300)
    assert_close(matrices.mean(0), torch.zeros(3, 3).double(), rtol=0, atol=error / math.sqrt(3))
    traces = matrices.diagonal(dim1=1, dim2=2).sum(-1)
    assert abs(traces.mean()) < error
    assert_close(traces.var(), torch.tensor(1.0).double(), rtol=0, atol=1.5 * error)


def test_lu_starts_as_the_identity_and_is_the_product_of_its_factors():
    layer = LULinear(3).double()
    x = ROWS[:4]
    assert torch.equal(layer(x)[0], x)
    zoo.perturb(layer)
    y, log_det = layer(x)
    lower, upper = layer.lower.tril(-1) + torch.eye(3), layer.upper.triu(1) + layer.log_diagonal.exp().diag()
    assert_close(y, x @ (lower @ upper).T + layer.bias)
    assert_close(log_det, torch.linalg.slogdet(lower @ upper).logabsdet.expand(4))


# ---- couplings and autoregressive maps -------------------------------------------------------------------------------


def test_coupling_is_the_papers_masked_equation():
    # y = b x + (1 - b) (x exp(s(b x)) + t(b x)), RealNVP's masked form
    b = torch.tensor([True, False, False, True, False])
    net = zoo.perturb(MLP(2, 6, hidden_features=(8,))).double()
    layer = Coupling(b, Affine("plain"), net)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift, log_scale = net(x[:, b]).chunk(2, -1)
    expected = x.clone()
    expected[:, ~b] = x[:, ~b] * log_scale.exp() + shift
    y, log_det = layer(x)
    assert_close(y, expected)
    assert_close(log_det, log_scale.sum(-1))


def test_two_affine_couplings_without_a_swap_are_one():
    # s = s1 + s2 and t = exp(s2) t1 + t2, where both see the same kept half
    def coupling(seed):
        return Coupling(
            masks.halves(4), Affine("plain"), zoo.perturb(MLP(2, 4, hidden_features=(16, 16)), seed).double()
        )

    first, second = coupling(1), coupling(2)

    class Merged(torch.nn.Module):
        def forward(self, kept, context=None):
            t1, s1 = first.conditioner(kept).chunk(2, -1)
            t2, s2 = second.conditioner(kept).chunk(2, -1)
            return torch.cat((s2.exp() * t1 + t2, s1 + s2), -1)

    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(Compose([first, second])(x), Coupling(masks.halves(4), Affine("plain"), Merged())(x))


def test_log_scales_are_bounded_as_they_say():
    raw = torch.tensor([[[0.0, 1000.0]], [[0.0, -1000.0]], [[0.0, 1e-3]]])
    x = torch.ones(3, 1)
    for log_scale, bound in (("soft", 2.0), ("tanh", 1.0), ("plain", 1000.0)):
        log_det = Affine(log_scale).forward(x, raw)[1][:, 0]
        assert_close(log_det, torch.tensor([bound, -bound, 1e-3]), rtol=1e-5, atol=1e-9)


def test_two_bounded_scales_reach_further_than_one():
    raw = torch.tensor([[[0.0, 1000.0]]])
    x, total = torch.ones(1, 1), 0.0
    for _ in range(2):
        x, log_det = Affine("tanh").forward(x, raw)
        total = total + log_det
    assert_close(total, torch.tensor([[2.0]]))


def test_iaf_is_the_inverse_of_an_autoregressive_map():
    inner, x, _ = zoo.TRANSFORMS["autoregressive, affine soft"]()
    iaf = Inverse(inner)
    assert (inner.forward_passes, inner.inverse_passes) == (1, 4)
    assert (iaf.forward_passes, iaf.inverse_passes) == (4, 1)
    assert Compose([iaf, inner]).forward_passes == 4
    assert_close(iaf.inverse(x), inner(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Coupling(torch.tensor([1, 0]), Affine(), MLP(1, 2)),
            r"mask must be boolean of shape \(D,\); got int64",
        ),
        (lambda: Coupling(torch.ones(2, dtype=torch.bool), Affine(), MLP(1, 2)), "it keeps 2 of 2"),
        (lambda: Coupling(torch.zeros(2, dtype=torch.bool), Affine(), MLP(1, 2)), "it keeps 0 of 2"),
        (lambda: Autoregressive([0, 2], Affine(), MLP(2, 4)), r"order must hold each of 0..1 once; got \[0, 2\]"),
        (lambda: Affine("exp"), "log_scale must be one of soft, tanh, plain; got 'exp'"),
        (lambda: Logit(0.5), "alpha must be at least 0 and below 0.5; got 0.5"),
        (
            lambda: Compose([Shift((1.0, 2.0)), LULinear(3)]),
            "must have the same number of features; got Shift 2, LULinear 3",
        ),
    ],
)
def test_impossible_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_conditioner_of_the_wrong_size_is_named():
    layer = Coupling(masks.halves(4), RationalQuadratic(8), MLP(2, 10))
    message = "must return 2 features x 23 parameters of RationalQuadratic = 46 numbers; got 10"
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(3, 4))


def test_a_conditioner_may_be_any_module_of_two_arguments():
    class Twice(torch.nn.Module):
        def forward(self, kept, context=None):
            return 2 * kept

    layer = Coupling(masks.halves(2), Additive(), Twice())
    assert layer.context_features == 0
    assert_close(layer(torch.tensor([1.0, 5.0]))[0], torch.tensor([1.0, 7.0]))


# ---- learning from data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Standardize, ActNorm, Asinh])
def test_after_initialize_the_rows_have_mean_zero_and_variance_one(make):
    layer = make(3).double()
    before = layer(ROWS)[0]
    assert_close(before, torch.asinh(ROWS) if make is Asinh else ROWS)
    layer.initialize(ROWS)
    y, _ = layer(ROWS)
    assert_close(y.mean(0), torch.zeros(3, dtype=y.dtype), rtol=0, atol=1e-12)
    assert_close(y.std(0, correction=0), torch.ones(3, dtype=y.dtype))


@pytest.mark.parametrize("make", [Standardize, ActNorm, Asinh])
def test_initialize_happens_once_even_after_loading(make):
    layer = make(3).double()
    layer.initialize(ROWS)
    expected = layer(ROWS)
    layer.initialize(5 * ROWS + 1)
    assert_close(layer(ROWS), expected)
    loaded = make(3).double()
    loaded.load_state_dict(layer.state_dict())
    loaded.initialize(5 * ROWS + 1)
    assert_close(loaded(ROWS), expected)


@pytest.mark.parametrize("make", [Standardize, ActNorm, Asinh])
def test_rows_to_learn_from_must_have_spread(make):
    with pytest.raises(
        ValueError, match=r"features \[1\] are constant or not finite and have no density: leave them out"
    ):
        make(2).initialize(torch.tensor([[1.0, 3.0], [2.0, 3.0], [4.0, 3.0]]))
    with pytest.raises(ValueError, match="initialize needs at least 2 rows; got 1"):
        make(2).initialize(torch.zeros(1, 2))


def test_parts_of_a_compose_learn_from_what_reaches_them():
    layer = Compose([Scale(3.0), Standardize(3), Shift(1.0), ActNorm(3)]).double()
    layer.initialize(ROWS)
    assert_close(layer[1].mean, 3 * ROWS.mean(0))
    assert_close(layer[3].shift.detach(), torch.full((3,), -1.0, dtype=torch.float64))
    assert not Inverse(Standardize(3)).transform.initialized


def test_asinh_bounds_the_effect_of_an_outlier():
    rows = torch.randn(10_001, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean, dirty = Asinh(1), Asinh(1)
    clean.initialize(rows)
    rows[0] = 1e30
    dirty.initialize(rows)
    y, _ = dirty(rows)
    assert y.abs().max() < 100
    assert_close(dirty.range, clean.range, rtol=1e-3, atol=0)
    # Not a thousandfold squeeze of the rest, as z-scores would give
    assert (y[1:].std() / clean(rows[1:])[0].std()) > 0.5


@pytest.mark.parametrize(
    ("column", "spread"),
    [
        (ROWS[:101, 0], lambda x: np.quantile(x, 0.75) - np.quantile(x, 0.25)),
        (torch.linspace(-20, 60, 101).clamp(0, 39), lambda x: np.quantile(x, 0.75) - np.quantile(x, 0.25)),
        (torch.cat((torch.full((80,), 7.0), 9 + torch.arange(21.0))), lambda x: np.quantile(x, 0.95) - 7),
        (torch.cat((torch.full((98,), 7.0), torch.tensor([0.0, 8.0, 100.0]))), np.std),
    ],
    ids=["quartiles", "many equal values", "half of them equal", "nearly all equal"],
)
def test_asinh_measures_in_quartile_ranges_or_else_in_what_has_a_width(column, spread):
    layer = Asinh(1)
    layer.initialize(column[torch.randperm(101), None])
    assert_close(layer.median.item(), np.median(column))
    assert_close(layer.range.item(), float(spread(column.double().numpy())))


def test_asinh_needs_no_spread_in_the_middle_half():
    column = torch.cat((torch.zeros(90), torch.linspace(1, 2, 10)))[:, None]
    for rows in (column, torch.cat((torch.zeros(199, 1), torch.ones(1, 1)))):
        layer = Asinh(1)
        layer.initialize(rows)
        assert layer(rows.double())[0].isfinite().all()


def test_standardize_keeps_its_digits_in_float64():
    rows = 1e9 + torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = Standardize(1)
    layer.initialize(rows)
    assert layer.mean.dtype == torch.float64
    assert_close(layer(rows)[0].std(correction=0), torch.tensor(1.0, dtype=torch.float64))


def test_logit_is_minus_infinity_outside_its_domain_and_has_finite_gradients_there():
    layer = Logit(0.05)
    x = torch.tensor([[0.5], [0.0], [1.0], [1.5], [-1.0], [1e30]], dtype=torch.float64, requires_grad=True)
    y, log_det = layer(x)
    assert torch.equal(log_det == -math.inf, torch.tensor([False, False, False, True, True, True]))
    assert y.isfinite().all()
    (gradient,) = torch.autograd.grad(y.sum() + log_det[:3].sum(), x)
    assert gradient.isfinite().all()
    p = 0.05 + 0.9 * torch.tensor(0.0, dtype=torch.float64)
    assert_close(y[1, 0], torch.logit(p))
    assert_close(log_det[1], (0.9 / (p * (1 - p))).log())


def test_the_ends_of_the_unit_interval_are_outside_a_logit_without_a_margin():
    y, log_det = Logit(0.0)(torch.tensor([[0.0], [1.0], [0.5]]))
    assert torch.equal(log_det, torch.tensor([-math.inf, -math.inf, math.log(4)]))
    assert y.isfinite().all()


def test_steps_of_a_compose_are_named():
    layer = Compose([Scale(2.0), Compose([Shift(1.0), Scale(3.0)])], names=["wide", "rest"])
    steps = layer.steps(torch.ones(2))
    assert [step.name for step in steps] == ["wide", "rest"]
    assert [step.value.tolist() for step in steps] == [[2, 2], [9, 9]]
    back = layer.steps_inverse(steps[-1].value)
    assert [step.name for step in back] == ["rest", "wide"]
    assert_close(back[-1].value, torch.ones(2))


def test_elementwise_without_a_conditioner_learns_its_own_parameters():
    layer = Elementwise(3, Affine("plain"))
    assert [parameter.shape for parameter in layer.parameters()] == [(3, 2)]
    with torch.no_grad():
        layer.params.copy_(torch.tensor([[1.0, 0.0], [0.0, math.log(2)], [-1.0, 0.0]]))
    assert_close(layer(torch.ones(1, 3)), (torch.tensor([[2.0, 2.0, 0.0]]), torch.tensor([math.log(2)])))
