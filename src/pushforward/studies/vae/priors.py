"""Five priors of one variational autoencoder on binarized MNIST: bounds, samples, and how well each prior fits."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pushforward.studies.kit.cells import Found, complete
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import Columns, cells, largest, mean, spread
from pushforward.studies.vae import pictures
from pushforward.studies.vae.runs import WARM_UP_WEIGHT, Run

TITLE = "A variational autoencoder with a flow prior"
SOURCE = "an exercise sheet on normalizing flows (masked coupling), exercise 2.6"

LATENT = 32
PLANAR = 10
PRIORS = {
    "normal": "standard normal",
    "mixture": "mixture of 100 normals",
    "vampprior": "VampPrior, 500 pseudo-inputs",
    "flow": "flow, 8 masked affine couplings",
    "spline": "flow, 4 spline couplings",
}
SHORT = {
    "normal": "normal",
    "mixture": "mixture",
    "vampprior": "VampPrior",
    "flow": "affine flow",
    "spline": "spline flow",
}
PUBLISHED = [
    ["neural spline flows (arXiv:1906.04032); flow in prior and posterior", "-85.61", "-82.08"],
    ["ResNet VAE with 40 latents (Xu 2019)", "-84.62", "-80.34"],
]
QUICK = {
    "epochs": 4, "batch_size": 50, "hidden": 32, "elbo_samples": 2, "iwae_images": 20, "iwae_samples": 20,
    "compared": 50, "sample": True,
}  # fmt: skip
BOUNDS: Columns = (
    ("test ELBO", "elbo"),
    ("s.e.", largest("elbo_error")),
    ("log p(x|z)", "likelihood"),
    ("rate", "rate"),
    ("IWAE", "iwae"),
    ("s.e.", largest("iwae_error")),
)
BOUNDS_OF_ONE: Columns = (*BOUNDS, ("active latents", largest("active")), ("seconds", "seconds"))

ByPrior = dict[str, list[Found]]  # by seed


def run(record: Record) -> None:
    """Do the runs that the folder does not hold yet, and answer the source's questions from all of them."""
    options: dict[str, Any] = record.size({}, quick=QUICK)
    first = record.seed
    main = [Run(prior, LATENT, seed=seed, **options) for seed in record.seeds() for prior in PRIORS]
    small = [Run(prior, latent, seed=first, **options) for latent in (2, 10) for prior in ("normal", "flow")]
    planar = Run("normal", LATENT, seed=first, planar=PLANAR, **options)
    cut = [Run(prior, LATENT, "threshold", seed=first, **options) for prior in ("normal", "flow")]
    runs = [*main, *small, planar, *cut]
    found = dict(zip(runs, complete(record, runs), strict=True))
    for each, one in found.items():
        record.runs.append({"label": each.name, **{key: vars(one)[key] for key in ("parameters", "steps", "seconds")}})
        model = f"{each.prior} and planar posterior" if each.planar else each.prior
        kept = {key: value for key, value in vars(one).items() if isinstance(value, (int, float))}
        record.number(f"{each.binarization}.latent {each.latent}.{model}.seed {each.seed}", kept)
    example = main[0]
    record.text(
        f"Encoder and decoder have two hidden layers of {example.hidden} units (ReLU); the decoder gives a Bernoulli "
        f"a pixel. Every run trains for {example.epochs} epochs (Adam, cosine schedule from {example.learning_rate:g}, "
        f"batches of {example.batch_size}) by the same one-sample ELBO and keeps the weights that are best on the "
        f"validation images; before, it warms up for {example.warm_up} epoch with the KL term weighted "
        f"{WARM_UP_WEIGHT:g} at half that learning rate. Batch size, learning rate and warm-up were chosen for the "
        "normal prior on validation images. Dynamic binarization draws every pixel anew in every batch, with its "
        "grey level as probability; validation images are drawn the same way at every check, and test images once, the "
        f"same for all models. The test ELBO is over all test images with {example.elbo_samples} posterior samples "
        f"each, the importance-weighted bound (IWAE, {example.iwae_samples} samples) over "
        f"{found[example].iwae_images:,} of them. All numbers are nats per image, higher is better. The "
        f"{len(found)} trainings took {sum(one.seconds for one in found.values()) / 60:.0f} minutes of one thread in "
        "all, two at a time; those of an earlier call of the study are kept."
    )
    by_prior = {prior: [found[each] for each in main if each.prior == prior] for prior in PRIORS}
    few = [found[each] for each in small]
    gains = _compare(record, by_prior)
    _few_latents(record, [*few, by_prior["normal"][0], by_prior["flow"][0]])
    _planar_posterior(record, found[planar], by_prior["normal"][0])
    _thresholded(record, *(found[each] for each in cut))
    _match(record, by_prior, few)
    _pictures(record, by_prior, few, found[planar], gains)


