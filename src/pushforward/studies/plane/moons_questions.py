"""Questions that two moons can answer: the bridge, the uniform base, thin data, and an adversarial rival."""

import copy
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from pushforward import Flow, InputError, RunError, bases, metrics, recipes
from pushforward.data import ToyData, two_moons
from pushforward.report.plots.canvas import SAMPLES
from pushforward.studies.kit import Candidate, Points, Record, drawn, pictures, train
from pushforward.studies.plane import quality
from pushforward.studies.plane.flows import our_splines
from pushforward.studies.plane.gan import train_gan

AREA = pictures.SOURCE_WINDOW
BRIDGE_GRID = 400
RARE = 1e-3  # the gap is where the truth is less dense than at all but this share of its points


def bridge(record: Record, data: ToyData, candidate: Candidate, ours: Flow) -> None:
    """Measure the mass that a flow leaves in the gap between the moons as training goes on."""
    record.heading("The bridge between the moons")
    cells, size = _gap(data)
    torch.manual_seed(record.seed + 100)
    flow: Any = candidate.make()
    rounds = record.size((1, 1, 2, 4, 8, 16, 32), quick=(1,))
    epochs, masses = list(accumulate(rounds)), []
    for index, more in enumerate(rounds):
        options = {**candidate.options, "epochs": more, "seed": record.seed + index}
        record.fit(f"bridge, {epochs[index]} epochs", flow, data.x, **options)
        masses.append(_mass(flow.log_prob, cells, size))
    truth, mass_ours = (_mass(log_prob, cells, size) for log_prob in (data.density.log_prob, ours.log_prob))
    with torch.no_grad():
        lowest = min(float(one.log_prob(cells).min()) for one in (flow, ours))
    facts = {"epochs": epochs, "mass": masses, "truth": truth, "ours": mass_ours, "lowest_log_prob": lowest}
    record.number("bridge", facts)
    figure, (left, right) = pictures.board(2, size=3.6)
    for points in (Points(cells, "#999999", size=0.5), Points(drawn(flow, 10_000, 1), SAMPLES)):
        pictures.points(left, points, "the gap, and samples", AREA)
    lines = {"the source's flow": masses, "our flow, fully trained": [mass_ours], "exact density": [truth]}
    curves = {name: (epochs, found * (len(epochs) // len(found))) for name, found in lines.items()}
    pictures.curves(right, curves, "epochs", "mass in the gap")
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
        f"The gap holds {masses[0]:.2%} of the mass after {epochs[0]} epoch{'s' * (epochs[0] > 1)} and "
        f"{masses[-1]:.2%} after {epochs[-1]}; the better flow leaves {mass_ours:.3%}, the truth has {truth:.3%}. It "
        f"never reaches zero: the lowest density found in the gap is exp({lowest:.0f}).",
    )


def _gap(data: ToyData) -> tuple[Tensor, float]:
    """Return the grid points inside the hull of the moons where the truth is rare, (n, 2), and a cell's area."""
    from scipy.spatial import Delaunay

    left, right, *_ = AREA
    line = torch.linspace(left, right, BRIDGE_GRID)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    points = data.x[:20_000]
    known = data.density.log_prob(points)
    inside = torch.from_numpy(Delaunay(points[known > known.median()].numpy()).find_simplex(grid.numpy()) >= 0)
    rare = data.density.log_prob(grid) < known.quantile(RARE)
    return grid[inside & rare], float((line[1] - line[0]).square())


@torch.no_grad()
def _image_of_line(flow: Flow, step: float = 0.02, rounds: int = 30) -> Tensor:
    """Return the image of z2 = 0, |z1| <= 3, (n, 2): a point more wherever two are farther apart than a step."""
    z = torch.linspace(-3, 3, 2_000, dtype=torch.float64)
    flow = copy.deepcopy(flow).double()  # where the map is steep, float32 has no numbers between two points
    for _ in range(rounds):
        curve = flow.decode(torch.stack([z, torch.zeros_like(z)], -1))
        far = (curve.diff(dim=0).norm(dim=-1) > step).nonzero().squeeze(-1)
        if not len(far):
            break
        z = torch.cat([z, (z[far] + z[far + 1]) / 2]).sort().values
    return flow.decode(torch.stack([z, torch.zeros_like(z)], -1))


@torch.no_grad()
def _mass(log_prob: Callable[[Tensor], Tensor], cells: Tensor, size: float) -> float:
    return float(log_prob(cells).double().exp().sum()) * size


def adversarial(record: Record, data: ToyData, plain: Flow, ours: Flow) -> None:
    """Hold a small GAN beside the flows: its samples, and what its discriminator knows."""
    record.heading("A GAN on the same data")
    generator, discriminator = train_gan(data.x, num_steps=record.size(10_000, quick=50), seed=record.seed)
    generated = generator(torch.randn(10_000, 2, generator=torch.Generator().manual_seed(record.seed))).detach()
    samples = {"GAN": generated}
    samples |= {key: drawn(flow, quality.COMPARED_POINTS, 3) for key, flow in (("source", plain), ("ours", ours))}
    words = []
    for name, x in samples.items():
        observed, limit, _ = quality.mmd_to_truth(x, data.density, record.seed)
        record.number(f"gan.{name}", {"mmd": observed, "limit": limit})
        words.append(f"{name} {observed:.1e} (95 % limit {limit:.1e})")
    contents: dict[str, pictures.Content] = {
        "samples of the GAN": Points(generated, SAMPLES),
        "samples of our flow": Points(drawn(ours, 10_000, 4), SAMPLES),
        "discriminator of the GAN": None,
        "density of our flow": ours.log_prob,
    }
    figure, (_, _, axes, _) = pictures.panels(contents, AREA, grid=record.grid)
    logits = pictures.on_grid(lambda x: discriminator(x).squeeze(-1), AREA, record.grid)
    judged = discriminator(data.x[:10_000]).detach().sigmoid()
    apart = float((judged - 0.5).abs().quantile(0.99))  # near 0 where it is undecided
    low, high = 0.5 - apart, 0.5 + apart
    image = axes.imshow(logits.sigmoid().numpy(), origin="lower", extent=AREA, cmap="PuOr", vmin=low, vmax=high)
    figure.colorbar(image, ax=axes, shrink=0.75, label="judged real", aspect=25, extend="both")
    caption = (
        "Samples of both; what the discriminator returns, the probability of being real, on a scale that ends at its "
        "99 % range over the data; the flow's log density."
    )
    record.picture("gan", figure, caption)
    record.answer(
        "How does the flow differ from a GAN?",
        "A GAN has a generator and no density: its discriminator, where training ends well, says about one half "
        "wherever there are data and is arbitrary elsewhere, while the flow gives log p(x) everywhere, one loss that "
        f"measures progress, and the code of every point. MMD² to fresh points: {'; '.join(words)}.",
    )


def uniform_base(record: Record, x: Tensor) -> None:
    """Fit a flow on a uniform base and keep the explanation it ends in."""
    record.heading("A uniform base")
    flow = recipes.nsf(2, base=bases.Box(2, low=-1.0, high=1.0))
    try:
        record.fit("uniform base", flow, x[:5_000], num_steps=10, seed=record.seed)
        said = "it was trained, against expectation"
    except (InputError, RunError) as error:
        said = str(error)
    outside = flow.log_prob(torch.tensor([9.0, 0.0])).item()
    record.number("uniform_base", {"error": said, "log_prob_outside_is_minus_infinity": outside == float("-inf")})
    record.answer(
        "What is a potential problem with a uniform base?",
        f"Its support has an edge: a point sent outside has log density {outside}, an infinite loss with no gradient "
        f"that could bring it back. Fitting one stops with: “{said}”",
    )


def thin_moons(record: Record) -> None:
    """Let data approach a curve: the likelihood grows without bound; and cut off one latent axis."""
    record.heading("A latent space of lower dimension")
    noises = record.size((0.1, 0.05, 0.02, 0.01), quick=(0.1,))
    rows = []
    for noise in noises:
        data = two_moons(record.size(100_000, quick=5_000), noise=noise, seed=record.seed)
        flow = train(record, f"noise {noise}", our_splines(2_500), data.x, record.seed).model
        entropy = data.density.entropy()
        nll = entropy + metrics.excess(flow, data.density, 20_000, quality.TEST_SEED).mean
        fresh = data.density.sample(2_000, quality.TEST_SEED)
        with torch.no_grad():
            rebuilt = flow.decode(flow.encode(fresh) * torch.tensor([1.0, 0.0]))
        rows.append([noise, entropy, nll, -nll, (rebuilt - fresh).square().sum(-1).mean().sqrt().item()])
    _, entropies, reached, *_ = zip(*rows, strict=True)
    record.number("thin_moons", {"noise": noises, "entropy": entropies, "test_nll": reached})
    record.table(
        "Two moons in their own units, spline flows. The last column: root mean square distance from fresh points to "
        "their image when the second code is set to zero.",
        ["noise", "exact entropy", "test NLL", "mean log density", "distance without z2"],
        rows,
    )
    title, area = f"noise {noises[-1]}: data, and the image of $z_2 = 0$", pictures.window(data.x[:10_000])
    figure, (axes,) = pictures.panels({title: Points(data.x)}, area, size=4.2)
    curve = _image_of_line(flow)
    axes.plot(*curve.numpy().T, color=SAMPLES, linewidth=1.2)
    record.picture(
        "thin",
        figure,
        "With one latent axis set to zero the flow's image is a curve: a set of measure zero, with no density in the "
        "plane.",
    )
    record.answer(
        "Can a flow have a latent space of lower dimension?",
        "Not with a density in x: a map from fewer dimensions reaches a set of measure zero. As the moons get "
        f"thinner, noise {noises[0]} to {noises[-1]}, the mean log density rises from {-reached[0]:.2f} to "
        f"{-reached[-1]:.2f} nats and has no bound. One can still train so that few codes carry the picture and the "
        "rest the noise: see the study bottleneck.",
    )
