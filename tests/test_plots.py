"""Pictures: what they show lies where it should, axes are equal, wrong input is named, notebooks show them."""

import re

import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError


@pytest.fixture(scope="module")
def flow():
    """N((1, -1), diag(0.25, 1)) as a flow."""
    return pf.Flow(
        pf.transforms.Compose([pf.transforms.Shift([-1.0, 1.0]), pf.transforms.Scale([2.0, 1.0])]),
        pf.bases.StandardNormal(2),
    )


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.axison]


def test_a_log_density_is_drawn_where_it_is_with_equal_axes_and_a_bar_in_nats(flow):
    figure = pf.plots.log_density(flow, grid=101, window=(-2, 4, -4, 2))
    axes, bar = figure.axes
    assert axes.get_aspect() == 1.0
    assert bar.get_ylabel() == "log p(x) (nats)"
    (image,) = axes.get_images()
    assert image.get_extent() == [-2, 4, -4, 2]
    values = image.get_array()
    row, column = divmod(int(values.argmax()), 101)
    assert (column, row) == (50, 50)  # (1, -1) is the middle
    assert float(values.max()) == pytest.approx(flow.log_prob(torch.tensor([1.0, -1.0])).item(), abs=1e-5)
    assert float(values.max() - values.min()) == pytest.approx(10.0, abs=1e-4)


def test_the_window_is_where_samples_or_the_points_lie(flow):
    left, right = pf.plots.log_density(flow, grid=5).axes[0].get_xlim()
    bottom, top = pf.plots.log_density(flow, grid=5).axes[0].get_ylim()
    assert (right - left) * 1.6 < top - bottom < (right - left) * 2.4  # half as wide as tall: no circle
    assert pf.plots.log_density(flow, torch.rand(50, 2) * 100, grid=5).axes[0].get_xlim()[1] > 90


def test_toy_densities_and_contexts_are_drawn():
    assert len(pf.plots.log_density(pf.data.two_moons(2).density, grid=5).axes) == 2
    given = pf.recipes.nice(2, context_features=3)
    assert len(pf.plots.log_density(given, context=[0.0, 1.0, 0.0], grid=5).axes) == 2
    assert len(panels_of(pf.plots.panels(given, torch.randn(40, 2), context=[0.0, 1.0, 0.0], grid=5))) == 4
    assert len(panels_of(pf.plots.steps(given, context=[0.0, 1.0, 0.0], lines=3))) == 5


def test_steps_draw_the_grid_of_the_latent_and_where_each_step_takes_it(flow):
    figure = pf.plots.steps(flow, reach=2.0, lines=5)
    latent, scaled, data = panels_of(figure)
    assert latent.get_title() == "latent z"
    assert data.get_title() == "data x"
    corners = [axes.collections[0].get_coordinates() for axes in (latent, scaled, data)]
    assert corners[0][0, 0].tolist() == [-2.0, -2.0]
    assert corners[1][0, 0].tolist() == [-1.0, -2.0]
    assert corners[2][0, 0].tolist() == [0.0, -3.0]
    assert corners[2][-1, -1].tolist() == [2.0, 1.0]
    colours = scaled.collections[0].get_array()
    assert float(colours.max()) == pytest.approx(-0.6931, abs=1e-4)
    assert {axes.get_aspect() for axes in (latent, scaled, data)} == {1.0}


def test_with_data_the_grid_goes_from_the_data_to_the_latent(flow):
    x = torch.tensor([[0.0, -3.0], [2.0, 1.0]])
    data, moved, latent = panels_of(pf.plots.steps(flow, x, lines=5))
    assert (data.get_title(), latent.get_title()) == ("data x", "latent z")
    first = [axes.collections[0].get_coordinates()[0, 0] for axes in (data, moved, latent)]
    assert first[1].tolist() == pytest.approx((first[0] + [-1, 1]).tolist(), abs=1e-5)
    assert first[2].tolist() == pytest.approx((first[1] * [2, 1]).tolist(), abs=1e-5)


