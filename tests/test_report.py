"""The report: one file that needs nothing else, and the pictures in it."""

import base64
import html.parser
import re

import numpy as np
import polars as pl
import pytest
import torch
from matplotlib.figure import Figure

import pushforward as pf
from pushforward.report import plots
from pushforward.report.plots.canvas import limits
from pushforward.report.table_report import describe
from pushforward.report.wording import number, seconds

EVIL = '<b>&"$x'


@pytest.fixture(scope="module")
def model():
    values = np.random.default_rng(0).normal(size=(200, 3))
    frame = pl.DataFrame(values, schema=[EVIL, "weight", "age"]).with_columns(pl.col("age").round())
    return pf.TableModel.fit(frame, recipe="realnvp", max_seconds=0.5, progress=False, notify=lambda warning: None)


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    model.summary["command"] = "pushforward fit t.csv"
    path = tmp_path_factory.mktemp("report") / "report.html"
    model.report(path)
    return path.read_text()


class Reader(html.parser.HTMLParser):
    """Collects tags and text, and checks that tags are closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text, self.open = [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_report_needs_no_other_file(read, page):
    assert read.addresses
    assert all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not {"script", "link", "iframe"} & set(read.tags)
    assert "url(" not in page


def test_every_picture_is_a_png(read):
    for address in read.addresses:
        assert base64.b64decode(address.split(",")[1]).startswith(b"\x89PNG\r\n")


def test_names_from_the_data_are_text_not_markup(read):
    assert EVIL in read.text
    assert "b" not in read.tags[read.tags.index("dl") :]


def test_the_report_says_what_was_fitted_how_well_and_what_to_doubt(read, model):
    text = re.sub(r"\s+", " ", read.text)
    nll = model.evaluate().nll
    for expected in (
        f"{nll.mean:.3f} ± {nll.standard_error:.3f}",
        "160 for training, 20 for validation, 20 held out",
        "Coupling of Affine",
        f"{sum(p.numel() for p in model.flow.parameters()):,} parameters",
        "pushforward fit t.csv",
        "Few distinct values in",
        "Invertibility in float32",
        "nulls by simulation",
        *model.baselines(),
    ):
        assert expected in text, expected


def test_the_exact_entropy_and_the_excess_are_there_where_the_truth_is_known(tmp_path):
    toy = pf.data.two_blobs(300)
    model = pf.TableModel.fit(toy.x, truth=toy.density, recipe="realnvp", max_seconds=0.3, progress=False)
    model.report(tmp_path / "report.html")
    page, excess = (tmp_path / "report.html").read_text(), model.evaluate().excess
    assert f"{toy.density.entropy():.4f}" in page
    # In units of the training columns' own standard deviations it is the entropy of the standardized law.
    cells = re.search(r"<td>exact entropy</td>(.*?)</tr>", page).group(1)
    z_scored = float(re.findall(r"<td>([^<]*)</td>", cells)[-1].replace("−", "-"))
    assert z_scored == pytest.approx(pf.data.two_blobs(300, standardize=True).density.entropy(), abs=0.1)
    assert f"{excess.mean:.4f} ± {excess.standard_error:.4f}" in page
    assert "density of the flow" not in page  # it is in the picture


def test_writing_replaces_the_file_and_leaves_no_other(model, tmp_path, undrawn):
    path = tmp_path / "report.html"
    path.write_text("old")
    model.report(path)
    assert path.read_text().startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_outliers_do_not_decide_the_limits_of_a_picture():
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[0] = 1e30
    [(low, high)] = limits(x)
    assert -5 < low < -2
    assert 2 < high < 5


def test_limits_of_a_column_that_is_constant_but_for_an_outlier_span_it():
    x = torch.zeros(1000, 1, dtype=torch.float64)
    x[0] = 1.0
    [(low, high)] = limits(x)
    assert low < high


@pytest.mark.parametrize("num_columns", [1, 3, 9])
def test_pairs_draws_at_most_six_columns(num_columns):
    x = torch.randn(50, num_columns, dtype=torch.float64)
    figure = plots.pairs(x, x, [f"column {k}" for k in range(num_columns)])
    assert isinstance(figure, Figure)
    assert len(figure.axes) == min(num_columns, 6) ** 2
    assert [text.get_text() for text in figure.legends[0].texts] == ["data", "samples"]  # held out only with test > 0


def test_the_plane_shows_the_density_of_a_flow_as_a_third_panel():
    x = torch.randn(50, 2, dtype=torch.float64)
    assert len(plots.plane(x, x, ["a", "b"]).axes) == 2
    panels = plots.plane(x, x, ["a", "b"], pf.recipes.realnvp(2)).axes
    assert len(panels) == 3
    picture = panels[2].images[0].get_array()
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    left, right, bottom, top = panels[2].images[0].get_extent()
    # A new flow is N(0, I): the brightest point is the origin.
    assert abs(left + (column + 0.5) / 200 * (right - left)) < 0.05
    assert abs(bottom + (row + 0.5) / 200 * (top - bottom)) < 0.05


def test_learning_curves_of_a_run_without_validation_can_be_drawn():
    flow = pf.recipes.realnvp(2, num_layers=1)
    history = pf.fit(flow, torch.randn(50, 2), num_steps=5, validation=None, progress=False)
    axes, _ = plots.history(history).axes
    assert [line.get_label() for line in axes.lines] == ["training", "weights kept"]


def test_a_flow_is_described_by_its_layers():
    flow = pf.recipes.nsf(4, num_layers=3, mixing="lu", preprocessing=[pf.transforms.Asinh(4)])
    text = describe(flow)
    assert text == "Asinh, then 3 × Coupling of RationalQuadratic, 2 × LULinear; base StandardNormal"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.23456, "1.235"), (0.0, "0.000"), (2.5e-7, "2.5e-07"), (1e30, "1.0e+30"), (float("nan"), "nan")],
)
def test_numbers_stay_readable(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (60.0, "1 min 0 s"),
        (119.7, "2 min 0 s"),
        (125.0, "2 min 5 s"),
    ],
)
def test_seconds_become_minutes_and_sixty_of_them_a_minute(value, text):
    assert seconds(value) == text
