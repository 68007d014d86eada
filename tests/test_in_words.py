"""What people see of an object: printed, and in a notebook."""

from html.parser import HTMLParser

import polars as pl
import pytest
import torch

import pushforward as pf
from pushforward.display import curves, table
from pushforward.losses import Batch
from pushforward.training.notebook_bar import NotebookBar
from zoo import TRANSFORMS

MADE = {
    "nice": {}, "realnvp": {}, "maf": {}, "iaf": {}, "nsf": {}, "planar": {}, "cnf": {},
}  # fmt: skip


class Balanced(HTMLParser):
    """Checks that tags are closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_says_what_it_is_in_one_line(name):
    specimen = TRANSFORMS[name]()
    text = repr(specimen.transform)
    assert "\n" not in text
    assert " at 0x" not in text
    assert text.startswith(type(specimen.transform).__name__)
    flow = pf.Flow(specimen.transform, pf.bases.StandardNormal(specimen.x.shape[-1]))
    assert " at 0x" not in repr(flow)
    Balanced(flow._repr_html_())


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("context_features", [0, 2])
def test_every_recipe_prints_its_steps_with_sizes_and_parameters(name, context_features):
    flow = pf.recipes.RECIPES[name](4, context_features=context_features)
    first, *lines = repr(flow).splitlines()
    count = sum(parameter.numel() for parameter in flow.parameters())
    given = f" given {context_features} of context" if context_features else ""
    assert first == f"Flow of 4 features{given}, {count:,} parameters, data to latent:"
    assert lines[-1].split() == ["base", "StandardNormal(4)"]
    assert max(map(len, lines)) <= 120
    assert any(line.split()[0] in ("layer", "layers") for line in lines)


def test_a_flow_names_family_mask_conditioner_preprocessing_and_folds_equal_layers():
    layer = lambda: pf.transforms.Coupling(  # noqa: E731
        [True, True, False, False, False], pf.transforms.Affine(), pf.nets.MLP(2, 6, hidden_features=(7,))
    )
    steps = pf.transforms.Compose([layer(), layer(), pf.transforms.LULinear(5)])
    flow = pf.Flow(steps, pf.bases.StandardNormal(5), [pf.transforms.Standardize(5)])
    lines = repr(flow).splitlines()
    assert lines[1].split() == ["preprocessing", "Standardize(5)"]
    assert lines[2] == (
        "  layers 1 to 2  69 each  Coupling(mask=first 2 of 5, Affine(), MLP(2, 6, hidden_features=(7,)))"
    )
    assert lines[3].split() == ["layer", "3", "60", "LULinear(5)"]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([True, False, False], "first 1 of 3"),
        ([False, True, True], "last 2 of 3"),
        ([True, False, True, False], "every other of 4"),
        ([False, True, False, True], "every other of 4"),
        ([True, False, False, True], "2 of 4"),
    ],
)
def test_masks_are_told_in_words(mask, words):
    kept = sum(mask)
    coupling = pf.transforms.Coupling(mask, pf.transforms.Additive(), pf.nets.MLP(kept, len(mask) - kept))
    assert f"mask={words}," in repr(coupling)


def test_a_users_own_transform_prints_by_its_name():
    class Mine(pf.transforms.Transform):
        features = 2

        def forward(self, x, context=None):
            return x, x.sum(-1) * 0

        def inverse(self, y, context=None):
            return y, y.sum(-1) * 0

    assert "layer 1    Mine" in repr(pf.Flow(pf.transforms.Compose([Mine()]), pf.bases.StandardNormal(2)))


@pytest.fixture(scope="module")
def trained():
    data = pf.data.two_moons(300)
    flow = pf.recipes.realnvp(2, num_layers=2)
    history = pf.fit(flow, data.x, num_steps=40, progress=False)
    return flow, data, history


def test_a_history_prints_how_the_run_ended(trained):
    history = trained[2]
    text = repr(history)
    assert text.startswith(f"History(40 of 40 steps by {history.steps_by} in ")
    assert f"train {history.rows[-1]['train_loss']:.4f}; validation {history.best_validation:.4f} at step" in text
    html = history._repr_html_()
    Balanced(html)
    assert html.count("<polyline") == 2
    assert "loss (nats) against step" in html


def test_results_are_short_in_print_and_tables_in_a_notebook(trained):
    flow, data, _ = trained
    results = [
        pf.verify(flow, data.x[:20]), pf.metrics.nll(flow, data.x), pf.metrics.latent_normality(flow.encode(data.x)),
        flow,
    ]  # fmt: skip
    for result in results:
        assert len(repr(result).splitlines()) <= 12
        assert "tensor(" not in repr(result)
        assert Balanced(result._repr_html_()).words


def test_data_and_steps_print_shapes_not_numbers(trained):
    flow, data, _ = trained
    assert repr(data) == "ToyData(x=<float32 (300, 2)>, labels=<int64 (300,)>, density=NoisyCurves(noise=0.1, power=1))"
    standardized = pf.data.two_moons(300, standardize=True).density
    assert repr(standardized).startswith("Standardized(raw=NoisyCurves(noise=0.1, power=1)")
    batch = Batch(data.x, None, None, 300)
    assert repr(batch) == "Batch(x=<float32 (300, 2)>, context=None, weight=None, size=300)"
    for shown in (flow.steps(data.x)[0], pf.latent_path(flow, data.x[0], data.x[1])):
        assert "tensor(" not in repr(shown)
    for toy in pf.data.TOYS.values():
        assert " at 0x" not in repr(toy(5))


def test_names_of_columns_are_escaped():
    frame = pl.DataFrame({"<b>bold</b>": torch.randn(60).numpy(), "b": torch.randn(60).numpy()})
    model = pf.TableModel.fit(frame, recipe="nice", num_steps=2, progress=False)
    html = model._repr_html_()
    Balanced(html)
    assert "&lt;b&gt;bold" in html
    assert "<b>" not in html


def test_a_table_sets_columns_of_numbers_at_the_right():
    html = table("Title & more", [("a", 1.5, "x"), ("b", "", "y")], ("name", "value", "word"))
    Balanced(html)
    assert "Title &amp; more" in html
    assert html.count("text-align:right") == 3
    assert html.count("text-align:left") == 6


def test_a_curve_without_two_finite_points_is_left_out():
    assert curves({"a": ([1.0, 2.0], [float("nan"), 3.0])}, "step", "loss") == ""
    svg = curves({"a": ([1.0, 2.0, 3.0], [1.0, float("inf"), 3.0]), "b": ([1.0], [1.0])}, "step", "loss")
    assert svg.count("<polyline") == 1
    Balanced(svg)


def test_the_bar_of_a_notebook_is_drawn_over_itself():
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html)

    bar = NotebookBar(lambda html, display_id: shown.append(html) or Handle(), str)
    bar._drawn -= 1
    bar.update(5, 10)
    bar.note("the rate was <halved>")
    bar.report({"step": 10, "train_loss": 1.5, "validation_loss": None}, 10, 320)
    bar.close()
    assert len(shown) == 4
    assert 'value="0.500"' in shown[1]
    assert "&lt;halved&gt;" in shown[2]
    assert "step 10 of 10" in shown[-1]
    assert "train 1.5000 nats" in shown[-1]
    assert "s left" not in shown[-1]


def test_layers_that_are_left_out_are_the_identity():
    flow = pf.recipes.auto(torch.randn(200, 2)).from_base(1)
    assert "layers 1 to 3" in repr(flow)
    assert "the identity" in repr(flow)
