"""Five priors of one variational autoencoder on binarized MNIST: bounds, samples, and how well each prior fits."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread
from pushforward.studies.vae import pictures as vae_pictures
from pushforward.studies.vae.runs import WARM_UP_WEIGHT, Found, Run, complete

TITLE = "A variational autoencoder with a flow prior"
SOURCE = "an exercise sheet on normalizing flows (masked coupling), exercise 2.6"

NUM_WORKERS = 2
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


def run(record: Record) -> None:
    """Do the runs that the folder does not hold yet, and answer the source's questions from all of them."""
    options: dict[str, Any] = QUICK if record.quick else {}
    first = record.seed
    main = [Run(prior, LATENT, seed=seed, **options) for seed in record.seeds() for prior in PRIORS]
    small = [Run(prior, latent, seed=first, **options) for latent in (2, 10) for prior in ("normal", "flow")]
    refined = [Run("normal", LATENT, seed=first, planar=PLANAR, **options)]
    cut = [Run(prior, LATENT, "threshold", seed=first, **options) for prior in ("normal", "flow")]
    runs = [*main, *small, *refined, *cut]
    found = complete(runs, record.out / "runs", 0 if record.quick else NUM_WORKERS, record.say)
    by_run = dict(zip(runs, found, strict=True))
    record.runs += [
        {"label": one.run.name, **{key: one.numbers[key] for key in ("parameters", "steps", "seconds")}}
        for one in found
    ]
    for one in found:
        kept = {key: value for key, value in one.numbers.items() if key not in ("run", "curve")}
        record.number(f"{one.run.binarization}.latent {one.run.latent}.{_model(one.run)}.seed {one.run.seed}", kept)
    example = main[0]
    record.text(
        f"Encoder and decoder have two hidden layers of {example.hidden} units (ReLU); the decoder gives a Bernoulli "
        f"a pixel. Every run trains for {example.epochs} epochs (Adam, cosine schedule from {example.learning_rate:g}, "
        f"batches of {example.batch_size}) by the same one-sample ELBO and keeps the weights that are best on the "
        f"validation images; before, it warms up for {example.warm_up} epoch with the KL term weighted "
        f"{WARM_UP_WEIGHT:g} at half that learning rate. Batch size, learning rate and warm-up were chosen for the "
        "normal prior on validation images. Dynamic binarization draws every pixel anew in every batch, with its "
        "grey level as probability; validation images are drawn the same way at every check, and test images once, the "
        "same for all models. The "
        f"test ELBO is over all test images with {example.elbo_samples} posterior samples each, the "
        f"importance-weighted bound (IWAE, {example.iwae_samples} samples) over "
        f"{found[0].numbers['iwae_images']:,} of them. All numbers are nats per image, higher is better. The "
        f"{len(found)} trainings took {sum(one.numbers['seconds'] for one in found) / 60:.0f} minutes of one thread in "
        "all, two at a time; those of an earlier call of the study are kept."
    )
    by_prior = {prior: [by_run[one] for one in main if one.prior == prior] for prior in PRIORS}
    gains = _likelihoods(record, by_prior)
    _few_latents(record, [by_run[one] for one in [*small, *[one for one in main if one.seed == first]]])
    _refined(record, by_run[refined[0]], by_prior["normal"][0])
    _thresholded(record, [by_run[one] for one in cut])
    _match(record, by_prior, [by_run[one] for one in small])
    _pictures(record, by_prior, [by_run[one] for one in small], by_run[refined[0]], gains)


def _model(run: Run) -> str:
    return f"{run.prior} and planar posterior" if run.planar else run.prior


def gain(one: Found, other: Found) -> tuple[float, float]:
    """Return how far the test ELBO of `one` lies above that of `other`, image by image, and its standard error."""
    difference = one.arrays["elbo"] - other.arrays["elbo"]
    return difference.mean().item(), (difference.std() / len(difference) ** 0.5).item()


def _spread(found: Sequence[Found], key: str) -> str:
    return spread([one.numbers[key] for one in found])


