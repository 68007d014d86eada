"""Questions that two moons can answer: the bridge, the uniform base, thin data, and an adversarial rival."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from pushforward import recipes
from pushforward.bases import Box
from pushforward.data import Density, ToyData, two_moons
from pushforward.errors import InputError, RunError
from pushforward.flows import Flow
from pushforward.metrics import excess
from pushforward.report.plots import SAMPLES
from pushforward.studies.kit import pictures
from pushforward.studies.kit.comparison import Candidate, drawn, train
from pushforward.studies.kit.record import Record
from pushforward.studies.plane.gan import train_gan
from pushforward.studies.plane.quality import COMPARED_POINTS, TEST_SEED, compare_samples, our_splines

AREA = pictures.SOURCE_WINDOW
BRIDGE_GRID = 400
RARE = 1e-3  # the gap is where the truth is less dense than at all but this share of its points


def bridge(record: Record, data: ToyData, candidate: Candidate, ours: Flow) -> None:
    """Measure the mass that a flow leaves in the gap between the moons as training goes on."""
    record.heading("The bridge between the moons")
    cells, size = _gap(data)
    truth = _mass(data.density.log_prob, cells, size)
    torch.manual_seed(record.seed + 100)
    flow: Any = candidate.make()
    masses = []
    rounds = record.size((1, 1, 2, 4, 8, 16, 32), quick=(1,))
    epochs = list(accumulate(rounds))
    for index, (more, so_far) in enumerate(zip(rounds, epochs, strict=True)):
        options = {**candidate.options, "epochs": more}
        record.fit(
            f"bridge, {so_far} epochs", flow, data.x, seed=record.seed + index, quick={"epochs": more}, **options
        )
        masses.append(_mass(flow.log_prob, cells, size))
    mass_ours = _mass(ours.log_prob, cells, size)
    with torch.no_grad():
        lowest = min(float(one.log_prob(cells).min()) for one in (flow, ours))
    record.number(
        "bridge", {"epochs": epochs, "mass": masses, "truth": truth, "ours": mass_ours, "lowest_log_prob": lowest}
    )
    figure, panels = pictures.board(2, size=3.6)
    left, right = panels
    pictures.points(left, cells, "the gap", AREA, size=0.5, colour="#999999")
    pictures.points(
        left,
        drawn(flow, 10_000, 1),
        "the gap, and samples",
        AREA,
        colour=SAMPLES,
    )
    pictures.curves(
        right,
        {
            "the source's flow": (epochs, masses),
            "our flow, fully trained": (epochs, [mass_ours] * len(epochs)),
            "exact density": (epochs, [truth] * len(epochs)),
        },
        "epochs",
        "mass in the gap",
    )
    right.set(xscale="log", yscale="log")
    record.picture(
        "bridge",
        figure,
        "Grey: inside the hull of the moons, where the exact density is lower than at 99.9 % of the data. Right: the "
        "mass there, by quadrature.",
    )
    record.answer(
        "Why is there a region that connects the moons although no data lie there?",
        "A flow is a homeomorphism of the plane: the base is connected, so its image is, and no training can cut it. "
        "The gap holds "
        f"{masses[0]:.2%} of the mass after {epochs[0]} epoch{'s' * (epochs[0] > 1)} and {masses[-1]:.2%} after "
        f"{epochs[-1]}; the better flow leaves {mass_ours:.3%}, "
        f"the truth has {truth:.3%}. It never reaches zero: the lowest density found in the gap is exp({lowest:.0f}).",
    )


def _gap(data: ToyData) -> tuple[Tensor, float]:
    """Return the grid points inside the hull of the moons where the truth is rare, (n, 2), and a cell's area."""
    from scipy.spatial import Delaunay

    assert data.labels is not None
    left, right, bottom, top = AREA
    x, y = torch.linspace(left, right, BRIDGE_GRID), torch.linspace(bottom, top, BRIDGE_GRID)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    points = data.x[:20_000]
    common = points[data.density.log_prob(points) > data.density.log_prob(points).median()]
    inside = torch.from_numpy(Delaunay(common.numpy()).find_simplex(grid.numpy()) >= 0)
    rare = data.density.log_prob(grid) < data.density.log_prob(points).quantile(RARE)
    return grid[inside & rare], float((x[1] - x[0]) * (y[1] - y[0]))


@torch.no_grad()
def _mass(log_prob: Callable[[Tensor], Tensor], cells: Tensor, size: float) -> float:
    return float(log_prob(cells).double().exp().sum()) * size


