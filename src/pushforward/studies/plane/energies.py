"""Planar, radial, Sylvester and spline flows fitted to unnormalized densities by reverse KL."""

from functools import partial

import torch

from pushforward import recipes
from pushforward.data.energies import ENERGIES, Energy
from pushforward.flows import Flow
from pushforward.losses import reverse_kl
from pushforward.report.plots import SAMPLES
from pushforward.studies.kit import pictures
from pushforward.studies.kit.record import Record, num_parameters

TITLE = "Four energies: flows without data"
SOURCE = "a report on normalizing flows, task 1 (planar flows), and the test energies of the paper it follows"

DEPTHS = {"planar": (2, 8, 32), "radial": (2, 8, 32), "sylvester": (2, 8, 16), "spline": (2, 4, 8)}
AREA = (-4.5, 4.5, -4.5, 4.5)
TEST_SAMPLES = 20_000


def run(record: Record) -> None:
    """Fit every kind at every depth to every energy and measure KL(flow || truth) with the exact log Z."""
    energies = list(ENERGIES.values())[: record.size(None, quick=1)]
    depths = {kind: numbers[: record.size(None, quick=1)] for kind, numbers in DEPTHS.items()}
    found: dict[tuple[str, str, int], float] = {}
    best: dict[tuple[str, str], Flow] = {}
    rows = []
    for kind, numbers in depths.items():
        for depth in numbers:
            cells: list[str | float] = [f"{kind}, {depth} layers"]
            for energy in energies:
                flow = _fitted(record, kind, depth, energy)
                divergence, error = _kl(flow, energy)
                found[energy.name, kind, depth], best[energy.name, kind] = divergence, flow
                record.number(f"kl.{energy.name}.{kind}.{depth}", [divergence, error])
                cells.append(f"{divergence:.3f} ± {error:.3f}")
            rows.append([cells[0], num_parameters(flow), *cells[1:]])
    record.heading("Divergence from the truth")
    record.number("log_z", {energy.name: energy.log_z for energy in energies})
    record.table(
        f"KL(flow || truth) in nats, {TEST_SAMPLES:,} samples ± standard error, log Z exact by quadrature; one seed. A "
        "flow that finds one of two modes alone can be off by up to log 2 = .693 and look good.",
        ["flow", "parameters", *(energy.name for energy in energies)],
        rows,
    )
    _pictures(record, energies, best, list(depths))
    deeper = []
    for kind, numbers in depths.items():
        means = [sum(found[energy.name, kind, depth] for energy in energies) / len(energies) for depth in numbers]
        ways = ", ".join(f"{mean:.3f} with {depth}" for mean, depth in zip(means, numbers, strict=True))
        deeper.append(f"{kind}: {ways} layers")
    record.answer(
        "Can planar flows be sampled, inverted and fitted?",
        f"Yes, exactly: mean KL over the energies, nats: {'; '.join(deeper)}.",
    )


def _fitted(record: Record, kind: str, depth: int, energy: Energy) -> Flow:
    torch.manual_seed(record.seed)
    if kind == "spline":
        flow = recipes.nsf(2, num_layers=depth, hidden_features=(32, 32), mixing="lu")
    else:
        flow = recipes.planar(2, num_layers=depth, kind=kind, inverted=True)
    record.fit(
        f"{energy.name}, {kind}, {depth} layers", flow, None, loss=partial(reverse_kl, log_density=energy.log_density),
        num_steps=1_000, quick={"num_steps": 20}, batch_size=256, learning_rate=5e-3, seed=record.seed,
    )  # fmt: skip
    return flow


@torch.no_grad()
def _kl(flow: Flow, energy: Energy) -> tuple[float, float]:
    """Return KL(flow || truth) and its standard error."""
    x, log_q = flow.sample_and_log_prob(TEST_SAMPLES, generator=torch.Generator().manual_seed(1))
    values = (log_q - energy.log_density(x)).double() + energy.log_z
    return values.mean().item(), values.std().item() / TEST_SAMPLES**0.5


def _pictures(record: Record, energies: list[Energy], best: dict[tuple[str, str], Flow], kinds: list[str]) -> None:
    record.heading("Samples of the deepest flow of each kind")
    figure, panels = pictures.board(1 + len(kinds), len(energies), size=2.6)
    for row, energy in enumerate(energies):
        axes = panels[row * (1 + len(kinds)) :]
        density = pictures.on_grid(energy.log_density, AREA, record.grid).exp()
        axes[0].imshow(density, origin="lower", extent=AREA, cmap=pictures.DENSITY_MAP)
        pictures.frame(axes[0], f"{energy.name}: truth", AREA, ("$z_1$", "$z_2$"))
        for place, kind in zip(axes[1:], kinds, strict=False):
            samples = best[energy.name, kind].sample(3_000, generator=torch.Generator().manual_seed(2))
            pictures.points(place, samples, "", AREA, colour=SAMPLES)
            pictures.frame(place, f"{kind}, {DEPTHS[kind][0 if record.quick else -1]} layers", AREA, ("$z_1$", "$z_2$"))
    record.picture("samples", figure, "The density of each energy, and 3,000 samples of each kind of flow.")
