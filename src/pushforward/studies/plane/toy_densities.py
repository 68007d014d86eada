"""All toy densities: affine couplings, spline couplings and an autoregressive flow of equal size, against the truth."""

from collections.abc import Callable
from functools import partial

from pushforward import Flow, metrics, recipes
from pushforward.data import TOYS, ToyData
from pushforward.report.plots.canvas import SAMPLES
from pushforward.studies.kit import Candidate, Comparison, Record, drawn, num_parameters, pictures
from pushforward.studies.kit.tables import mean, shown
from pushforward.studies.plane import quality
from pushforward.studies.plane.flows import our_splines, spline_flow
from pushforward.transforms import Standardize

TITLE = "Every toy density, three kinds of flow, one size"
SOURCE = "an exercise sheet on masked couplings (two Gaussians, chequerboard), and the usual toy densities"

POINTS = 50_000
BETTER = {"chequerboard": 32, "two-gaussians": 8}  # trained longer, from several seeds: name -> bins
LAYERS = 6


def run(record: Record) -> None:
    """Fit three flows of equal size to every density for as many steps; then the source's two with more care."""
    candidates = _candidates()
    sizes = {kind: num_parameters(candidate.make()) for kind, candidate in candidates.items()}
    record.number("parameters", sizes)
    num_points = record.size(100_000, quick=2_000)
    rows, found = [], {}
    for name in record.size(list(TOYS), quick=list(TOYS)[:2]):
        data = TOYS[name](record.size(POINTS, quick=2_000), seed=record.seed)
        x = {record.seed: data.x}
        trained = Comparison(record).train(candidates, x.__getitem__, seeds=list(x), label=f"{name}, {{key}}")
        flows = {kind: trained.first(kind) for kind in candidates}
        scores = {
            kind: metrics.excess(flow, data.density, num_points, quality.TEST_SEED) for kind, flow in flows.items()
        }
        entropy = data.density.entropy()
        found[name] = {kind: score.mean for kind, score in scores.items()}
        excesses = {kind: [score.mean, score.standard_error] for kind, score in scores.items()}
        record.number(f"excess.{name}", excesses | {"entropy": entropy})
        rows.append([name, entropy, *(f"{shown(one.mean)} ± {shown(one.standard_error)}" for one in scores.values())])
        _picture(record, name, data, flows)
    record.table(
        "Excess over the exact density in nats, fresh points ± standard error; one seed, equal parameters "
        f"({' / '.join(f'{size:,}' for size in sizes.values())}) and steps.",
        ["density", "exact entropy", *candidates],
        rows,
    )
    wins = {kind: sum(min(one, key=one.__getitem__) == kind for one in found.values()) for kind in candidates}
    record.answer(
        "Which kind of flow fits best at equal size?",
        f"Best on {', '.join(f'{count} of {len(found)}: {kind}' for kind, count in wins.items())}.",
    )
    _with_care(record)


def _candidates() -> dict[str, Candidate]:
    """Return the three kinds with parameter counts as equal as widths allow."""
    splines = partial(spline_flow, num_layers=LAYERS)
    aim = num_parameters(splines())

    def fitting(recipe: Callable[..., Flow]) -> Callable[[], Flow]:
        def make(width: int) -> Flow:
            sizes = {"num_layers": LAYERS, "hidden_features": (width, width)}
            return recipe(2, **sizes, mixing="lu", preprocessing=[Standardize(2)])

        return partial(make, min(range(16, 129), key=lambda width: abs(num_parameters(make(width)) - aim)))

    makers: dict[str, Callable[[], Flow]]
    makers = {"realnvp": fitting(recipes.realnvp), "maf": fitting(recipes.maf), "nsf": splines}
    options = {"num_steps": 1_500, "batch_size": 512}
    return {kind: Candidate(kind, make, options, quick={"num_steps": 20}) for kind, make in makers.items()}


def _picture(record: Record, name: str, data: ToyData, flows: dict[str, Flow]) -> None:
    contents: dict[str, pictures.Content] = {"exact density": data.density.log_prob}
    contents |= {kind: flow.log_prob for kind, flow in flows.items()}
    contents["samples of nsf"] = pictures.Points(drawn(flows["nsf"], 5_000, record.seed), SAMPLES)
    figure, _ = pictures.panels(contents, pictures.window(data.x[:10_000]), grid=min(record.grid, 200), size=2.9)
    record.picture(name, figure, f"{name}: log densities and 5,000 samples of the spline flow.")


def _with_care(record: Record) -> None:
    record.heading("The source's two densities, trained longer")
    rows, means, said = {}, {}, []
    for name, bins in BETTER.items():
        data = {seed: TOYS[name](record.size(100_000, quick=2_000), seed=seed) for seed in record.seeds()}
        splines, label = {name: our_splines(4_000, bins=bins)}, f"{name}, {bins} bins, seed {{seed}}"
        flows = quality.compare(record, splines, data, label=label, keep="longer.{key}")
        last, density = flows.trained[name][-1], data[record.seed].density
        fresh = density.sample(10_000, quality.TEST_SEED + last.seed)
        said.append(quality.code_normality(record, {name: last.model}, fresh))
        rows[name, density.entropy()] = flows.scores[name]
        means[name] = mean(flows.scores[name], "excess")
    record.scores(quality.NOTE, ("density", "exact entropy"), quality.COLUMNS, rows)
    record.answer(
        "Can the chequerboard, with its sharp edges, be fitted as well?",
        f"To within {means['chequerboard']:.4f} nats of the truth (splines of {BETTER['chequerboard']} bins); the two "
        f"Gaussians to {means['two-gaussians']:.4f}.",
    )
    record.answer("Is the code standard normal?", f"{'; '.join(said)}.")
