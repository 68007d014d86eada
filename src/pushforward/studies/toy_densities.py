"""All toy densities: affine couplings, spline couplings and an autoregressive flow of equal size, against the truth."""

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward import recipes
from pushforward.data import TOYS, ToyData
from pushforward.flows import Flow
from pushforward.metrics import excess
from pushforward.report.plots import SAMPLES
from pushforward.studies import pictures, toys
from pushforward.studies.record import Record, shown
from pushforward.transforms import Standardize

TITLE = "Every toy density, three kinds of flow, one size"
SOURCE = "an exercise sheet on masked couplings (two Gaussians, chequerboard), and the usual toy densities"

POINTS = 50_000
BETTER = {"chequerboard": 32, "two-gaussians": 8}  # trained longer, from several seeds: name -> bins
LAYERS = 6


def run(record: Record) -> None:
    """Fit three flows of equal size to every density for as many steps; then the source's two with more care."""
    names = list(TOYS)[:2] if record.quick else list(TOYS)
    makers = _makers()
    record.number("parameters", {kind: _size(make()) for kind, make in makers.items()})
    rows, found = [], {}
    for name in names:
        data = TOYS[name](2_000 if record.quick else POINTS, seed=record.seed)
        flows = {kind: _fitted(record, kind, make, name, data) for kind, make in makers.items()}
        scores = {
            kind: excess(flow, data.density, 2_000 if record.quick else toys.TEST_POINTS, toys.TEST_SEED)
            for kind, flow in flows.items()
        }
        entropy = data.density.entropy()
        found[name] = {kind: score.mean for kind, score in scores.items()}
        record.number(
            f"excess.{name}",
            {kind: [score.mean, score.standard_error] for kind, score in scores.items()} | {"entropy": entropy},
        )
        cells = [f"{shown(score.mean)} ± {shown(score.standard_error)}" for score in scores.values()]
        rows.append([name, entropy, *cells])
        _picture(record, name, data, flows)
    sizes = " / ".join(f"{_size(make()):,}" for make in makers.values())
    record.table(
        f"Excess over the exact density in nats, fresh points ± standard error; one seed, equal parameters ({sizes}) "
        "and steps.",
        ["density", "exact entropy", *makers],
        rows,
    )
    wins = {kind: sum(min(one, key=one.__getitem__) == kind for one in found.values()) for kind in makers}
    record.answer(
        "Which kind of flow fits best at equal size?",
        f"Best on {', '.join(f'{count} of {len(found)}: {kind}' for kind, count in wins.items())}.",
    )
    _with_care(record)


def _makers() -> dict[str, Callable[[], Flow]]:
    """Return constructors of the three kinds with parameter counts as equal as widths allow."""
    aim = _size(toys.spline_flow(num_layers=LAYERS))

    def affine(width: int) -> Flow:
        return recipes.realnvp(2, num_layers=LAYERS, hidden_features=(width, width), mixing="lu")

    def autoregressive(width: int) -> Flow:
        return recipes.maf(2, num_layers=LAYERS, hidden_features=(width, width), mixing="lu")

    def fitting(make: Callable[[int], Flow]) -> int:
        return min(range(16, 129), key=lambda width: abs(_size(make(width)) - aim))

    affine_width, autoregressive_width = fitting(affine), fitting(autoregressive)
    return {
        "realnvp": lambda: _standardized(affine(affine_width)),
        "maf": lambda: _standardized(autoregressive(autoregressive_width)),
        "nsf": lambda: toys.spline_flow(num_layers=LAYERS),
    }


def _standardized(flow: Flow) -> Flow:
    return Flow(flow.transform, flow.base, [Standardize(2)])


def _size(flow: Flow) -> int:
    return sum(parameter.numel() for parameter in flow.parameters())


def _fitted(record: Record, kind: str, make: Callable[[], Flow], name: str, data: ToyData) -> Flow:
    torch.manual_seed(record.seed)
    flow = make()
    steps = 20 if record.quick else 1_500
    record.fit(f"{name}, {kind}", flow, data.x, num_steps=steps, batch_size=512, seed=record.seed)
    return flow


def _picture(record: Record, name: str, data: ToyData, flows: dict[str, Flow]) -> None:
    figure, panels = pictures.board(5, size=2.9)
    area = pictures.window(data.x[:10_000])
    densities: dict[str, Callable[..., Tensor]] = {"exact density": data.density.log_prob}
    densities |= {kind: flow.log_prob for kind, flow in flows.items()}
    pictures.log_densities(figure, panels[:4], densities, area, grid=min(record.grid, 200))
    samples = flows["nsf"].sample(5_000, generator=torch.Generator().manual_seed(record.seed))
    pictures.points(panels[4], samples, "samples of nsf", area, colour=SAMPLES)
    record.picture(name, figure, f"{name}: log densities and 5,000 samples of the spline flow.")


def _with_care(record: Record) -> None:
    record.heading("The source's two densities, trained longer")
    rows, means, said = [], {}, []
    for name, bins in BETTER.items():
        qualities = []
        for seed in record.seeds():
            data = TOYS[name](2_000 if record.quick else 100_000, seed=seed)
            label = f"{name}, {bins} bins, seed {seed}"
            flow = toys.fit_spline(record, label, data.x, seed=seed, bins=bins, num_steps=4_000)
            qualities.append(toys.quality(flow, data.density, seed, quick=record.quick))
        fresh = data.density.sample(10_000, toys.TEST_SEED + seed).float()
        said.append(toys.latent_normality(record, name, flow, fresh))
        rows.append([name, data.density.entropy(), *toys.record_qualities(record, f"longer.{name}", qualities)])
        means[name] = sum(one.excess for one in qualities) / len(qualities)
    record.table(toys.QUALITY_NOTE, ["density", "exact entropy", *toys.QUALITY_HEADER], rows)
    record.answer(
        "Can the chequerboard, with its sharp edges, be fitted as well?",
        f"To within {means['chequerboard']:.4f} nats of the truth (splines of {BETTER['chequerboard']} bins); the two "
        f"Gaussians to {means['two-gaussians']:.4f}.",
    )
    record.answer("Is the code standard normal?", f"{'; '.join(said)}.")
