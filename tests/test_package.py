"""The package from outside: its public names, what loading a part of it loads, and the size of its files."""

import ast
import inspect
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

import pushforward as pf

SOURCE = Path(str(files("pushforward")))
MODULES = sorted(name for name in dir(pf) if isinstance(getattr(pf, name), ModuleType))


def test_the_stub_names_what_the_package_offers():
    stub = ast.parse((SOURCE / "__init__.pyi").read_text())
    named = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named == set(dir(pf))
    assert (SOURCE / "py.typed").exists()


def test_the_stub_takes_each_name_from_where_the_package_takes_it():
    for node in ast.parse((SOURCE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if isinstance(getattr(pf, alias.name), ModuleType):
                    assert getattr(pf, alias.name).__name__ == f"{node.module}.{alias.name}"
                else:
                    assert node.module == pf._NAMES[alias.name]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_lists_what_it_offers(name):
    module = getattr(pf, name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{public} has no docstring"


def loaded_by(code: str) -> set[str]:
    """Return the rooms that a fresh interpreter has loaded after this code."""
    code += "\nimport sys; print(*{name.split('.')[1] for name in sys.modules if name.startswith('pushforward.')})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_training_loads_neither_recipes_nor_autoencoders_nor_tables():
    loaded = loaded_by("import pushforward as pf\npf.fit, pf.Flow, pf.losses.elbo")
    assert "training" in loaded
    assert not loaded & {"recipes", "vae", "model_file", "metrics", "data", "tables", "report", "studies", "cli"}


def test_the_package_alone_loads_no_room():
    assert loaded_by("import pushforward") == set()


def test_no_source_file_is_longer_than_300_lines():
    long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert not long
