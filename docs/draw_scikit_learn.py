"""Draws scikit-learn.png: points, the exact log density, and those of two estimators of scikit-learn and of a flow.

Run it as `python docs/draw_scikit_learn.py`; it fits for half a minute, and prints the table below the picture in
scikit-learn.md. The seeds decide all but the seconds.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

import pushforward as pf
from pushforward.report.plots.canvas import DATA, DENSITY_MAP, Picture, board, draw_points, frame, on_grid, window_of

SHOWN, OTHERS = "pinwheel", ("two-moons", "spirals")
NUM_POINTS, FRESH, STEPS = 2_000, 20_000, 5_000
BANDWIDTHS = np.geomspace(0.02, 0.5, 15)
MOST_COMPONENTS = 30
DEPTH = 9.0  # nats below the largest log density


class Fit(NamedTuple):
    """An estimator that was fitted, what was chosen, seconds with all choosing, log densities of fresh points."""

    estimator: Any
    chosen: str
    seconds: float
    log_prob: np.ndarray


def kernel_density(x: np.ndarray) -> tuple[Any, str]:
    """Return a kernel density with the best bandwidth of five-fold cross-validation."""
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=5).fit(x)
    return search.best_estimator_, f"bandwidth {search.best_params_['bandwidth']:.3f}"


def gaussian_mixture(x: np.ndarray) -> tuple[Any, str]:
    """Return the mixture with the least BIC."""
    fits = [GaussianMixture(num, random_state=0).fit(x) for num in range(1, MOST_COMPONENTS + 1)]
    best = min(fits, key=lambda fit: fit.bic(x))
    return best, f"{best.n_components} components"


def flow_density(x: np.ndarray) -> tuple[Any, str]:
    """Return a flow, about which nothing is chosen; a tenth of the points says which step's weights to keep."""
    return pf.FlowDensity(recipe="flow", num_steps=STEPS, random_state=0).fit(x), f"{STEPS:,} steps"


FITS: dict[str, Callable[[np.ndarray], tuple[Any, str]]] = {
    "KernelDensity": kernel_density, "GaussianMixture": gaussian_mixture, "FlowDensity": flow_density,
}  # fmt: skip


def fitted(data: pf.data.ToyData) -> dict[str, Fit]:
    """Return all fits to points, by name."""
    fresh, found = data.density.sample(FRESH, seed=1).numpy(), {}
    for name, fit in FITS.items():
        start = time.perf_counter()
        estimator, chosen = fit(data.x.numpy())
        found[name] = Fit(estimator, chosen, time.perf_counter() - start, estimator.score_samples(fresh))
    return found


def lines(name: str, data: pf.data.ToyData, found: dict[str, Fit]) -> str:
    """Return lines of the table: mean log density, how far below the exact one on the same points, choice, seconds."""
    exact = data.density.log_prob(data.density.sample(FRESH, seed=1).double()).numpy()
    rows = [f"| {name} | exact density | {exact.mean():.3f} | 0 | | |"]
    for title, fit in found.items():
        below = exact - fit.log_prob
        error = below.std() / np.sqrt(FRESH)
        values = f"{fit.log_prob.mean():.3f} | {below.mean():.3f} ± {error:.3f} | {fit.chosen} | {fit.seconds:.1f}"
        rows.append(f"| {name} | {title} | {values} |")
    return "\n".join(rows)


def draw(data: pf.data.ToyData, found: dict[str, Fit]) -> Picture:
    """Return the figure: the points, and all log densities to one scale."""
    fresh, area = data.density.sample(FRESH, seed=1).double(), window_of(None, data.x)
    laws: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
        (f"exact density\n{data.density.log_prob(fresh).mean().item():.3f} nats", data.density.log_prob)
    ]
    for name, fit in found.items():
        laws.append((f"{name}\n{fit.log_prob.mean():.3f} nats, {fit.seconds:.1f} s", _of_tensors(fit.estimator)))
    figure, places = board(1 + len(laws), size=2.5)
    figure.get_layout_engine().set(h_pad=0.12)  # inches: titles are not cut
    draw_points(places[0], data.x, DATA, size=3.0)
    frame(places[0], f"{len(data.x):,} points\nto be fitted", area)
    values = [on_grid(log_prob, area, 300, -1e9) for _, log_prob in laws]
    top = max(value.max().item() for value in values)
    for axes, value, (title, _) in zip(places[1:], values, laws, strict=True):
        axes.imshow(value.numpy(), origin="lower", extent=area, cmap=DENSITY_MAP, vmin=top - DEPTH, vmax=top)
        frame(axes, title, area)
    for axes in places:
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    return figure


def _of_tensors(estimator: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return log densities of tensors, whatever their shape."""
    return lambda x: torch.as_tensor(estimator.score_samples(x.reshape(-1, 2).numpy())).reshape(x.shape[:-1])


def main() -> None:
    """Fit, print the table, and write the picture."""
    for name in (SHOWN, *OTHERS):
        data = pf.data.TOYS[name](NUM_POINTS)
        found = fitted(data)
        print(lines(name, data, found), flush=True)
        if name == SHOWN:
            draw(data, found).savefig(Path(__file__).parent / "scikit-learn.png", dpi=110)


if __name__ == "__main__":
    main()