def test_data_far_from_zero_keep_their_digits_in_every_picture():
    x = torch.randn(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.1 + 2460000.5
    flow = pf.recipes.auto(x)
    pf.fit(flow, x, num_steps=5, progress=False)
    values = pf.plots.log_density(flow, grid=50).axes[0].get_images()[0].get_array()
    assert len({tuple(row) for row in values.round(4).tolist()}) > 40
    for axes in panels_of(pf.plots.panels(flow, x, grid=50))[::3]:
        assert len({tuple(point) for point in axes.collections[0].get_offsets().tolist()}) == 400
    last = panels_of(pf.plots.steps(flow, lines=9))[-1]
    assert len({tuple(point) for point in last.collections[0].get_coordinates().reshape(-1, 2).tolist()}) == 81


def test_a_distribution_of_torch_and_a_single_point_are_drawn():
    normal = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    assert len(pf.plots.log_density(normal, grid=5).axes) == 2
    assert len(pf.plots.samples(torch.ones(1, 2)).axes) == 1
    assert pf.plots.log_density(normal, window=torch.tensor([-1, 1, -2, 2]), grid=5).axes[0].get_xlim() == (-1, 1)


def test_panels_go_both_ways(flow):
    x = flow.sample(500, generator=torch.Generator().manual_seed(0))
    data, latent, base, drawn = panels_of(pf.plots.panels(flow, x, grid=5))
    centre = [axes.collections[0].get_offsets().data.mean(0) for axes in (data, latent, base, drawn)]
    for found, expected in zip(centre, ((1, -1), (0, 0), (0, 0), (1, -1)), strict=True):
        assert found.tolist() == pytest.approx(expected, abs=0.15)


def test_samples_are_coloured_by_label_or_stand_beside_data():
    moons = pf.data.two_moons(200)
    (axes,) = panels_of(pf.plots.samples(moons.x, moons.labels))
    assert len({tuple(colour) for colour in axes.collections[0].get_facecolors().tolist()}) == 2
    left, right = panels_of(pf.plots.samples(moons.x, beside=moons.x + 1))
    assert (left.get_title(), right.get_title()) == ("data", "samples")
    assert left.get_xlim() == right.get_xlim()


def test_images_lie_in_rows_with_names():
    x = torch.arange(6 * 4).float().reshape(6, 4)
    (axes,) = panels_of(pf.plots.images(x, across=3, names=["one", "two"]))
    sheet = axes.get_images()[0].get_array()
    assert sheet.shape == (5, 8)
    assert sheet[3:, :2].flatten().tolist() == x[3].tolist()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert pf.plots.images(torch.zeros(2, 6), (2, 3), across=1).axes[0].get_images()[0].get_array().shape == (5, 3)


def test_a_figure_shows_itself_in_a_notebook(flow):
    for figure in (pf.plots.log_density(flow, grid=5), pf.plots.images(torch.rand(3, 4))):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_two_columns_of_one_unit_are_drawn_to_one_scale_others_are_not():
    x = torch.randn(100, 2)
    assert {axes.get_aspect() for axes in pf.plots.plane(x, x, ["a", "b"]).axes} == {1.0}
    wide = x * torch.tensor([1.0, 1000.0])
    assert {axes.get_aspect() for axes in pf.plots.plane(wide, wide, ["a", "b"]).axes} == {"auto"}


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: pf.plots.samples(torch.zeros(5, 3)),
            "x must be points of the plane, of shape (n, 2); got shape (5, 3)",
        ),
        (
            lambda: pf.plots.samples(torch.zeros(5, 2), torch.zeros(4)),
            "labels must be one integer for each of 5",
        ),
        (lambda: pf.plots.log_density(torch.zeros(5)), "density must have log_prob and sample"),
        (lambda: pf.plots.log_density(pf.recipes.nice(3)), "flow must be a flow of two features; got"),
        (lambda: pf.plots.log_density(pf.recipes.nice(2), window=(1, 0, 0, 1)), "window must be (left, right, bottom"),
        (lambda: pf.plots.log_density(pf.recipes.nice(2), window=3), "window must be (left, right, bottom, top)"),
        (lambda: pf.plots.log_density(pf.recipes.nice(2), grid=1), "grid must be"),
        (
            lambda: pf.plots.samples(torch.zeros(0, 2)),
            "x must be points of the plane, of shape (n, 2); got shape (0, 2)",
        ),
        (lambda: pf.plots.samples(torch.full((3, 2), torch.nan)), "x must be finite to be drawn; 3 rows are not"),
        (lambda: pf.plots.samples(torch.zeros(5, 2), torch.zeros(5)), "labels must be one integer for each"),
        (lambda: pf.plots.log_density(pf.recipes.nice(2), window="abcd"), "window must be (left, right, bottom, top)"),
        (lambda: pf.plots.steps(pf.recipes.nice(2), reach=0), "reach must be"),
        (lambda: pf.plots.steps(pf.recipes.nice(2), reach="3"), "reach must be"),
        (lambda: pf.plots.panels(pf.recipes.nice(2), torch.zeros(4, 2), seed=1.5), "seed must be"),
        (lambda: pf.plots.images(torch.zeros(2, 4), (1, 2, 2)), "shape must be (H, W)"),
        (lambda: pf.plots.images(torch.full((2, 4), torch.nan)), "x must be finite pixels"),
        (lambda: pf.plots.steps(pf.recipes.nice(3)), "flow must be a flow of two features; got"),
        (lambda: pf.plots.panels(pf.recipes.nice(2), torch.zeros(4)), "x must be points of the plane"),
        (lambda: pf.plots.images(torch.zeros(4)), "x must be images as rows of pixels"),
        (lambda: pf.plots.images(torch.zeros(2, 5)), "shape must be (H, W) with H x W = 5 pixels; got square images"),
        (lambda: pf.plots.images(torch.zeros(2, 4), names=["a", "b"]), "names must be one for each of 1 rows; got 2"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, message):
    with pytest.raises(InputError, match=re.escape(message)):
        draw()


