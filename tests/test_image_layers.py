"""Image layers and recipes: squeeze, maps of each pixel, factoring out, convolutional conditioners, glow, RealNVP."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, pixel_unshuffle
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.nets import ConvNet
from pushforward.studies import run
from pushforward.studies.mnist import convolutional
from pushforward.transforms import (
    ActNorm,
    Compose,
    Coupling,
    Logit,
    LULinear,
    OnFeatures,
    Orthogonal,
    PerPixel,
    Scale,
    masks,
    squeeze,
)

RECIPES = {"glow": pf.recipes.glow, "realnvp_image": pf.recipes.realnvp_image}
SMALL = {"num_layers": 2, "hidden_channels": 8, "num_blocks": 1}
both = pytest.mark.parametrize("name", RECIPES)


def made(name, shape, **options):
    """A small flow with random parameters, and rows of 8-bit images with noise."""
    torch.manual_seed(0)
    preprocessing = [Scale(1 / 256), Logit(0.05)]
    flow = zoo.perturb(RECIPES[name](shape, **{**SMALL, **options}, preprocessing=preprocessing), size=0.3)
    return flow, 256 * torch.rand(6, flow.features, generator=torch.Generator().manual_seed(1))


# ---- squeeze ---------------------------------------------------------------------------------------------------------


def test_squeeze_orders_pixels_as_pixel_unshuffle_does():
    x = torch.randn(5, 3, 4, 6)
    assert torch.equal(squeeze((3, 4, 6))(x.flatten(1))[0], pixel_unshuffle(x, 2).flatten(1))


def test_a_half_of_the_squeezed_channels_is_no_chequerboard():
    board, _ = squeeze((1, 4, 4))(masks.chequerboard((1, 4, 4)).double())
    assert board[:8].sum() == board[8:].sum() == 4


@pytest.mark.parametrize("shape", [(1, 7, 8), (2, 8, 7)])
def test_an_odd_side_cannot_be_squeezed(shape):
    _, height, width = shape
    with pytest.raises(ValueError, match=f"needs an even height and width; got an image of {height} x {width}"):
        squeeze(shape)


# ---- the same map at every pixel -------------------------------------------------------------------------------------


def test_lu_at_every_pixel_is_a_one_by_one_convolution():
    linear = zoo.perturb(LULinear(3)).double()
    x = torch.randn(5, 3, 4, 2, dtype=torch.float64)
    matrix = torch.stack([linear(row)[0] - linear.bias for row in torch.eye(3, dtype=torch.float64)], 1)
    y, log_det = PerPixel((3, 4, 2), linear)(x.flatten(1))
    assert_close(y, conv2d(x, matrix[:, :, None, None], linear.bias).flatten(1))
    assert_close(log_det, (8 * torch.linalg.slogdet(matrix).logabsdet).expand(5))


def test_actnorm_at_every_pixel_starts_each_channel_at_zero_mean_and_unit_variance():
    x = torch.randn(20, 2, 3, 3) * torch.tensor([3.0, 0.1])[:, None, None] + torch.tensor([5.0, -1.0])[:, None, None]
    norm = PerPixel((2, 3, 3), ActNorm(2))
    norm.initialize(x.flatten(1))
    y = norm(x.flatten(1))[0].reshape(20, 2, 9).transpose(1, 2).reshape(-1, 2)
    assert_close(y.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    assert_close(y.std(0, correction=0), torch.ones(2))


def test_the_map_of_a_pixel_has_as_many_features_as_channels():
    with pytest.raises(ValueError, match="as many features as there are channels, 3; got LULinear with 4"):
        PerPixel((3, 2, 2), LULinear(4))
    with pytest.raises(
        ValueError, match=r"shape must be \(channels, height, width\), integers of at least 1; got \(3, 4\)"
    ):
        PerPixel((3, 4), LULinear(3))


# ---- factoring out ---------------------------------------------------------------------------------------------------


def test_other_features_pass_through_and_decide_nothing():
    layer, x, context = zoo.TRANSFORMS["on features, coupling, context"]()
    moved = x.clone()
    moved[:, [0, 2]] += 1
    y, log_det = layer(x, context)
    y_moved, log_det_moved = layer(moved, context)
    assert torch.equal(y[:, [0, 2]], x[:, [0, 2]])
    assert torch.equal(y_moved[:, [1, 3]], y[:, [1, 3]])
    assert torch.equal(log_det, log_det_moved)


def test_features_come_in_the_order_of_the_indices():
    y, _ = OnFeatures((2, 0), Scale((10.0, 100.0)))(torch.tensor([1.0, 2.0, 3.0]))
    assert y.tolist() == [100.0, 2.0, 30.0]


def test_a_map_of_some_features_learns_from_them_alone():
    layer = OnFeatures((2, 0), ActNorm(2))
    x = torch.randn(100, 3) * torch.tensor([1.0, 0.0, 5.0])  # the feature left alone is constant
    layer.initialize(x)
    assert_close(layer(x)[0][:, [0, 2]].std(0, correction=0), torch.ones(2))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ((0, 0), r"indices must be different and at least 0; got \[0, 0\]"),
        ((-1, 0), r"indices must be different and at least 0; got \[-1, 0\]"),
        ((), r"indices must be at least one integer in a row; got float32 of shape \(0,\)"),
        ((0.0, 1.0), "indices must be at least one integer in a row; got float32"),
        ((True, False), "indices must be at least one integer in a row; got bool"),
        ((0, 1, 2), "as many features as there are indices, 3; got LULinear with 2"),
    ],
)
def test_impossible_indices_are_refused(indices, message):
    with pytest.raises(ValueError, match=message):
        OnFeatures(indices, LULinear(2))


# ---- convolutional conditioners --------------------------------------------------------------------------------------


def parameters_by_pixel(mask, shape, kept, net):
    """The parameters that a net returns, each on its pixel, (num_params, C, H, W), zero where kept."""
    params = torch.zeros(2, len(mask), dtype=kept.dtype)
    params[:, ~mask] = net(kept).reshape(2, -1)
    return params.reshape(2, *shape)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (masks.chequerboard((1, 7, 7)), (1, 7, 7)),
        (~masks.chequerboard((2, 6, 7)), (2, 6, 7)),
        (masks.halves(98), (2, 7, 7)),
        (~masks.halves(98), (2, 7, 7)),
    ],
)
def test_parameters_depend_on_the_neighbourhood_of_their_own_pixel(mask, shape):
    net = zoo.perturb(ConvNet(mask, shape, 2, hidden_channels=4, num_blocks=1, activation="tanh")).double()
    x = torch.randn(len(mask), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centre = mask.reshape(shape)[:, 3, 3:5].nonzero()[0] + torch.tensor([0, 3])  # channel and column of a kept pixel
    changed = x.clone()
    changed.reshape(shape)[centre[0], 3, centre[1]] += 1
    difference = parameters_by_pixel(mask, shape, changed[mask], net) - parameters_by_pixel(mask, shape, x[mask], net)
    moved = (difference.abs().amax((0, 1)) > 1e-12).nonzero()
    assert len(moved) > 5
    # Two 3 x 3 convolutions reach two pixels.
    assert (moved - torch.tensor([3, int(centre[1])])).abs().max() == 2


def test_each_pixel_has_a_bias_of_its_own():
    mask = masks.halves(32)
    net = zoo.perturb(ConvNet(mask, (2, 4, 4), 1, hidden_channels=4, num_blocks=1)).double()
    params = net(torch.zeros(16, dtype=torch.float64))
    assert len(params.unique()) == 16


def test_the_last_convolution_starts_at_zero():
    net = ConvNet(masks.halves(32), (2, 4, 4), 3, hidden_channels=4, context_features=2)
    assert torch.equal(net(torch.randn(5, 16), torch.randn(5, 2)), torch.zeros(5, 48))


def test_dropout_acts_while_training_alone():
    mask = masks.halves(32)
    net = zoo.perturb(ConvNet(mask, (2, 4, 4), 1, hidden_channels=4, dropout=0.5))
    x = torch.randn(3, 16)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((masks.halves(12), (1, 2, 2), 2), {}, r"mask must be boolean of shape \(4,\); got bool of shape \(12,\)"),
        (
            (masks.halves(4), (2, 2), 2),
            {},
            r"shape must be \(channels, height, width\), integers of at least 1; got \(2, 2\)",
        ),
        ((torch.arange(4), (1, 2, 2), 2), {}, r"got int64 of shape \(4,\)"),
        ((torch.ones(4, dtype=torch.bool), (1, 2, 2), 2), {}, "it keeps 4 of 4"),
        ((masks.halves(4), (1, 2, 2), 0), {}, "num_params must be an integer of at least 1; got 0"),
        ((masks.halves(4), (1, 2, 2), 2), {"num_blocks": 0}, "num_blocks must be an integer of at least 1; got 0"),
        ((masks.halves(4), (1, 2, 2), 2), {"activation": "sine"}, "activation must be one of relu, .*; got 'sine'"),
    ],
)
def test_impossible_networks_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(*arguments, **options)


def test_a_network_without_its_context_says_so():
    with pytest.raises(ValueError, match="needs context with 2 features; none was given"):
        ConvNet(masks.halves(4), (1, 2, 2), 2, context_features=2)(torch.zeros(2))


# ---- recipes ---------------------------------------------------------------------------------------------------------

SIZES = [
    ("glow", (1, 8, 8), {}),
    ("glow", (1, 28, 28), {}),
    ("glow", (3, 8, 8), {"num_levels": 3, "num_layers": 1}),
    ("realnvp_image", (1, 8, 8), {}),
    ("realnvp_image", (1, 28, 28), {"num_levels": 3, "num_layers": 1}),  # the last level has images of 7 x 7
    ("realnvp_image", (2, 7, 5), {"num_levels": 1}),
]


@pytest.mark.parametrize(("name", "shape", "options"), SIZES)
def test_images_come_back_and_log_dets_add_up_to_zero(name, shape, options):
    flow, x = made(name, shape, **options)
    flow, x = flow.double(), x.double()
    z, log_det = flow.transform(flow.preprocess(x)[0])
    back, inverse_log_det = flow.transform.inverse(z)
    assert_close(flow.decode(flow.encode(x)), x, rtol=1e-6, atol=1e-6)
    assert_close(inverse_log_det, -log_det)
    assert_close(back, flow.preprocess(x)[0])
    assert_close(flow.log_prob(x), flow.base.log_prob(z) + log_det + flow.preprocess(x)[1])


@pytest.mark.parametrize(("name", "shape", "options"), SIZES)
def test_images_come_back_in_float32(name, shape, options):
    flow, x = made(name, shape, **options)
    assert_close(flow.decode(flow.encode(x)), x, rtol=0, atol=0.05)  # of 256 levels


@both
def test_every_pixel_is_transformed(name):
    flow, x = made(name, (1, 8, 8))
    z, untouched = flow.encode(x), flow.from_base(0).encode(x)
    assert torch.all((z - untouched).abs().amax(0) > 1e-4)


@both
def test_every_learned_step_is_named_and_can_be_left_out(name):
    flow, x = made(name, (1, 8, 8), num_layers=3)
    count = 6 if name == "glow" else 10
    assert flow.transform.names == tuple(f"layer {number}" for number in range(1, count + 1))
    steps = flow.steps(x)
    assert_close(steps[-1].value, flow.encode(x))
    for num_layers in range(count + 1):
        part = flow.from_base(num_layers)
        learned = sum(any(True for _ in step.parameters()) for step in part.transform)
        assert learned == num_layers
        assert_close(part.decode(part.encode(x)), x, rtol=0, atol=0.05)
    assert_close(part.log_prob(x), flow.log_prob(x))
    # Without its learned part a step keeps its squeezing: the base sees the pixels in the same order.
    squeezed, _ = squeeze((1, 8, 8))(flow.preprocess(x)[0])
    second, _ = squeeze((2, 4, 4))(squeezed[:, :32])
    expected = torch.cat((second, squeezed[:, 32:]), 1) if name == "glow" else squeezed
    assert torch.equal(flow.from_base(0).encode(x), expected)


def test_a_fixed_rotation_of_channels_is_no_learned_part():
    inner = Compose([PerPixel((2, 2, 2), Compose([Orthogonal(2), LULinear(2)])), Scale(2.0, learned=True)])
    flow = pf.Flow(OnFeatures(torch.arange(8), zoo.perturb(inner)), pf.bases.StandardNormal(9))
    x = torch.randn(4, 9)
    rotated, _ = PerPixel((2, 2, 2), inner[0].transform[0])(x[:, :8])
    assert_close(flow.from_base(0).encode(x), torch.cat((rotated, x[:, 8:]), 1))


def test_what_is_factored_out_is_left_alone_afterwards():
    for name in RECIPES:
        flow, x = made(name, (1, 8, 8))
        values = [step.value for step in flow.steps(x)]
        last_of_first_level = {"glow": 2, "realnvp_image": 4 + 2}[name]  # with the step of preprocessing
        assert len(values) == {"glow": 6, "realnvp_image": 9}[name]
        before = values[last_of_first_level + 1]
        assert torch.equal(before[:, 32:], values[-1][:, 32:])
        assert not torch.equal(before[:, :32], values[-1][:, :32])


@pytest.mark.parametrize(("name", "last"), [("glow", 2), ("realnvp_image", 4)])
def test_the_last_coupling_of_a_level_models_what_is_factored_out_given_the_rest(name, last):
    flow, _ = made(name, (1, 8, 8))
    assert isinstance(flow.transform[last], OnFeatures)
    assert torch.equal(flow.transform[last - 1][-1].mask, masks.halves(64))


@both
def test_a_fresh_flow_changes_the_order_of_pixels_alone(name):
    flow = RECIPES[name]((1, 8, 8), **SMALL)
    x = torch.randn(5, 64)
    assert torch.equal(flow.encode(x).sort(-1).values, x.sort(-1).values)
    assert_close(flow.log_prob(x), flow.base.log_prob(x))


def test_realnvp_changes_masks_as_in_the_paper():
    flow = pf.recipes.realnvp_image((1, 28, 28), num_levels=3, hidden_channels=4, num_blocks=1)
    nets = [module for module in flow.modules() if isinstance(module, ConvNet)]
    assert [net.shape for net in nets] == 3 * [(1, 28, 28)] + 3 * [(4, 14, 14)] + 3 * [(2, 14, 14)] + 3 * [
        (8, 7, 7)
    ] + 4 * [(4, 7, 7)]
    assert [net.layout for net in nets] == 2 * (3 * ["pixels"] + 3 * ["channels"]) + 4 * ["pixels"]
    assert all(torch.equal(nets[i].mask, ~nets[i + 1].mask) for i in (0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 14))


@both
def test_options_of_the_networks_reach_every_network_of_an_image_flow(name):
    options = {"hidden_channels": 5, "num_blocks": 3, "context_features": 2, "activation": "silu", "dropout": 0.25}
    flow = RECIPES[name]((1, 8, 8), num_layers=2, **options)
    networks = [module for module in flow.modules() if isinstance(module, ConvNet)]
    assert networks
    for network in networks:
        assert {option: getattr(network, option) for option in options} == options


def test_a_step_of_glow_is_actnorm_then_one_by_one_convolution_then_coupling():
    for step in pf.recipes.glow((1, 8, 8), **SMALL).transform:
        parts = list(step.transform if isinstance(step, OnFeatures) else step)[-3:]
        assert isinstance(parts[0].transform, ActNorm)
        assert isinstance(parts[1].transform, LULinear)
        assert isinstance(parts[2], Coupling)


@both
def test_context_conditions_images(name):
    flow, x = made(name, (1, 8, 8), context_features=3)
    context = torch.eye(3)
    assert not torch.allclose(flow.log_prob(x[:3], context), flow.log_prob(x[:3], context.flip(0)))
    assert flow.sample(4, context).shape == (3, 4, 64)
    assert_close(flow.log_prob(x, context[0]), flow.log_prob(x, context[:1].expand(6, 3)))


@pytest.mark.parametrize(("name", "shape", "options"), SIZES)
def test_a_saved_flow_of_images_is_the_same(name, shape, options, tmp_path):
    flow, x = made(name, shape, **options)
    before = torch.get_rng_state()
    pf.save(flow, tmp_path / "model.safetensors")
    again = pf.load(tmp_path / "model.safetensors")
    assert torch.equal(again.log_prob(x), flow.log_prob(x))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("buffer", ["source", "transformed"])
def test_a_file_holds_a_networks_mask_and_the_indices_follow_from_it(buffer, tmp_path):
    flow, x = made("realnvp_image", (1, 8, 8))
    right = flow.log_prob(x)
    broken = [module for module in flow.modules() if isinstance(module, ConvNet) and hasattr(module, buffer)][-1]
    getattr(broken, buffer)[0] = getattr(broken, buffer)[1]
    pf.save(flow, tmp_path / "model.safetensors")
    assert torch.equal(pf.load(tmp_path / "model.safetensors").log_prob(x), right)


def test_indices_that_the_constructor_does_not_make_are_refused(tmp_path):
    flow, _ = made("realnvp_image", (1, 8, 8))
    broken = [module for module in flow.modules() if isinstance(module, OnFeatures)][-1]
    broken.indices[0] = broken.indices[1]
    pf.save(flow, tmp_path / "model.safetensors")
    with pytest.raises(pf.errors.InputError, match=r"\(OnFeatures\) cannot be built: indices must be different"):
        pf.load(tmp_path / "model.safetensors")


def test_scoring_and_sampling_images_compile():
    flow, x = made("glow", (1, 4, 4), num_layers=1)

    def both_ways(x):
        return flow.log_prob(x), flow.decode(flow.encode(x))

    torch._dynamo.reset()
    with torch.no_grad():
        for got, expected in zip(
            torch.compile(both_ways, fullgraph=True, backend="aot_eager")(x), both_ways(x), strict=True
        ):
            assert_close(got, expected, rtol=1e-4, atol=0.05)


@both
def test_training_on_dequantized_images_lowers_the_nll(name):
    images = pf.data.mnist_sample(size=8)
    torch.manual_seed(0)
    flow = RECIPES[name]((1, 8, 8), **SMALL, preprocessing=[Scale(1 / 256), Logit(0.05)])
    flow.initialize(images.train.x + torch.rand(400, 64))  # what ActNorm learns does not count as training
    before = pf.metrics.nll(flow, images.validation.x, dequantize=256).mean
    pf.fit(
        flow, images.train.x, num_steps=20, batch_size=64, learning_rate=5e-3, dequantize=256, validation=None,
        progress=False,
    )  # fmt: skip
    after = pf.metrics.nll(flow, images.validation.x, dequantize=256).mean
    assert after < before - 10
    assert pf.verify(flow, flow.sample(10, generator=torch.Generator().manual_seed(0))).ok


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        (
            "glow",
            (1, 28, 28),
            {"num_levels": 3},
            "28 x 28 -> 14 x 14 -> 7 x 7 cannot be halved again: use num_levels=2",
        ),
        ("glow", 784, {}, r"shape must be \(channels, height, width\), integers of at least 1; got 784"),
        ("glow", (8, 8, 1), {}, r"pad or crop .* \(shape is channels, height, width: 8, 8, 1\)"),
        ("glow", (1, 8, 8), {"preprocessing": "logit"}, "preprocessing must be a list of transforms.*got 'logit'"),
        ("glow", (1, 7, 7), {}, "7 x 7 cannot be halved again: pad or crop them to an even height and width"),
        ("realnvp_image", (1, 28, 28), {"num_levels": 4}, "7 x 7 cannot be halved again: use num_levels=3"),
        ("realnvp_image", (1, 8, 8), {"num_levels": 4}, "leaves images of 1 x 1, which have no chequerboard: use"),
        ("glow", (28, 28), {}, r"shape must be \(channels, height, width\), integers of at least 1; got \(28, 28\)"),
        ("glow", (1, 8, 0), {}, r"integers of at least 1; got \(1, 8, 0\)"),
        ("glow", (1, 8, 8), {"num_levels": 0}, "num_levels must be an integer of at least 1; got 0"),
        ("realnvp_image", (1, 8, 8), {"num_layers": 0}, "num_layers must be an integer of at least 1; got 0"),
        ("glow", (1, 8, 8), {"hidden_channels": 0}, "hidden_channels must be an integer of at least 1; got 0"),
        ("glow", (1, 8, 8), {"log_scale": "exp"}, "log_scale must be one of soft, tanh, plain; got 'exp'"),
    ],
)
def test_impossible_images_are_refused(name, shape, options, message):
    with pytest.raises(ValueError, match=message):
        RECIPES[name](shape, **options)


def test_recipes_of_images_are_not_offered_for_tables():
    assert not RECIPES.keys() & pf.recipes.RECIPES.keys()


# ---- the study -------------------------------------------------------------------------------------------------------


def test_the_study_measures_both_flows_beside_the_gaussian(tmp_path, monkeypatch):
    monkeypatch.setattr(convolutional, "SECONDS", {8: 1})
    record = run("image-flows", quick=True, out=tmp_path, progress=False)
    found = record.numbers["test"]["8"]
    assert found.keys() == {"gaussian", "realnvp", "glow"}
    for one in found.values():
        assert one["bits_per_dim"] == pytest.approx(one["mean"] / (64 * math.log(2)))
    assert max(record.numbers["round_trip"]["8"].values()) < 0.01
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves-8.png", "samples-8.png"}
