"""Networks over rows of cells: laws that sum to one, an order that is kept, draws that follow what is scored."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import pushforward as pf
from pushforward.losses import Batch
from pushforward.rows import RowDensity, RowJoint, RowQuestions, joint_nll, question_nll
from pushforward.rows.cells import Places, split
from pushforward.rows.heads import Heads, _pick, mixture_cdf, mixture_log_prob

CODES, NUMBERS = [1, 3, 4, 100, 2], [True, False, True, False, True]
PLACES = [Places(-6, 6), Places(), Places(-6, 6, (-1.0, 0.5, 2.0)), Places(), Places(-6, 6, (0.0,))]


def wild(model):
    """Return the model with weights at random, so that nothing is zero."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def joint(**options):
    return wild(RowJoint(CODES, NUMBERS, width=40, components=3, **options))


def questions(**options):
    return wild(RowQuestions(CODES, NUMBERS, width=40, components=3, **options))


def rows(n=50, half=0.0):
    generator = torch.Generator().manual_seed(1)
    code = torch.stack([torch.randint(size, (n,), generator=generator) for size in CODES], 1)
    z = torch.randn(n, 5, generator=generator)
    return torch.cat((code.float(), z, torch.full((n, 5), half)), 1)


def with_cell(cells, column, code=None, z=None):
    cells = cells.clone()
    if code is not None:
        cells[:, column] = code
    if z is not None:
        cells[:, 5 + column] = z
    return cells


@pytest.mark.parametrize("half", [0.0, 1e-6, 0.01, 0.5, 3.0])
def test_a_mixture_is_a_density_and_a_cell_the_difference_of_its_cdf(half):
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(30, 3, 4, generator=generator, dtype=torch.float64)
    z = torch.randn(30, generator=generator, dtype=torch.float64) * 3
    found = mixture_log_prob(mixture, z, torch.full_like(z, half)).exp()
    step = half or 1e-6
    low, high = mixture_cdf(mixture, torch.stack((z - step, z + step), 1)).unbind(1)
    torch.testing.assert_close(found, high - low if half else (high - low) / (2 * step), rtol=1e-5, atol=1e-9)


def test_a_narrow_cell_is_its_density_times_its_width_in_float32():
    mixture, z = torch.randn(20, 3, 4), torch.randn(20)
    density = mixture_log_prob(mixture, z, torch.zeros(20))
    cell = mixture_log_prob(mixture, z, torch.full((20,), 1e-7))
    torch.testing.assert_close(cell, density + math.log(2e-7), rtol=0, atol=1e-4)


@pytest.mark.parametrize("column", [1, 3])
def test_probabilities_of_a_category_sum_to_one(column):
    model, cells = joint(), rows()
    total = sum(model.cells_log_prob(with_cell(cells, column, code))[:, column].exp() for code in range(CODES[column]))
    torch.testing.assert_close(total, torch.ones(50))
    model = questions()
    given = [d for d in range(5) if d != column]
    total = sum(model.log_prob(with_cell(cells, column, code), given).exp() for code in range(CODES[column]))
    torch.testing.assert_close(total, torch.ones(50))


def test_a_column_of_atoms_and_numbers_has_mass_one():
    model, cells = joint(), rows(4)
    atoms = sum(model.cells_log_prob(with_cell(cells, 2, code))[:, 2].exp() for code in range(3))
    z = torch.linspace(-40, 40, 20_001)
    numbers = torch.stack([
        model.cells_log_prob(with_cell(cells[k : k + 1].expand(len(z), -1), 2, 3, z))[:, 2].exp().sum() * (z[1] - z[0])
        for k in range(4)
    ])  # fmt: skip
    torch.testing.assert_close(atoms + numbers, torch.ones(4), rtol=0, atol=1e-3)


def test_cells_of_a_stepped_column_have_mass_one_though_atoms_lie_among_them():
    """A number that falls into an atom's cell is that atom's value: each value has both ways."""
    heads = Heads([3], [True], 4)
    params, step = torch.randn(1, heads.num_params), 0.5
    centres = torch.arange(-60, 61) * step
    code = torch.full((121, 1), 2)
    code[60], code[62] = 0, 1  # the atoms stand at 0 and 1
    found = heads.log_prob(params.expand(121, -1), code, centres[:, None], torch.full((121, 1), step / 2))
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"num_context": 2}, {"marked": [1, 4]}])
def test_a_joint_keeps_its_order(options):
    model, cells = joint(**options), rows()
    before = model.cells_log_prob(cells)
    for column in range(5):
        changed = with_cell(cells, column, (cells[:, column] + 1) % CODES[column], cells[:, 5 + column] + 1)
        after = model.cells_log_prob(changed)
        torch.testing.assert_close(after[:, :column], before[:, :column])
    assert (before[:, : options.get("num_context", 0)] == 0).all()
    torch.testing.assert_close(model.log_prob(cells), before.sum(1))


def test_missing_cells_are_no_part_of_the_event():
    cells = with_cell(rows(), 3, -1)
    for model in (joint(), joint(marked=[3])):
        assert (model.cells_log_prob(cells)[:, 3] == 0).all()
        elsewhere = with_cell(cells, 3, -1, 7.0)
        torch.testing.assert_close(model.log_prob(elsewhere), model.log_prob(cells))
    torch.testing.assert_close(questions().log_prob(with_cell(cells, 3, -1, 7.0)), questions().log_prob(cells))