def test_densities_share_one_scale_and_one_window(flow):
    figure = pf.plots.densities({"flow": flow, "moons": pf.data.two_moons(2).density}, window=(-2, 4, -4, 2), grid=41)
    images = [axes.get_images()[0] for axes in panels_of(figure)]
    assert [axes.get_title() for axes in panels_of(figure)] == ["flow", "moons"]
    assert {image.get_clim() for image in images} == {images[0].get_clim()}
    top = max(image.get_array().max() for image in images)
    assert images[0].get_clim() == (pytest.approx(top - 10), pytest.approx(top))
    assert {tuple(image.get_extent()) for image in images} == {(-2, 4, -4, 2)}
    row, column = divmod(int(images[0].get_array().argmax()), 41)  # the flow's mode, (1, -1), in the middle
    assert (row, column) == (20, 20)


def test_densities_wrap_into_rows_and_name_what_is_wrong(flow):
    assert len(panels_of(pf.plots.densities({str(k): flow for k in range(3)}, grid=5, across=2))) == 3
    for wrong in ({}, flow, [flow]):
        with pytest.raises(InputError, match="named must be densities by title"):
            pf.plots.densities(wrong)


def test_samples_name_both_panels_and_the_axes():
    x = torch.rand(20, 2)
    figure = pf.plots.samples(x, beside=x, title="prior", beside_title="posterior", names=("a", "b"))
    assert [axes.get_title() for axes in figure.axes] == ["posterior", "prior"]
    assert {(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes} == {("a", "b")}


def test_codes_with_a_gradient_are_drawn(flow):
    codes = torch.rand(20, 2, requires_grad=True) * 2
    figure = pf.plots.pairs(codes, codes, ["z1", "z2"], who=("codes", "draws"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["codes", "draws"]
    assert pf.plots.plane(codes, codes, ["z1", "z2"], flow).axes
