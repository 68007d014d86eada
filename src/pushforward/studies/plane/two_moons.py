"""Two moons: the source's flow, a better one, their pictures, and the source's questions answered by measurement."""

from functools import partial

import torch

from pushforward import metrics, recipes
from pushforward.data import Density, ToyData, two_moons
from pushforward.flows import Flow
from pushforward.report.plots import BLACK, DATA, SAMPLES
from pushforward.studies.kit import pictures
from pushforward.studies.kit.comparison import Candidate, drawn, train
from pushforward.studies.kit.record import Record
from pushforward.studies.plane import moons_questions
from pushforward.studies.plane.quality import (
    COMPARED_POINTS,
    QUALITY_COLUMNS,
    QUALITY_NOTE,
    TEST_SEED,
    are_the_codes_normal,
    compare,
    our_splines,
)

TITLE = "Two moons: a flow built from parts"
SOURCE = "a course assignment on normalizing flows, parts 10.5 and 10.6"

AREA = pictures.SOURCE_WINDOW
LAYERS = 4
SOURCES_FLOW = Candidate(  # two hidden layers of 16, s unbounded
    f"RealNVP, {LAYERS} couplings (source)",
    partial(recipes.realnvp, 2, num_layers=LAYERS, hidden_features=(16, 16), log_scale="plain", mixing="swap"),
    {"epochs": 100, "batch_size": 128, "learning_rate": 1e-3, "schedule": "constant", "compile": True},
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
    flows, qualities = compare(record, models, data, label="{key}, seed {seed}", keep="{key}")
    flows.table(QUALITY_NOTE, "model", QUALITY_COLUMNS, qualities)
    record.text(
        "Each seed draws its own 100,000 training points and scales them by their own mean and deviation. The exact "
        f"entropy of the standardized law is then {min(entropies):.4f} to {max(entropies):.4f} nats: no model can have "
        "a lower test NLL."
    )
    worst = max(one.nll for one in qualities["source"])
    record.answer(
        "The negative log probability after training should be below 1.9. Is it?",
        f"{'Yes' if worst < 1.9 else 'No'}: at most {worst:.4f} over the seeds, on fresh points.",
    )

    seed = record.seed
    plain, ours, density = flows.first("source"), flows.first("ours"), data[seed].density
    _what_it_learned(record, plain, data[seed])
    _layer_by_layer(record, plain)
    if record.quick:
        other = train(record, f"source, seed {seed + 1}", SOURCES_FLOW, data[seed].x, seed + 1).model
    else:
        other = flows.trained["source"][1].model
    _two_trainings(record, plain, other, density)
    record.heading("Is the code standard normal?")
    are_the_codes_normal(
        record,
        "What distribution do you expect for data sent through the inverse, and does it come out?",
        {"source": plain, "ours": ours},
        density.sample(10_000, TEST_SEED + seed).float(),
        "The base, N(0, I). ",
    )
    moons_questions.bridge(record, data[seed], SOURCES_FLOW, ours)
    moons_questions.adversarial(record, data[seed], plain, ours)
    moons_questions.uniform_base(record, data[seed].x)
    moons_questions.thin_moons(record)


def _what_it_learned(record: Record, flow: Flow, data: ToyData) -> None:
    record.heading("What the flow learned")
    samples = drawn(flow, 10_000, record.seed)
    figure, panels = pictures.board(3)
    pictures.points(panels[0], data.x, "training data", AREA, colour=DATA)
    densities: pictures.Densities = {"exact density": data.density.log_prob, "the source's flow": flow.log_prob}
    pictures.log_densities(figure, panels[1:], densities, AREA, grid=record.grid)
    record.picture(
        "density", figure, "10,000 training points; the exact log density; the log density of the source's flow."
    )

    figure, panels = pictures.board(3)
    pictures.points(panels[0], samples, "10,000 samples", AREA, colour=SAMPLES)
    pictures.points(panels[1], data.x, "samples over data", AREA, colour=DATA)
    pictures.points(panels[1], samples, "samples over data", AREA, colour=SAMPLES, size=0.6)
    with torch.no_grad():
        codes = flow.encode(data.x[:10_000])
    pictures.points(panels[2], codes, "data sent to the latent space", (-4, 4, -4, 4), labels=data.labels)
    angle = torch.linspace(0, 2 * torch.pi, 200)
    for radius in (1, 2, 3):
        panels[2].plot(radius * angle.cos(), radius * angle.sin(), color=BLACK, linewidth=0.8, linestyle="--")
    pictures.frame(panels[2], "data sent to the latent space", (-4, 4, -4, 4), ("$z_1$", "$z_2$"))
    record.picture(
        "samples",
        figure,
        "Samples of the source's flow; the same over the data; the data in the latent space, coloured by moon, with "
        "circles of radius 1, 2, 3.",
    )


def _layer_by_layer(record: Record, flow: Flow) -> None:
    record.heading("Density with the first couplings only")
    densities = {
        f"{number} coupling{'s' * (number != 1)}": flow.from_base(number).log_prob for number in range(LAYERS + 1)
    }
    figure, panels = pictures.board(LAYERS + 1, size=2.9)
    pictures.log_densities(figure, panels, densities, AREA, grid=record.grid)
    record.picture(
        "couplings",
        figure,
        "Log density with the 0 to 4 couplings nearest the base; every swap stays, a left-out coupling is the "
        "identity.",
    )


def _two_trainings(record: Record, first: Flow, second: Flow, density: Density) -> None:
    record.heading("Trained twice")
    figure, panels = pictures.board(3)
    pictures.log_densities(
        figure, panels[:2], {"one training": first.log_prob, "another": second.log_prob}, AREA, grid=record.grid
    )
    one, other = (pictures.on_grid(flow.log_prob, AREA, record.grid) for flow in (first, second))
    image = panels[2].imshow(one - other, origin="lower", extent=AREA, cmap="PuOr", vmin=-4, vmax=4)
    figure.colorbar(image, ax=panels[2], shrink=0.75, label="difference (nats)", extend="both", aspect=25)
    pictures.frame(panels[2], "where they differ", AREA)
    record.picture(
        "twice",
        figure,
        "Two trainings of the source's flow, and the difference of their log densities (cut at 4 nats).",
    )
    figure, panels = pictures.board(LAYERS + 1, size=2.9)
    densities = {f"another, {number}": second.from_base(number).log_prob for number in range(LAYERS + 1)}
    pictures.log_densities(figure, panels, densities, AREA, grid=record.grid)
    record.picture("couplings-twice", figure, "The other training with its 0 to 4 couplings nearest the base.")

    fresh = density.sample(10_000, TEST_SEED + record.seed).float()
    samples = [drawn(flow, COMPARED_POINTS, seed) for seed, flow in enumerate((first, second))]
    with torch.no_grad():
        apart = (first.log_prob(fresh) - second.log_prob(fresh)).abs().mean().item()
        halfway = [flow.from_base(LAYERS // 2).log_prob(fresh) for flow in (first, second)]
        apart_halfway = (halfway[0] - halfway[1]).abs().mean().item()
    test = metrics.mmd_null(*samples, seed=record.seed)
    limit = test.null.quantile(0.95).item()
    record.number(
        "two_trainings",
        {
            "mean_absolute_log_ratio": apart,
            "after_two_couplings": apart_halfway,
            "mmd": test.observed,
            "mmd_limit": limit,
        },
    )
    alike = "as two draws of one law would" if test.observed <= limit else "more than two draws of one law would"
    record.answer(
        "Train the model again. Are the two models similar?",
        f"As densities: log p differs by {apart:.3f} nats on average at fresh points, and their samples differ {alike} "
        f"(MMD² {test.observed:.1e}, 95 % limit {limit:.1e}). As sequences of layers: after two of four couplings they "
        f"are {apart_halfway:.2f} nats apart.",
    )