@pytest.mark.parametrize("options", [{}, {"num_context": 2}, {"marked": [1, 4]}])
def test_draws_follow_the_law_that_is_scored(options):
    """Column by column, the laws from which a row is drawn are those by which it is scored in one pass."""
    model, cells = joint(**options), rows(3)
    code, z = model.draw(cells[:1].expand(5_000, -1), PLACES, complete=True, generator=torch.Generator().manual_seed(2))
    first = options.get("num_context", 0)
    if first:
        assert (code[:, :first] == cells[0, :first].long()).all()
    drawn = torch.cat((code.float(), z, torch.zeros_like(z)), 1)
    for column in (1, 2):
        if column < first:
            continue
        expected = torch.zeros(CODES[column])
        for one in range(CODES[column] - NUMBERS[column]):
            expected[one] = model.cells_log_prob(with_cell(drawn, column, one))[:, column].exp().mean()
        if NUMBERS[column]:
            expected[-1] = 1 - expected.sum()
        found = torch.bincount(code[:, column], minlength=CODES[column]) / 5_000
        torch.testing.assert_close(found, expected, rtol=0, atol=0.03)
    assert {round(value, 4) for value in z[code[:, 2] == 1, 2].tolist()} == {0.5}  # an atom lies at its place


def test_marks_are_drawn_and_marked_cells_are_not():
    model = joint(marked=[1, 4])
    code, _ = model.draw(torch.zeros(5000, 15), PLACES, generator=torch.Generator().manual_seed(2))
    gone = (code < 0).float().mean(0)
    assert (gone[[0, 2, 3]] == 0).all()
    assert ((gone[[1, 4]] > 0.1) & (gone[[1, 4]] < 0.9)).all()
    code, _ = model.draw(torch.zeros(500, 15), PLACES, complete=True)
    assert (code >= 0).all()


def test_questions_fill_what_is_missing_and_nothing_else():
    model, cells = questions(num_context=1), with_cell(rows(), 2, -1)
    cells[:10, 0], cells[:20, 4] = -1, -1
    filled, log_prob = model.fill(cells, PLACES, generator=torch.Generator().manual_seed(2))
    code, z, _ = split(filled)
    there = cells[:, :5] >= 0
    assert (code[there] == cells[:, :5].long()[there]).all()
    assert (z[there] == cells[:, 5:10][there]).all()
    assert (code[:, 1:] >= 0).all()
    assert (code[:10, 0] == -1).all()  # context stays missing


def test_what_is_given_and_what_is_asked_make_a_chain():
    model, cells = questions(), rows()
    whole = model.log_prob(cells)
    torch.testing.assert_close(model.log_prob(cells, [0, 1, 2, 3, 4]), torch.zeros(50))
    first = whole - model.log_prob(cells, [0])
    alone = with_cell(with_cell(with_cell(with_cell(cells, 1, -1), 2, -1), 3, -1), 4, -1)
    torch.testing.assert_close(first, model.log_prob(alone), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("model", "loss"), [(RowJoint, joint_nll), (RowQuestions, question_nll)])
def test_a_run_begins_with_the_shares_of_codes_and_learns_them(model, loss):
    cells = with_cell(rows(500), 1, torch.tensor([0.0] * 400 + [2.0] * 100))
    made = model(CODES, NUMBERS, width=32)
    history = pf.fit(made, cells, loss=loss, num_steps=5, learning_rate=1e-6, progress=False)
    share = made.eval().network
    logits = share.last.bias[share.heads.params_of(1)[0]].softmax(0)
    np.testing.assert_allclose(logits.detach(), [0.8, 0.0, 0.2], atol=0.02)
    assert history.steps == 5


def test_the_loss_of_questions_estimates_the_likelihood():
    model, cells = questions(), rows(200)
    chain = -model.log_prob(cells).mean()
    model.train()
    batch = Batch(cells.repeat(50, 1), None, None, 10_000)
    with torch.no_grad():
        found = question_nll(model, batch, torch.Generator().manual_seed(0)).mean()
    assert abs(found - chain) / abs(chain) < 0.1  # orders differ a little in an untrained network


def test_a_density_comes_back_from_a_file(tmp_path):
    model = RowDensity(joint(marked=[1], num_context=1), questions(num_context=1)).eval()
    pf.save(model, tmp_path / "m.safetensors")
    again = pf.load(tmp_path / "m.safetensors", kind=RowDensity)
    assert torch.equal(again.joint.log_prob(rows()), model.joint.log_prob(rows()))
    assert torch.equal(again.questions.log_prob(rows(), [2]), model.questions.log_prob(rows(), [2]))
    with pytest.raises(
        pf.InputError, match=r"holds a RowDensity, not a Flow \(in Python: pf.TableModel.load\(path\)\)"
    ):
        pf.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("codes", "numbers"), [([3, 4], [False, False]), ([300, 2, 1], [False, False, True]), ([1], [True])]
)
def test_what_a_masked_layer_leaves_out_was_multiplied_by_zero(codes, numbers):
    network = wild(RowJoint(codes, numbers, width=200, components=3)).network
    x = torch.randn(5, 200)
    for layer, mask in ((network.blocks[0].first, "block"), (network.last, "last")):
        plain = functional.linear(x, layer.weight * getattr(network, f"mask_{mask}"), layer.bias)
        assert torch.allclose(network._linear(layer, mask, x), plain, atol=1e-5)


def test_one_of_many_is_drawn_by_its_weight():
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0]]).expand(40_000, 5)
    share = torch.bincount(_pick(weights, torch.Generator().manual_seed(0)), minlength=5) / 40_000
    assert share[[0, 2, 4]].tolist() == [0, 0, 0]
    assert abs(share[1] - 0.25) < 0.01
    with pytest.raises(pf.RunError, match="not finite"):
        _pick(torch.tensor([[1.0, torch.nan]]), None)
