"""The lessons of the page: a question each, a page set up for it, and an experiment that answers from its numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pushforward.play import experiments

Experiment = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    Attributes:
        title: A few words.
        text: What there is to know first, in paragraphs.
        question: What the visitor is asked.
        show: The experiment: sentences as it finds them.
        settings, look: How the page is set up, as `Settings.read` and `Look.read` take them.
    """

    title: str
    text: tuple[str, ...]
    question: str
    show: Experiment
    settings: dict[str, Any] = field(default_factory=dict)
    look: dict[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        return {
            "title": self.title, "text": self.text, "question": self.question, "settings": self.settings,
            "look": self.look,
        }  # fmt: skip


AS_SHOWN = {"num_points": experiments.POINTS, "num_steps": experiments.STEPS, "step": experiments.STEPS}

LESSONS = {
    "area": Lesson(
        "Area and density",
        (
            "A flow moves points; it makes and loses none. Where a layer stretches the plane, the same probability "
            "lies on more area, and the density falls by that factor: its logarithm is the layer's log_det.",
            "The square on the data is followed through every layer. Below each picture stand its area and the share "
            "of the model's samples inside it.",
        ),
        "A layer makes the square three times as large. What happens to the probability inside, and to the density?",
        experiments.area,
        {**AS_SHOWN},
        {"square": [-0.3, 0.4, 0.6, 1.2], "follow": [0.0, 1.0]},
    ),
    "without-swap": Lesson(
        "Two couplings without a swap",
        (
            "A coupling keeps one feature as it is and moves the other by a map that the kept one chooses. Here both "
            "couplings keep x1.",
        ),
        "Which part of the data can such a flow not learn, however long it trains?",
        experiments.without_swap,
        {"recipe": "nsf", "layers": 2, "mixing": "none", **AS_SHOWN},
    ),
    "bridge": Lesson(
        "The bridge between the moons",
        (
            "The latent is one round cloud, the data are two separate moons. The map between them is continuous both "
            "ways, so it cannot tear the cloud apart.",
            "Look at the log density between the moons, and at the difference from the exact one.",
        ),
        "What would have to change for the bridge to go away: more layers, another base, or nothing at all?",
        experiments.bridge,
        {"recipe": "realnvp", "layers": 6, "noise": 0.05, **AS_SHOWN},
        {"follow": [0.5, 0.25]},
    ),
    "twice": Lesson(
        "Trained twice",
        (
            "The same data, the same flow, another seed for the weights and the batches. Change the seed and watch the "
            "latent of the data.",
        ),
        "Two trainings end with nearly the same loss. Have they found the same map?",
        experiments.twice,
        {**AS_SHOWN},
        {"follow": [0.0, 1.0]},
    ),
    "uniform-base": Lesson(
        "A uniform base",
        (
            "The base need not be normal. A uniform one, a box, has density zero outside: a point that the flow sends "
            "there has an infinite loss.",
        ),
        "Why is a base with an edge hard to train with, while the normal is not?",
        experiments.uniform_base,
        {"base": "box", **AS_SHOWN, "step": 0},
    ),
    "thin-curve": Lesson(
        "A thin curve",
        (
            "The moons are half circles with noise. The less noise, the nearer the data lie to a curve, which has no "
            "area, and the higher the density on it.",
        ),
        "What does the NLL do as the noise goes to zero, and does the flow keep up?",
        experiments.thin_curve,
        {"noise": 0.02, **AS_SHOWN},
    ),
    "labels": Lesson(
        "Six labels or two",
        (
            "The hexagon's six clusters carry labels. A conditional flow is told the label: either which of the six "
            "corners, or only which of two groups. The page shows the flow that is told nothing.",
        ),
        "How many nats can knowing the label save, with six labels and with two?",
        experiments.labels,
        {"data": "hexagon", **AS_SHOWN},
    ),
    "planar-inverse": Lesson(
        "Planar maps and their inverse",
        (
            "A planar map pushes the plane along one direction, by a bent function of the distance from a line. It has "
            "a log_det in closed form, but no inverse in closed form.",
        ),
        "Each planar map has five numbers. How many maps do the moons need, and what does it cost to sample?",
        experiments.planar_inverse,
        {"recipe": "planar", "layers": 16, "learning_rate": 0.02, **AS_SHOWN},
    ),
    "discrete-continuous": Lesson(
        "Discrete against continuous",
        (
            "A discrete flow is a list of layers. A continuous one is a velocity field, followed from time 1 to 0 by a "
            "solver; its log_det is the integral of the divergence. Trained by likelihood every step solves the "
            "equation; by matching, none does.",
        ),
        "After the same number of steps, which is better, and what did a step cost?",
        experiments.discrete_continuous,
        {"recipe": "cnf-matching", **AS_SHOWN, "num_steps": 300, "step": 300},
    ),
    "temperature": Lesson(
        "What temperature does",
        (
            "Samples begin as draws of the base. Temperature multiplies their distance from the middle before the flow "
            "carries them to the data: move its slider.",
        ),
        "Do samples at temperature 0.5 lie where the density is highest?",
        experiments.temperature,
        {"recipe": "realnvp", "layers": 6, **AS_SHOWN},
        {"temperature": 0.5},
    ),
}
