"""The house is described once: the list of rooms that is checked, the page about them and its picture agree."""

import importlib.util
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "pushforward"
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def drawing():
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checked_rooms() -> list[str]:
    """Return the rooms in the import linter's list, top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    house = next(contract for contract in contracts if contract["containers"] == ["pushforward"])
    assert house["exhaustive"]
    return [room.strip() for layer in house["layers"] for room in layer.split("|")]


def test_the_page_lists_the_rooms_that_are_checked_in_their_order():
    assert [name for name, _ in drawing().rooms(PAGE)] == checked_rooms()


def test_every_folder_and_file_of_the_package_is_a_room():
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__"} == set(checked_rooms())


def test_the_picture_is_drawn_from_the_page():
    assert (ROOT / "docs" / "architecture.svg").read_text() == drawing().drawing(PAGE), "python docs/draw_rooms.py"


def test_what_the_page_and_the_contributors_guide_name_is_there():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    assert "docs/architecture.md" in guide
    for text in (PAGE, guide):
        for named in re.findall(r"`([a-z_/0-9]+\.(?:py|md|toml|svg))`", text):
            assert (ROOT / named).exists() or list(SOURCE.glob(f"**/{named}")), named


def test_the_contributors_guide_leaves_the_description_of_the_house_to_the_page():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    assert not drawing().rooms(guide)