def gain(one: Found, other: Found) -> tuple[float, float]:
    """Return how far the test ELBO of `one` lies above that of `other`, image by image, and its standard error."""
    difference = one.elbos - other.elbos
    return difference.mean().item(), (difference.std() / len(difference) ** 0.5).item()


def _compare(record: Record, by_prior: ByPrior) -> dict[str, list[tuple[float, float]]]:
    """Return each prior's gain over the normal one, and its standard error, of every seed."""
    record.heading(f"{LATENT} latents, dynamically binarized MNIST")
    gains = {
        prior: [gain(*pair) for pair in zip(found, by_prior["normal"], strict=True)]
        for prior, found in by_prior.items()
    }
    for prior, values in gains.items():
        record.number(f"gain over the normal prior.{prior}", [value for value, _ in values])

    def gained(found: Sequence[Found]) -> str:
        prior = found[0].cell.prior
        return "" if prior == "normal" else spread([value for value, _ in gains[prior]])

    def its_error(found: Sequence[Found]) -> Any:
        prior = found[0].cell.prior
        return "" if prior == "normal" else max(error for _, error in gains[prior])

    record.scores(
        f"Mean over {len(by_prior['normal'])} seeds (lowest to highest). The gain is over the normal prior with the "
        "same seed, image by image; its standard error is that of these differences. ELBO = log p(x|z) - rate, the "
        "rate being log q(z|x) - log p(z).",
        "prior",
        (
            *BOUNDS[:2],
            ("gain", gained),
            ("s.e.", its_error),
            *BOUNDS[2:],
            ("parameters", largest("parameters")),
            ("seconds", "seconds"),
        ),
        {PRIORS[prior]: found for prior, found in by_prior.items()},
    )
    record.table(
        "Published ELBOs on dynamically binarized MNIST, all with larger, convolutional networks and longer training.",
        ["source", "normal prior", "flow prior"],
        PUBLISHED,
    )
    means = {prior: fmean(value for value, _ in values) for prior, values in gains.items()}
    seeds = "in every seed" if all(value > 0 for value, _ in gains["flow"]) else "not in every seed"
    between = "in between" if means["normal"] < means["mixture"] < means["flow"] else "not in between"
    rate, likelihood = (
        [mean(by_prior[prior], field) for prior in ("normal", "flow")] for field in ("rate", "likelihood")
    )
    record.answer(
        "Evaluate the test set ELBO. Do you see better performance?",
        f"With equal encoders and decoders and {LATENT} latents the affine flow prior lies {means['flow']:.2f} nats "
        f"above the normal prior on average ({seeds}; the spline flow {means['spline']:.2f}, the VampPrior "
        f"{means['vampprior']:.2f}, the mixture {means['mixture']:.2f}). From lowest to highest: "
        f"{', '.join(SHORT[prior] for prior in sorted(means, key=means.__getitem__))}. The mixture, the one prior that "
        f"the source compares with, is {between}. The flow changes the rate from {rate[0]:.1f} to {rate[1]:.1f} nats "
        f"and log p(x|z) from {likelihood[0]:.1f} to {likelihood[1]:.1f}.",
    )
    return gains


def _few_latents(record: Record, found: Sequence[Found]) -> None:
    record.heading("Fewer latents")
    record.table(
        "Dynamically binarized, one seed.",
        ["latents", "prior", *(header for header, _ in BOUNDS_OF_ONE)],
        [[one.cell.latent, SHORT[one.cell.prior], *cells(BOUNDS_OF_ONE, [one])] for one in found],
    )
    gains = {normal.cell.latent: gain(flow, normal) for normal, flow in zip(found[::2], found[1::2], strict=True)}
    record.answer(
        "With how many latents does a flow prior help?",
        "The affine flow prior lies above the normal one by "
        + ", ".join(f"{value:.2f} ± {error:.2f} nats with {latent} latents" for latent, (value, error) in gains.items())
        + " (one seed; the standard error is that of the differences over test images).",
    )


def _planar_posterior(record: Record, refined: Found, plain: Found) -> None:
    record.heading("A planar flow in the posterior")
    record.scores(
        f"Normal prior, {LATENT} latents, dynamically binarized, one seed; the encoder steers the planar maps.",
        "posterior",
        BOUNDS_OF_ONE,
        {"diagonal normal": [plain], f"and {PLANAR} planar maps": [refined]},
    )
    value, error = gain(refined, plain)
    record.answer(
        "Does a planar flow refine the posterior?",
        f"With {PLANAR} planar maps, steered by 32 outputs of the encoder, the test ELBO changes by {value:+.2f} ± "
        f"{error:.2f} nats (one seed).",
    )


