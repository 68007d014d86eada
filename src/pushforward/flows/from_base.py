"""The part of a flow's transform that is nearest the base."""

from pushforward.errors import require_count
from pushforward.transforms.base import Compose, Transform
from pushforward.transforms.module_structure import is_learned


def nearest_base(transform: Transform, num_layers: int) -> Compose:
    """Return the transform with its last `num_layers` learned steps; of the others their fixed mixing.

    Raises:
        InputError: If there are not that many learned steps.
    """
    sequence = transform.in_sequence()
    steps = [step for _, step in sequence]
    learned = [position for position, step in enumerate(steps) if is_learned(step)]
    num_layers = require_count("num_layers, of the learned steps,", num_layers, 0, len(learned))
    for position in learned[: len(learned) - num_layers]:
        steps[position] = steps[position].fixed()
    return Compose(steps, names=[name for name, _ in sequence])
