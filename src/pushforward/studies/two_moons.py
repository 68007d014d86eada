"""Two moons: the source's flow, a better one, their pictures, and the source's questions answered by measurement."""

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.data import Density, ToyData, two_moons
from pushforward.flows import Flow
from pushforward.report.plots import BLACK, DATA, SAMPLES
from pushforward.studies import moons_questions, pictures, toys
from pushforward.studies.record import Record

TITLE = "Two moons: a flow built from parts"
SOURCE = "a course assignment on normalizing flows, parts 10.5 and 10.6"

AREA = pictures.SOURCE_WINDOW
LAYERS = 4


def run(record: Record) -> None:
    """Train the source's flow and ours from several seeds, draw what the source draws, answer what it asks."""
    seeds = record.seeds()
    data = {seed: two_moons(5_000 if record.quick else 100_000, standardize=True, seed=seed) for seed in seeds}
    plain = {seed: _source_run(record, data[seed].x, seed) for seed in seeds}
    ours = {
        seed: toys.fit_spline(record, f"ours, seed {seed}", data[seed].x, seed=seed, num_steps=6_000) for seed in seeds
    }
    _qualities(record, data, plain, ours)

    seed = record.seed
    flow, density = plain[seed], data[seed].density
    _what_it_learned(record, flow, data[seed])
    _layer_by_layer(record, flow)
    second = plain[seeds[1]] if len(seeds) > 1 else _source_run(record, data[seed].x, seed + 1)
    _two_trainings(record, flow, second, density)
    _is_the_code_normal(record, flow, ours[seed], density)
    moons_questions.bridge(record, data[seed], source_flow, ours[seed])
    moons_questions.adversarial(record, data[seed], flow, ours[seed])
    moons_questions.uniform_base(record, data[seed].x)
    moons_questions.thin_moons(record)


def source_flow(seed: int) -> Flow:
    """Return the source's flow: four affine couplings with swaps, two hidden layers of 16, s unbounded."""
    torch.manual_seed(seed)
    return recipes.realnvp(2, num_layers=LAYERS, hidden_features=(16, 16), log_scale="plain", mixing="swap")


def _source_run(record: Record, x: Tensor, seed: int) -> Flow:
    flow = source_flow(seed)
    record.fit(
        f"source, seed {seed}", flow, x, epochs=2 if record.quick else 100, batch_size=128, learning_rate=1e-3,
        schedule="constant", seed=seed, compile=not record.quick,
    )  # fmt: skip
    return flow


def _qualities(record: Record, data: dict[int, ToyData], plain: dict[int, Flow], ours: dict[int, Flow]) -> None:
    record.heading("Likelihood on fresh points")
    entropies = [one.density.entropy() for one in data.values()]
    record.number("entropy", entropies)
    rows = []
    for key, name, flows in (
        ("source", "RealNVP, 4 couplings (source)", plain),
        ("ours", "6 splines (ours)", ours),
    ):
        qualities = [toys.quality(flows[seed], data[seed].density, seed, quick=record.quick) for seed in data]
        rows.append([name, *toys.record_qualities(record, key, qualities)])
        if key == "source":
            worst = max(one.nll for one in qualities)
    record.table(toys.QUALITY_NOTE, ["model", *toys.QUALITY_HEADER], rows)
    record.text(
        "Each seed draws its own 100,000 training points and scales them by their own mean and deviation. The exact "
        f"entropy of the standardized law is then {min(entropies):.4f} to {max(entropies):.4f} nats: no model can have "
        "a lower test NLL."
    )
    record.answer(
        "The negative log probability after training should be below 1.9. Is it?",
        f"{'Yes' if worst < 1.9 else 'No'}: at most {worst:.4f} over the seeds, on fresh points.",
    )


def _what_it_learned(record: Record, flow: Flow, data: ToyData) -> None:
    record.heading("What the flow learned")
    samples = flow.sample(10_000, generator=torch.Generator().manual_seed(record.seed))
    figure, panels = pictures.board(3)
    pictures.points(panels[0], data.x, "training data", AREA, colour=DATA)
    pictures.log_densities(
        figure,
        panels[1:],
        {"exact density": data.density.log_prob, "the source's flow": flow.log_prob},
        AREA,
        grid=record.grid,
    )
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
    difference = pictures.on_grid(first.log_prob, AREA, record.grid) - pictures.on_grid(
        second.log_prob, AREA, record.grid
    )
    image = panels[2].imshow(difference, origin="lower", extent=AREA, cmap="PuOr", vmin=-4, vmax=4)
    figure.colorbar(image, ax=panels[2], shrink=0.75, label="difference (nats)", extend="both", aspect=25)
    pictures.frame(panels[2], "where they differ", AREA)
    record.picture(
        "twice",
        figure,
        "Two trainings of the source's flow, and the difference of their log densities (cut at 4 nats).",
    )
    figure, panels = pictures.board(LAYERS + 1, size=2.9)
    pictures.log_densities(
        figure,
        panels,
        {f"another, {number}": second.from_base(number).log_prob for number in range(LAYERS + 1)},
        AREA,
        grid=record.grid,
    )
    record.picture("couplings-twice", figure, "The other training with its 0 to 4 couplings nearest the base.")

    fresh = density.sample(10_000, toys.TEST_SEED + record.seed).float()
    samples = [
        flow.sample(toys.COMPARED_POINTS, generator=torch.Generator().manual_seed(n))
        for n, flow in enumerate((first, second))
    ]
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


def _is_the_code_normal(record: Record, plain: Flow, ours: Flow, density: Density) -> None:
    record.heading("Is the code standard normal?")
    fresh = density.sample(10_000, toys.TEST_SEED + record.seed).float()
    said = [toys.latent_normality(record, name, flow, fresh) for name, flow in (("source", plain), ("ours", ours))]
    record.answer(
        "What distribution do you expect for data sent through the inverse, and does it come out?",
        f"The base, N(0, I). {'; '.join(said)}.",
    )