def _likelihoods(record: Record, by_prior: dict[str, list[Found]]) -> dict[str, list[tuple[float, float]]]:
    record.heading(f"{LATENT} latents, dynamically binarized MNIST")
    gains = {
        prior: [gain(one, normal) for one, normal in zip(found, by_prior["normal"], strict=True)]
        for prior, found in by_prior.items()
    }
    rows = []
    for prior, found in by_prior.items():
        rows.append(
            [
                PRIORS[prior],
                _spread(found, "elbo"),
                max(one.numbers["elbo_error"] for one in found),
                "" if prior == "normal" else spread([value for value, _ in gains[prior]]),
                "" if prior == "normal" else max(error for _, error in gains[prior]),
                _spread(found, "likelihood"),
                _spread(found, "rate"),
                _spread(found, "iwae"),
                max(one.numbers["iwae_error"] for one in found),
                found[0].numbers["parameters"],
                _spread(found, "seconds"),
            ]
        )
        record.number(f"gain over the normal prior.{prior}", [value for value, _ in gains[prior]])
    record.table(
        f"Mean over {len(by_prior['normal'])} seeds (lowest to highest). The gain is over the normal prior with the "
        "same seed, image by image; its standard error is that of these differences. ELBO = log p(x|z) - rate, the "
        "rate being log q(z|x) - log p(z).",
        ["prior", "test ELBO", "s.e.", "gain", "s.e.", "log p(x|z)", "rate", "IWAE", "s.e.", "parameters", "seconds"],
        rows,
    )
    record.table(
        "Published ELBOs on dynamically binarized MNIST, all with larger, convolutional networks and longer training.",
        ["source", "normal prior", "flow prior"],
        PUBLISHED,
    )
    means = {prior: fmean(value for value, _ in values) for prior, values in gains.items()}
    order = sorted(means, key=lambda prior: means[prior])
    seeds = "in every seed" if all(value > 0 for value, _ in gains["flow"]) else "not in every seed"
    record.answer(
        "Evaluate the test set ELBO. Do you see better performance?",
        f"With equal encoders and decoders and {LATENT} latents the affine flow prior lies {means['flow']:.2f} nats "
        f"above the normal prior on average ({seeds}; the spline flow {means['spline']:.2f}, the VampPrior "
        f"{means['vampprior']:.2f}, the mixture {means['mixture']:.2f}). From lowest to highest: "
        f"{', '.join(SHORT[prior] for prior in order)}. The mixture, the one prior that the source compares with, is "
        + ("in between." if means["normal"] < means["mixture"] < means["flow"] else "not in between.")
        + f" The flow changes the rate from {_mean(by_prior['normal'], 'rate'):.1f} to "
        f"{_mean(by_prior['flow'], 'rate'):.1f} nats and log p(x|z) from {_mean(by_prior['normal'], 'likelihood'):.1f} "
        f"to {_mean(by_prior['flow'], 'likelihood'):.1f}.",
    )
    return gains


def _mean(found: Sequence[Found], key: str) -> float:
    return fmean(one.numbers[key] for one in found)


def _bounds(one: Found) -> list[Any]:
    keys = ("elbo", "elbo_error", "likelihood", "rate", "iwae", "iwae_error", "active", "seconds")
    return [one.numbers[key] for key in keys]


_BOUNDS = ["test ELBO", "s.e.", "log p(x|z)", "rate", "IWAE", "s.e.", "active latents", "seconds"]


def _few_latents(record: Record, found: list[Found]) -> None:
    record.heading("Fewer latents")
    pairs: dict[int, dict[str, Found]] = {}
    for one in found:
        pairs.setdefault(one.run.latent, {})[one.run.prior] = one
    rows = [
        [latent, SHORT[prior], *_bounds(pair[prior])]
        for latent, pair in sorted(pairs.items())
        for prior in ("normal", "flow")
    ]
    record.table("Dynamically binarized, one seed.", ["latents", "prior", *_BOUNDS], rows)
    told = [(latent, gain(pair["flow"], pair["normal"])) for latent, pair in sorted(pairs.items())]
    record.answer(
        "With how many latents does a flow prior help?",
        "The affine flow prior lies above the normal one by "
        + ", ".join(f"{value:.2f} ± {error:.2f} nats with {latent} latents" for latent, (value, error) in told)
        + " (one seed; the standard error is that of the differences over test images).",
    )


def _refined(record: Record, refined: Found, plain: Found) -> None:
    record.heading("A planar flow in the posterior")
    rows = [["diagonal normal", *_bounds(plain)], [f"and {PLANAR} planar maps", *_bounds(refined)]]
    record.table(
        f"Normal prior, {LATENT} latents, dynamically binarized, one seed; the encoder steers the planar maps.",
        ["posterior", *_BOUNDS],
        rows,
    )
    value, error = gain(refined, plain)
    record.answer(
        "Does a planar flow refine the posterior?",
        f"With {PLANAR} planar maps, steered by 32 outputs of the encoder, the test ELBO changes by {value:+.2f} ± "
        f"{error:.2f} nats (one seed).",
    )


def _thresholded(record: Record, found: list[Found]) -> None:
    record.heading("Thresholded MNIST: another data set")
    record.table(
        f"MNIST cut at half of full ink, {LATENT} latents, one seed. Thresholded images have a lower entropy: these "
        "numbers are not comparable with any others here.",
        ["prior", *_BOUNDS],
        [[SHORT[one.run.prior], *_bounds(one)] for one in found],
    )
    value, error = gain(found[1], found[0])
    record.answer(
        "And on thresholded images?",
        f"There the affine flow prior lies {value:.2f} ± {error:.2f} nats above the normal one (one seed).",
    )


