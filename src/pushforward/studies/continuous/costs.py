"""What the change of volume costs against the number of features: coupling, trace, estimate, determinant."""

import statistics
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import nets, recipes
from pushforward.studies.kit import Record, pictures
from pushforward.transforms import Continuous

ROWS, REPEATS = 256, 5


class WithoutDivergence(nn.Module):
    """A velocity whose divergence is left to forward-mode differentiation: D passes."""

    def __init__(self, inner: nets.TimeMLP) -> None:
        super().__init__()
        self.inner, self.features = inner, inner.features

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity."""
        return self.inner(t, x, context)


@torch.no_grad()
def cost_against_features(record: Record) -> None:
    """Time one log_det of each kind for growing D, add curves and an answer."""
    sizes = record.size((2, 8, 32, 128, 512), quick=(2, 8))
    seconds: dict[str, list[float]] = {}
    for features in sizes:
        x = torch.randn(ROWS, features)
        velocity = nets.TimeMLP(features, hidden_features=(64, 64))
        step: dict[str, Any] = {"method": "euler", "num_steps": 1}
        kinds: dict[str, Callable[[], object]] = {
            "coupling, triangular": partial(recipes.realnvp(features, num_layers=1).transform, x),
            "trace, closed form": partial(Continuous(velocity, **step), x),
            "trace, D passes": partial(Continuous(WithoutDivergence(velocity), **step), x),
            "trace, Hutchinson": partial(Continuous(velocity, trace="hutchinson", **step), x),
            "determinant of a dense matrix": partial(torch.linalg.slogdet, torch.randn(ROWS, features, features)),
        }
        for name, call in kinds.items():
            call()  # the first is slower than the rest
            times = timeit.repeat(call, number=1, repeat=REPEATS)
            seconds.setdefault(name, []).append(statistics.median(times))
    record.heading("Cost of the change of volume")
    record.number("cost", {"features": sizes, **seconds})
    figure, (axes,) = pictures.board(1, size=4.6)
    milliseconds = {name: (sizes, [1e3 * value for value in found]) for name, found in seconds.items()}
    pictures.curves(axes, milliseconds, "number of features D", f"milliseconds for {ROWS} rows")
    axes.set(xscale="log", yscale="log")
    caption = (
        "One value and its log_det without gradients; networks of 2 x 64; the determinant without making its matrix."
    )
    record.picture("cost", figure, caption)
    listed = ", ".join(f"{name} {values[-1]:.1f}" for name, (_, values) in milliseconds.items())
    record.answer(
        "Is the trace cheaper than the determinant?",
        f"At D = {sizes[-1]}, {ROWS} rows, in milliseconds: {listed}. A coupling never has a determinant to compute: "
        "its Jacobian is triangular.",
    )
