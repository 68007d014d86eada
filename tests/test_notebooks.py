"""The notebooks convert, exercises hold no solution, every solution has its gap, and only public names are used."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import pushforward as pf

FOLDER = Path(__file__).parent.parent / "notebooks"


def loaded(name):
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


build = loaded("build")
SOURCES = [pytest.param(path, id=path.stem) for path in build.sources()]


def test_there_is_a_notebook_for_each_source_text():
    assert len(SOURCES) == 5


@pytest.mark.parametrize("source", SOURCES)
def test_exercises_hold_gaps_and_no_solution(source):
    whole = build.read(source)
    exercise, solved = build.without(whole, "solution"), build.without(whole, "exercise")
    gaps = [cell for cell in exercise.cells if "exercise" in build.tags(cell)]
    solutions = [cell for cell in solved.cells if "solution" in build.tags(cell)]
    assert len(gaps) == len(solutions) > 5
    assert not any("solution" in build.tags(cell) for cell in exercise.cells)
    assert not any("exercise" in build.tags(cell) for cell in solved.cells)
    text = build.exercise(source)
    for solution in solutions:
        longest = max(solution.source.splitlines(), key=len)
        assert any(longest in gap.source for gap in gaps) or longest not in text


@pytest.mark.parametrize("source", SOURCES)
def test_every_gap_in_code_is_checked_and_every_code_cell_compiles(source):
    cells = [cell for cell in build.read(source).cells if cell.cell_type == "code"]
    for cell in cells:
        ast.parse(cell.source)
        if "exercise" in build.tags(cell):
            assert "NotImplementedError" in cell.source or "..." in cell.source
        assert ("check" in build.tags(cell)) == cell.source.startswith("@check")
    assert sum("check" in build.tags(cell) for cell in cells) > 5


@pytest.mark.parametrize("source", SOURCES)
def test_a_notebook_stands_alone(source):
    built = build.exercise(source)
    assert "def check(" in built
    assert "opening" not in built


@pytest.mark.parametrize("source", SOURCES)
def test_the_exercise_in_the_repository_is_the_one_that_is_built(source):
    built = FOLDER / "exercises" / f"{source.stem}.ipynb"
    assert built.read_text() == build.exercise(source), "run: python notebooks/build.py --exercises"


def test_a_solution_without_its_gap_is_refused(tmp_path):
    for text in ('# %% tags=["solution"]\nx = 1\n', '# %% tags=["exercise"]\nx = ...\n\n# %%\nx = 1\n'):
        (tmp_path / "1.py").write_text(text)
        with pytest.raises(ValueError, match="a gap and its solution must be neighbours"):
            build.read(tmp_path / "1.py")


def public(module):
    return getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]


@pytest.mark.parametrize("source", SOURCES)
def test_only_public_names_are_used(source):
    code = "\n\n".join(cell.source for cell in build.read(source).cells if cell.cell_type == "code")
    used = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pushforward"):
            module = importlib.import_module(node.module)
            assert node.module == "pushforward.transforms"
            assert {alias.name for alias in node.names} <= set(public(module))
        if isinstance(node, ast.Attribute):
            assert not (node.attr.startswith("_") and not node.attr.startswith("__")), node.attr
            path = ast.unparse(node)
            if re.fullmatch(r"pf\.[\w.]+", path):
                used.add(path)
    assert len(used) > 10
    for path in used:
        found = pf
        for name in path.split(".")[1:]:
            if isinstance(found, ModuleType):
                assert name in public(found), path
            found = getattr(found, name)


def test_a_check_says_in_words_what_is_right_and_what_is_not(capsys):
    check = loaded("opening").check

    def said(answer):
        def test():
            """it is so."""
            return answer()

        check(test)
        return capsys.readouterr().out.strip()

    def raising(error):
        raise error

    assert said(lambda: None) == "Right: it is so."
    assert said(lambda: "twice too large") == "Not yet: twice too large"
    assert said(lambda: raising(NotImplementedError())) == "Not yet: there is still a gap to fill above."
    assert said(lambda: torch.nn.Module().register_buffer("a", ...)) == "Not yet: there is still a gap to fill above."
    assert said(lambda: flow).startswith("Not yet: run the cells above first, or fill their gaps (name 'flow'")  # noqa: F821
    assert said(lambda: raising(ValueError("no"))) == "Not yet: ValueError: no"

    class Unfilled(pf.transforms.Transform):
        def forward(self, x, context=None):
            raise NotImplementedError

        inverse = forward

    assert said(lambda: pf.verify(Unfilled(), torch.randn(3, 2))) == "Not yet: there is still a gap to fill above."
    assert said(lambda: pf.verify(pf.transforms.Scale(2.0), torch.randn(3, 2))) == "Right: it is so."