def _match(record: Record, by_prior: dict[str, list[Found]], small: list[Found]) -> None:
    record.heading("Does the prior match the aggregate posterior?")
    groups = {f"{SHORT[one.run.prior]}, {one.run.latent} latents": [one] for one in small}
    groups |= {f"{SHORT[prior]}, {LATENT} latents": found for prior, found in by_prior.items()}
    rows = []
    for name, found in groups.items():
        ratio = [one.numbers["mmd"] / one.numbers["mmd_null_95"] for one in found]
        columns = [_spread(found, "mmd"), _spread(found, "mmd_null_95"), spread(ratio), _spread(found, "mmd_p")]
        rows.append([name, *columns, _spread(found, "c2st")])
    count = by_prior["normal"][0].numbers["c2st_rows"]
    record.table(
        "One latent for each of many test images against as many from the prior. MMD² has the median distance as its "
        "kernel width, so it compares the two laws of one model, not models; its null is the 95 % quantile of 200 "
        f"random splits. The C2ST is the cross-validated accuracy of boosted trees on {count:,} latents of each law, "
        "one half if they are equal.",
        ["prior", "MMD²", "null, 95 %", "MMD² / null", "p", "C2ST"],
        rows,
    )
    ordered = sorted(by_prior, key=lambda prior: _mean(by_prior[prior], "c2st"))
    record.answer(
        "Plot the samples from the approximate posterior and samples from the prior. Do they match well?",
        "A classifier tells the two apart with an accuracy of "
        + ", ".join(f"{_mean(by_prior[prior], 'c2st'):.3f} ({SHORT[prior]})" for prior in ordered)
        + f" with {LATENT} latents; one half would be a perfect match.",
    )


def _pictures(
    record: Record,
    by_prior: dict[str, list[Found]],
    small: list[Found],
    refined: Found,
    gains: dict[str, list[tuple[float, float]]],
) -> None:
    record.heading("Pictures")
    first = {SHORT[prior]: found[0] for prior, found in by_prior.items()}
    few = {f"{SHORT[one.run.prior]}, {one.run.latent} latents": one for one in small}
    names = [prior for prior in PRIORS if prior != "normal"]
    record.picture(
        "training",
        vae_pictures.training(
            {
                name: ([row[0] for row in one.numbers["curve"]], [row[2] for row in one.numbers["curve"]])
                for name, one in first.items()
            },
            [SHORT[prior] for prior in names],
            [[value for value, _ in gains[prior]] for prior in names],
            [max(error for _, error in gains[prior]) for prior in names],
        ),
        f"Left: training with {LATENT} latents, first seed. Right: the gain of each prior over the normal one on test "
        "images, a dot a seed with the standard error over images.",
    )
    axes = {name: "z" if one.run.latent == 2 else "component" for name, one in {**few, **first}.items()}
    record.picture(
        "latents",
        vae_pictures.latents(
            {name: (one.arrays["latents"], one.arrays["drawn"], axes[name]) for name, one in {**few, **first}.items()}
        ),
        "Samples of the approximate posterior of test images over samples of the prior. With two latents these are "
        f"themselves the axes, else the first two principal components of the aggregate posterior ({LATENT} latents "
        "where none are named).",
    )
    record.picture(
        "samples",
        vae_pictures.samples({name: one.arrays["samples"] for name, one in first.items()}),
        f"Pixel probabilities decoded from samples of each prior at temperature 1, {LATENT} latents; not selected.",
    )
    record.picture(
        "samples-few-latents",
        vae_pictures.samples({name: one.arrays["samples"] for name, one in few.items()}),
        "The same with fewer latents.",
    )
    rows = {"test images, binarized": first["normal"].arrays["images"]}
    rows |= {name: one.arrays["reconstructions"] for name, one in {**few, **first}.items()}
    rows["normal, planar posterior"] = refined.arrays["reconstructions"]
    record.picture(
        "reconstructions",
        vae_pictures.reconstructions(rows),
        f"Pixel probabilities at the posterior's centre; {LATENT} latents where none are named.",
    )
    late = {prior: _late_gain(found[0]) for prior, found in by_prior.items() if prior in ("normal", "flow")}
    record.number("validation ELBO gained in the last quarter", late)
    record.text(
        "The training is short: over the last quarter of its epochs the ELBO of the validation images still rose by "
        f"{late['normal']:.2f} nats with the normal prior and {late['flow']:.2f} with the affine flow."
    )


def _late_gain(one: Found) -> float:
    """Return by how many nats the validation ELBO rose over the last quarter of the training."""
    curve = one.numbers["curve"]
    begun = min(row[2] for row in curve if row[0] <= one.run.warm_up + 0.75 * one.run.epochs)
    return begun - one.numbers["best_validation"]
