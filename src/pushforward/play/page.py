"""What the page has to know about its controls."""

from typing import Any

from pushforward.data import TOYS
from pushforward.play.lessons import LESSONS
from pushforward.play.points import own_noise
from pushforward.play.settings import CHOICES, DRAWN_UNIT, MOST_DRAWN, RANGES, RECIPES, Settings

RECIPES_WITH: dict[str, tuple[str, ...]] = {
    "layers": RECIPES[:7],
    "width": (*RECIPES[:4], *RECIPES[7:]),
    "activation": (*RECIPES[:4], *RECIPES[7:]),
    "log_scale": ("realnvp", "maf"),
    "mixing": RECIPES[:4],
}


def catalogue() -> dict[str, Any]:
    """Return the settings at first, their choices and ranges, and which of them each recipe and each density has."""
    return {
        "first": {name: getattr(Settings, name) for name in Settings.__dataclass_fields__},
        "choices": CHOICES,
        "ranges": RANGES,
        "recipes_with": RECIPES_WITH,
        "own_noise": {name: own_noise(name) for name in TOYS if own_noise(name) is not None},
        "toys": list(TOYS),
        "lessons": {name: lesson.described() for name, lesson in LESSONS.items()},
        "drawn": {"most": MOST_DRAWN, "unit": DRAWN_UNIT},
    }