def adversarial(record: Record, data: ToyData, plain: Flow, ours: Flow) -> None:
    """Hold a small GAN beside the flows: its samples, and what its discriminator knows."""
    record.heading("A GAN on the same data")
    generator, discriminator = train_gan(data.x, num_steps=record.size(10_000, quick=50), seed=record.seed)
    noise = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(record.seed))
    with torch.no_grad():
        generated = generator(noise)
    limits = {
        name: compare_samples(samples, data.density, record.seed)
        for name, samples in (
            ("GAN", generated),
            ("source", drawn(plain, COMPARED_POINTS, 3)),
            ("ours", drawn(ours, COMPARED_POINTS, 3)),
        )
    }
    for name, (observed, limit, _) in limits.items():
        record.number(f"gan.{name}", {"mmd": observed, "limit": limit})
    figure, panels = pictures.board(4)
    pictures.points(panels[0], generated, "samples of the GAN", AREA, colour=SAMPLES)
    pictures.points(
        panels[1],
        drawn(ours, 10_000, 4),
        "samples of our flow",
        AREA,
        colour=SAMPLES,
    )
    logits = pictures.on_grid(lambda x: discriminator(x).squeeze(-1), AREA, record.grid).sigmoid()
    image = panels[2].imshow(logits, origin="lower", extent=AREA, cmap="PuOr", vmin=0, vmax=1)
    figure.colorbar(image, ax=panels[2], shrink=0.75, label="judged real", aspect=25)
    pictures.frame(panels[2], "discriminator of the GAN", AREA)
    pictures.log_densities(figure, panels[3:], {"density of our flow": ours.log_prob}, AREA, grid=record.grid)
    record.picture(
        "gan",
        figure,
        "Samples of both; what the discriminator returns, the probability of being real; the flow's log density.",
    )
    words = "; ".join(
        f"{name} {observed:.1e} (95 % limit {limit:.1e})" for name, (observed, limit, _) in limits.items()
    )
    record.answer(
        "How does the flow differ from a GAN?",
        "A GAN has a generator and no density: its discriminator, where training ends well, says about one half "
        "wherever there are data and is arbitrary elsewhere, while the flow gives log p(x) everywhere, one loss that "
        f"measures progress, and the code of every point. MMD² to fresh points: {words}.",
    )


def uniform_base(record: Record, x: Tensor) -> None:
    """Fit a flow on a uniform base and keep the explanation it ends in."""
    record.heading("A uniform base")
    flow = Flow(recipes.nsf(2).transform, Box(2, low=-1.0, high=1.0))
    try:
        record.fit("uniform base", flow, x[:5_000], num_steps=10, seed=record.seed)
        said = "it was trained, against expectation"
    except (InputError, RunError) as error:
        said = str(error)
    with torch.no_grad():
        outside = flow.log_prob(torch.tensor([9.0, 0.0])).item()
    record.number("uniform_base", {"error": said, "log_prob_outside_is_minus_infinity": outside == float("-inf")})
    record.answer(
        "What is a potential problem with a uniform base?",
        f"Its support has an edge: a point sent outside has log density {outside}, an infinite loss with no gradient "
        "that could bring it "
        f"back. Fitting one stops with: “{said}”",
    )


def thin_moons(record: Record) -> None:
    """Let data approach a curve: the likelihood grows without bound; and cut off one latent axis."""
    record.heading("A latent space of lower dimension")
    rows, entropies, reached = [], [], []
    noises = record.size((0.1, 0.05, 0.02, 0.01), quick=(0.1,))
    for noise in noises:
        data = two_moons(record.size(100_000, quick=5_000), noise=noise, seed=record.seed)
        flow = train(record, f"noise {noise}", our_splines(2_500), data.x, record.seed).model
        score = excess(flow, data.density, 20_000, TEST_SEED)
        entropies.append(data.density.entropy())
        reached.append(entropies[-1] + score.mean)
        off_axis = _without_second_code(flow, data.density)
        rows.append([noise, entropies[-1], reached[-1], -reached[-1], off_axis])
    record.number("thin_moons", {"noise": noises, "entropy": entropies, "test_nll": reached})
    record.table(
        "Two moons in their own units, spline flows. The last column: root mean square distance from fresh points to "
        "their image when the "
        "second code is set to zero.",
        ["noise", "exact entropy", "test NLL", "mean log density", "distance without z2"],
        rows,
    )
    codes = torch.stack([torch.linspace(-3, 3, 2_000), torch.zeros(2_000)], -1)
    with torch.no_grad():
        curve = flow.decode(codes)
    figure, panels = pictures.board(1, size=4.2)
    area = pictures.window(data.x[:10_000])
    pictures.points(panels[0], data.x, "", area)
    panels[0].plot(*curve.numpy().T, color=SAMPLES, linewidth=1.2)
    pictures.frame(panels[0], f"noise {noises[-1]}: data, and the image of $z_2 = 0$", area)
    record.picture(
        "thin",
        figure,
        "With one latent axis set to zero the flow's image is a curve: a set of measure zero, with no density in the "
        "plane.",
    )
    record.answer(
        "Can a flow have a latent space of lower dimension?",
        "Not with a density in x: a map from fewer dimensions reaches a set of measure zero. As the moons get "
        f"thinner, noise {noises[0]} to "
        f"{noises[-1]}, the mean log density rises from {-reached[0]:.2f} to {-reached[-1]:.2f} nats and has no "
        "bound. One can still train "
        "so that few codes carry the picture and the rest the noise: see the study bottleneck.",
    )


@torch.no_grad()
def _without_second_code(flow: Flow, density: Density) -> float:
    fresh = density.sample(2_000, TEST_SEED).float()
    codes = flow.encode(fresh)
    return float((flow.decode(codes * torch.tensor([1.0, 0.0])) - fresh).square().sum(-1).mean().sqrt())
