"""Pictures of the study `conditional`: samples in the colours of their labels, and log densities label by label."""

from functools import partial

import torch

from pushforward.data import ToyData
from pushforward.report.plots import DATA, SAMPLES
from pushforward.studies.kit import pictures
from pushforward.studies.kit.levels import one_hot
from pushforward.studies.kit.record import Record
from pushforward.studies.plane.conditional_models import Found, Merged, Size, file_name
from pushforward.studies.plane.quality import TEST_SEED

SHOWN = 1_500  # points in a panel
MOST_LABELS = 3  # in the picture of densities


def draw(record: Record, task: str, toy: ToyData, found: dict[str, Found], size: Size) -> None:
    """Add the pictures of one task: the truth beside the models of the first seed."""
    _samples(record, task, toy, found, pictures.window(toy.x[:20_000], margin=0.05))
    _densities(record, task, toy, found, pictures.window(toy.x[:20_000], margin=0.15), size.grid)


def _samples(record: Record, task: str, toy: ToyData, found: dict[str, Found], area: pictures.Window) -> None:
    fresh, labels = toy.density.sample_with_labels(SHOWN, TEST_SEED)
    figure, panels = pictures.board(3, 2, size=2.9, sharex=True, sharey=True)
    pictures.points(panels[0], fresh, "truth", area, labels=labels, size=3)
    pictures.points(panels[3], fresh, "truth, without labels", area, colour=DATA, size=3)
    for column, (recipe, one) in enumerate(found.items(), start=1):
        x, labels = Merged(one.flow, toy.density).sample(SHOWN, record.seed)
        pictures.points(panels[column], x, f"{recipe}, conditional", area, labels=labels, size=3)
        plain = one.plain_flow.sample(SHOWN, generator=torch.Generator().manual_seed(record.seed))
        pictures.points(panels[column + 3], plain, f"{recipe}, plain", area, colour=SAMPLES, size=3)
    for axes in panels:
        axes.label_outer()
    record.picture(
        f"{file_name(task)}-samples",
        figure,
        f"{task}: {SHOWN:,} fresh points and as many samples. Above, each label in its colour, labels in their true "
        "proportions; below, the same points without labels and the samples of the plain models.",
    )


def _densities(
    record: Record, task: str, toy: ToyData, found: dict[str, Found], area: pictures.Window, grid: int
) -> None:
    num_labels = toy.density.num_labels
    labels = range(min(num_labels, MOST_LABELS))
    figure, panels = pictures.board(len(labels), 3, size=2.6, sharex=True, sharey=True)
    figure.set_size_inches(2.6 * len(labels) + 1.2, 7.9)  # room for the colour bar
    densities = {f"truth, label {label}": partial(toy.density.log_prob, label=label) for label in labels}
    for recipe, one in found.items():
        for label in labels:
            context = one_hot(torch.tensor(label), num_labels)
            densities[f"{recipe}, label {label}"] = partial(one.flow.log_prob, context=context)
    pictures.log_densities(figure, panels, densities, area, grid=grid)
    for axes in panels:
        axes.label_outer()
    which = "" if len(labels) == num_labels else f"; {len(labels)} of {num_labels} labels"
    record.picture(
        f"{file_name(task)}-densities", figure, f"{task}: log p(x | label), the truth above the models{which}."
    )
