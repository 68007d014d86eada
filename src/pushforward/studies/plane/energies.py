"""Planar, radial, Sylvester and spline flows fitted to unnormalized densities by reverse KL."""

from functools import partial
from statistics import fmean

import torch

from pushforward import Flow, losses, recipes
from pushforward.data import ENERGIES, Energy
from pushforward.report.plots.canvas import SAMPLES
from pushforward.studies.kit import Candidate, Record, drawn, num_parameters, pictures, train

TITLE = "Four energies: flows without data"
SOURCE = "a report on normalizing flows, task 1 (planar flows), and the test energies of the paper it follows"

DEPTHS = {"planar": (2, 8, 32), "radial": (2, 8, 32), "sylvester": (2, 8, 16), "spline": (2, 4, 8)}
AREA = (-4.5, 4.5, -4.5, 4.5)
TEST_SAMPLES = 20_000


def run(record: Record) -> None:
    """Fit every kind at every depth to every energy and measure KL(flow || truth) with the exact log Z."""
    energies = list(ENERGIES.values())[: record.size(None, quick=1)]
    depths = {kind: numbers[: record.size(None, quick=1)] for kind, numbers in DEPTHS.items()}
    best: dict[str, list[Flow]] = {}  # of each kind, by its title, fitted to each energy
    rows, deeper = [], []
    for kind, numbers in depths.items():
        means, candidates = [], {}
        for depth in numbers:
            flows, divergences, cells = [], [], []
            for energy in energies:
                flows.append(_fitted(record, kind, depth, energy))
                divergence, error = _kl(flows[-1], energy)
                record.number(f"kl.{energy.name}.{kind}.{depth}", [divergence, error])
                divergences.append(divergence)
                cells.append(f"{divergence:.3f} ± {error:.3f}")
            name = f"{kind}, {depth} layers"
            rows.append([name, num_parameters(flows[-1]), *cells])
            means.append(f"{fmean(divergences):.3f} with {depth}")
            candidates[fmean(divergences)] = name, flows
        title, fitted = candidates[min(candidates)]
        best[title] = fitted
        deeper.append(f"{kind}: {', '.join(means)} layers")
    record.heading("Divergence from the truth")
    record.number("log_z", {energy.name: energy.log_z for energy in energies})
    record.table(
        f"KL(flow || truth) in nats, {TEST_SAMPLES:,} samples ± standard error, log Z exact by quadrature; one seed. A "
        "flow that finds one of two modes alone can be off by up to log 2 = 0.693 and look good.",
        ["flow", "parameters", *(energy.name for energy in energies)],
        rows,
    )
    _picture(record, energies, best)
    record.answer(
        "Can planar flows be sampled, inverted and fitted?",
        f"Yes, exactly: mean KL over the energies, nats: {'; '.join(deeper)}.",
    )


def _fitted(record: Record, kind: str, depth: int, energy: Energy) -> Flow:
    if kind == "spline":
        make = partial(recipes.nsf, 2, num_layers=depth, hidden_features=(32, 32), mixing="lu")
    else:
        make = partial(recipes.planar, 2, num_layers=depth, kind=kind, inverted=True)
    loss = partial(losses.reverse_kl, log_density=energy.log_density)
    options = {"loss": loss, "num_steps": 1_000, "batch_size": 256, "learning_rate": 5e-3}
    candidate = Candidate(f"{kind}, {depth} layers", make, options, quick={"num_steps": 20})
    return train(record, f"{energy.name}, {candidate.name}", candidate, None, record.seed).model


@torch.no_grad()
def _kl(flow: Flow, energy: Energy) -> tuple[float, float]:
    """Return KL(flow || truth) and its standard error."""
    x, log_q = flow.sample_and_log_prob(TEST_SAMPLES, generator=torch.Generator().manual_seed(1))
    values = (log_q - energy.log_prob(x)).double()
    return values.mean().item(), values.std().item() / TEST_SAMPLES**0.5


def _picture(record: Record, energies: list[Energy], flows: dict[str, list[Flow]]) -> None:
    record.heading("Samples of the best flow of each kind")
    contents: dict[str, pictures.Content] = {}
    for index, energy in enumerate(energies):
        contents[f"{energy.name}: truth"] = None
        for name, fitted in flows.items():
            contents[f"{energy.name}: {name}"] = pictures.Points(drawn(fitted[index], 3_000, 2), SAMPLES)
    figure, panels = pictures.panels(contents, AREA, across=1 + len(flows), size=2.6, names=("$z_1$", "$z_2$"))
    for axes, energy in zip(panels[:: 1 + len(flows)], energies, strict=True):
        density = pictures.on_grid(energy.log_density, AREA, record.grid).exp()
        axes.imshow(density.numpy(), origin="lower", extent=AREA, cmap=pictures.DENSITY_MAP)
    record.picture(
        "samples",
        figure,
        "The density of each energy, and 3,000 samples of each kind of flow, at the depth of the least mean KL.",
    )