def _thresholded(record: Record, normal: Found, flow: Found) -> None:
    record.heading("Thresholded MNIST: another data set")
    record.scores(
        f"MNIST cut at half of full ink, {LATENT} latents, one seed. Thresholded images have a lower entropy: these "
        "numbers are not comparable with any others here.",
        "prior",
        BOUNDS_OF_ONE,
        {SHORT[one.cell.prior]: [one] for one in (normal, flow)},
    )
    value, error = gain(flow, normal)
    record.answer(
        "And on thresholded images?",
        f"There the affine flow prior lies {value:.2f} ± {error:.2f} nats above the normal one (one seed).",
    )


def _title(one: Found) -> str:
    return f"{SHORT[one.cell.prior]}, {one.cell.latent} latents"


def _match(record: Record, by_prior: ByPrior, few: Sequence[Found]) -> None:
    record.heading("Does the prior match the aggregate posterior?")
    columns: Columns = (
        ("MMD²", "mmd"),
        ("null, 95 %", "mmd_null_95"),
        ("MMD² / null", lambda found: spread([one.mmd / one.mmd_null_95 for one in found])),
        ("p", "mmd_p"),
        ("C2ST", "c2st"),
    )
    record.scores(
        "One latent for each of many test images against as many from the prior. MMD² has the median distance as its "
        "kernel width, so it compares the two laws of one model, not models; its null is the 95 % quantile of 200 "
        f"random splits. The C2ST is the cross-validated accuracy of boosted trees on {few[0].c2st_rows:,} latents of "
        "each law, one half if they are equal.",
        "prior",
        columns,
        {_title(found[0]): found for found in [*([one] for one in few), *by_prior.values()]},
    )
    accuracies = {prior: mean(found, "c2st") for prior, found in by_prior.items()}
    record.answer(
        "Plot the samples from the approximate posterior and samples from the prior. Do they match well?",
        "A classifier tells the two apart with an accuracy of "
        + ", ".join(
            f"{accuracies[prior]:.3f} ({SHORT[prior]})" for prior in sorted(accuracies, key=accuracies.__getitem__)
        )
        + f" with {LATENT} latents; one half would be a perfect match.",
    )


def _pictures(
    record: Record,
    by_prior: ByPrior,
    few: Sequence[Found],
    refined: Found,
    gains: dict[str, list[tuple[float, float]]],
) -> None:
    record.heading("Pictures")
    main, small = {SHORT[prior]: found[0] for prior, found in by_prior.items()}, {_title(one): one for one in few}
    record.picture(
        "training",
        pictures.training(main, {SHORT[prior]: gains[prior] for prior in PRIORS if prior != "normal"}),
        f"Left: training with {LATENT} latents, first seed. Right: the gain of each prior over the normal one on test "
        "images, a dot a seed with the standard error over images.",
    )
    record.picture(
        "latents",
        pictures.latents({**small, **main}),
        "Samples of the approximate posterior of test images over samples of the prior. With two latents these are "
        f"themselves the axes, else the first two principal components of the aggregate posterior ({LATENT} latents "
        "where none are named).",
    )
    record.picture(
        "samples",
        pictures.samples(main),
        f"Pixel probabilities decoded from samples of each prior at temperature 1, {LATENT} latents; not selected.",
    )
    record.picture("samples-few-latents", pictures.samples(small), "The same with fewer latents.")
    shown = {**small, **main, "normal, planar posterior": refined}
    record.picture(
        "reconstructions",
        pictures.reconstructions(
            {"test images, binarized": refined.images, **{name: one.reconstructions for name, one in shown.items()}}
        ),
        f"Pixel probabilities at the posterior's centre; {LATENT} latents where none are named.",
    )
    late = {prior: _late_gain(by_prior[prior][0]) for prior in ("normal", "flow")}
    record.number("validation ELBO gained in the last quarter", late)
    record.text(
        "The training is short: over the last quarter of its epochs the ELBO of the validation images still rose by "
        f"{late['normal']:.2f} nats with the normal prior and {late['flow']:.2f} with the affine flow."
    )


def _late_gain(one: Found) -> float:
    """Return by how many nats the validation ELBO rose over the last quarter of the training."""
    late = one.cell.warm_up + 0.75 * one.cell.epochs
    return min(loss for epoch, loss in one.curve if epoch <= late) - one.best_validation
