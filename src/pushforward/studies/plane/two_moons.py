"""Two moons: the source's flow, a better one, their pictures, and the source's questions answered by measurement."""

from functools import partial

import torch

from pushforward import Flow, metrics, recipes
from pushforward.data import Density, ToyData, two_moons
from pushforward.report.plots.canvas import DATA, SAMPLES
from pushforward.studies.kit import Candidate, Points, Record, drawn, pictures, train
from pushforward.studies.plane import moons_questions, quality
from pushforward.studies.plane.flows import our_splines

TITLE = "Two moons: a flow built from parts"
SOURCE = "a course assignment on normalizing flows, parts 10.5 and 10.6"

AREA = pictures.SOURCE_WINDOW
LAYERS = 4
SOURCES_FLOW = Candidate(  # two hidden layers of 16, s unbounded
    f"RealNVP, {LAYERS} couplings (source)",
    partial(recipes.realnvp, 2, num_layers=LAYERS, hidden_features=(16, 16), log_scale="plain", mixing="swap"),
    {"epochs": 100, "batch_size": 128, "learning_rate": 1e-3, "schedule": "constant"},
    quick={"epochs": 2},
)


def run(record: Record) -> None:
    """Train the source's flow and ours from several seeds, draw what the source draws, answer what it asks."""
    num_points = record.size(100_000, quick=5_000)
    data = {seed: two_moons(num_points, standardize=True, seed=seed) for seed in record.seeds()}
    record.heading("Likelihood on fresh points")
    entropies = [one.density.entropy() for one in data.values()]
    record.number("entropy", entropies)
    models = {"source": SOURCES_FLOW, "ours": our_splines(6_000)}
    flows = quality.compare(record, models, data, label="{key}, seed {seed}", keep="{key}")
    flows.table(quality.NOTE, "model", quality.COLUMNS)
    record.text(
        "Each seed draws its own 100,000 training points and scales them by their own mean and deviation. The exact "
        f"entropy of the standardized law is then {min(entropies):.4f} to {max(entropies):.4f} nats: no model can have "
        "a lower test NLL."
    )
    worst = max(one.nll for one in flows.scores["source"])
    record.answer(
        "The negative log probability after training should be below 1.9. Is it?",
        f"{'Yes' if worst < 1.9 else 'No'}: at most {worst:.4f} over the seeds, on fresh points.",
    )

    seed = record.seed
    plain, ours, density = flows.first("source"), flows.first("ours"), data[seed].density
    _what_it_learned(record, plain, data[seed])
    record.heading("Density with the first couplings only")
    _with_first_couplings(
        record,
        "couplings",
        {f"{number} coupling{'s' * (number != 1)}": plain.from_base(number) for number in range(LAYERS + 1)},
        "Log density with the 0 to 4 couplings nearest the base; every swap stays, a left-out coupling is the "
        "identity.",
    )
    if len(record.seeds()) == 1:
        other = train(record, f"source, seed {seed + 1}", SOURCES_FLOW, data[seed].x, seed + 1).model
    else:
        other = flows.trained["source"][1].model
    _two_trainings(record, plain, other, density)
    record.heading("Is the code standard normal?")
    fresh = density.sample(10_000, quality.TEST_SEED + seed)
    record.answer(
        "What distribution do you expect for data sent through the inverse, and does it come out?",
        f"The base, N(0, I). {quality.code_normality(record, {'source': plain, 'ours': ours}, fresh)}.",
    )
    moons_questions.bridge(record, data[seed], SOURCES_FLOW, ours)
    moons_questions.adversarial(record, data[seed], plain, ours)
    moons_questions.uniform_base(record, data[seed].x)
    moons_questions.thin_moons(record)


def _what_it_learned(record: Record, flow: Flow, data: ToyData) -> None:
    record.heading("What the flow learned")
    points, samples = Points(data.x, DATA), drawn(flow, 10_000, record.seed)
    contents: dict[str, pictures.Content]
    contents = {"training data": points, "exact density": data.density.log_prob, "the source's flow": flow.log_prob}
    figure, _ = pictures.panels(contents, AREA, grid=record.grid)
    caption = "10,000 training points; the exact log density; the log density of the source's flow."
    record.picture("density", figure, caption)
    latent = "data sent to the latent space"
    contents = {
        "10,000 samples": Points(samples, SAMPLES),
        "samples over data": [points, Points(samples, SAMPLES, size=0.6)],
        latent: Points(flow.encode(data.x[:10_000]), labels=data.labels),
    }
    figure, (*_, codes) = pictures.panels(contents, AREA)
    pictures.circles(codes, (1, 2, 3), linewidth=0.8, linestyle="--")
    pictures.frame(codes, latent, (-4, 4, -4, 4), ("$z_1$", "$z_2$"))
    record.picture(
        "samples",
        figure,
        "Samples of the source's flow; the same over the data; the data in the latent space, coloured by moon, with "
        "circles of radius 1, 2, 3.",
    )


def _with_first_couplings(record: Record, name: str, flows: dict[str, Flow], caption: str) -> None:
    densities = {title: flow.log_prob for title, flow in flows.items()}
    record.picture(name, pictures.panels(densities, AREA, grid=record.grid, size=2.9)[0], caption)


def _two_trainings(record: Record, first: Flow, second: Flow, density: Density) -> None:
    record.heading("Trained twice")
    densities = {"one training": first.log_prob, "another": second.log_prob}
    figure, (*_, axes) = pictures.panels({**densities, "where they differ": None}, AREA, grid=record.grid)
    one, other = (pictures.on_grid(log_prob, AREA, record.grid) for log_prob in densities.values())
    image = axes.imshow((one - other).numpy(), origin="lower", extent=AREA, cmap="PuOr", vmin=-4, vmax=4)
    figure.colorbar(image, ax=axes, shrink=0.75, label="difference (nats)", extend="both", aspect=25)
    caption = "Two trainings of the source's flow, and the difference of their log densities (cut at 4 nats)."
    record.picture("twice", figure, caption)
    _with_first_couplings(
        record,
        "couplings-twice",
        {f"another, {number}": second.from_base(number) for number in range(LAYERS + 1)},
        "The other training with its 0 to 4 couplings nearest the base.",
    )
    fresh = density.sample(10_000, quality.TEST_SEED + record.seed)
    samples = [drawn(flow, quality.COMPARED_POINTS, seed) for seed, flow in enumerate((first, second))]
    test = metrics.mmd_null(*samples, seed=record.seed)

    @torch.no_grad()
    def apart(one: Flow, other: Flow) -> float:
        return (one.log_prob(fresh) - other.log_prob(fresh)).abs().mean().item()

    whole, halfway = apart(first, second), apart(first.from_base(LAYERS // 2), second.from_base(LAYERS // 2))
    facts = {"mean_absolute_log_ratio": whole, "after_two_couplings": halfway}
    record.number("two_trainings", facts | {"mmd": test.observed, "mmd_limit": test.limit})
    alike = "as two draws of one law would" if test.observed <= test.limit else "more than two draws of one law would"
    record.answer(
        "Train the model again. Are the two models similar?",
        f"As densities: log p differs by {whole:.3f} nats on average at fresh points, and their samples differ {alike} "
        f"(MMD² {test.observed:.1e}, 95 % limit {test.limit:.1e}). As sequences of layers: after two of four couplings "
        f"they are {halfway:.2f} nats apart.",
    )
