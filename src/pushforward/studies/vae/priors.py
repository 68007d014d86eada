"""Five priors of one variational autoencoder on binarized MNIST: bounds, samples, and how well each prior fits."""

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.studies.kit import Record
from pushforward.studies.kit.cells import Found, complete
from pushforward.studies.kit.images import sheets, strips
from pushforward.studies.kit.tables import Columns, first, largest, mean, spread, values
from pushforward.studies.vae import prior_figures
from pushforward.studies.vae.runs import LEVELS, WARM_UP_WEIGHT, VAERun, standard_error

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
SHORT = dict(zip(PRIORS, ("normal", "mixture", "VampPrior", "affine flow", "spline flow"), strict=True))
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

ByPrior = dict[str, list[Found]]  # of every seed


def run(record: Record) -> None:
    """Do the runs that the folder does not hold yet, and answer the source's questions from all of them."""
    options: dict[str, Any] = {"seed": record.seed, **record.size({}, quick=QUICK)}
    main = [VAERun(prior, LATENT, **{**options, "seed": seed}) for seed in record.seeds() for prior in PRIORS]
    small = [VAERun(prior, latent, **options) for latent in (2, 10) for prior in ("normal", "flow")]
    planar = VAERun("normal", LATENT, planar=PLANAR, **options)
    cut = [VAERun(prior, LATENT, "threshold", **options) for prior in ("normal", "flow")]
    runs = [*main, *small, planar, *cut]
    found = dict(zip(runs, complete(record, runs), strict=True))
    for each, one in found.items():
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
    few = {f"{SHORT[each.prior]}, {each.latent} latents": found[each] for each in small}
    for of in by_prior.values():
        for one, normal in zip(of, by_prior["normal"], strict=True):
            one.gain, one.gain_error = gain(one, normal)
    _compare(record, by_prior)
    _one_seed(record, by_prior, list(few.values()), found[planar], [found[each] for each in cut])
    _match(record, by_prior, few)
    _pictures(record, by_prior, few, found[planar])


def gain(one: Found, other: Found) -> tuple[float, float]:
    """Return how far the test ELBO of `one` lies above that of `other`, image by image, and its standard error."""
    difference = one.elbos - other.elbos
    return difference.mean().item(), standard_error(difference)


def _compare(record: Record, by_prior: ByPrior) -> None:
    record.heading(f"{LATENT} latents, dynamically binarized MNIST")
    for prior, found in by_prior.items():
        record.number(f"gain over the normal prior.{prior}", values(found, "gain"))
    normal = by_prior["normal"]
    record.scores(
        f"Mean over {len(normal)} seeds (lowest to highest). The gain is over the normal prior with the "
        "same seed, image by image; its standard error is that of these differences. ELBO = log p(x|z) - rate, the "
        "rate being log q(z|x) - log p(z).",
        "prior",
        (
            *BOUNDS[:2],
            ("gain", lambda found: "" if found is normal else spread(values(found, "gain"))),
            ("s.e.", lambda found: "" if found is normal else max(values(found, "gain_error"))),
            *BOUNDS[2:],
            ("parameters", first("parameters")),
            ("seconds", "seconds"),
        ),
        {PRIORS[prior]: found for prior, found in by_prior.items()},
    )
    record.table(
        "Published ELBOs on dynamically binarized MNIST, all with larger, convolutional networks and longer training.",
        ["source", "normal prior", "flow prior"],
        PUBLISHED,
    )
    means = {prior: mean(found, "gain") for prior, found in by_prior.items()}
    seeds = "in every seed" if min(values(by_prior["flow"], "gain")) > 0 else "not in every seed"
    between = "in between" if means["normal"] < means["mixture"] < means["flow"] else "not in between"
    rates, likelihoods = (
        [f"{mean(by_prior[prior], field):.1f}" for prior in ("normal", "flow")] for field in ("rate", "likelihood")
    )
    record.answer(
        "Evaluate the test set ELBO. Do you see better performance?",
        f"With equal encoders and decoders and {LATENT} latents the affine flow prior lies {means['flow']:.2f} nats "
        f"above the normal prior on average ({seeds}; the spline flow {means['spline']:.2f}, the VampPrior "
        f"{means['vampprior']:.2f}, the mixture {means['mixture']:.2f}). From lowest to highest: "
        f"{', '.join(SHORT[prior] for prior in sorted(means, key=means.__getitem__))}. The mixture, the one prior that "
        f"the source compares with, is {between}. The flow changes the rate from {' to '.join(rates)} nats and "
        f"log p(x|z) from {' to '.join(likelihoods)}.",
    )


def _one_seed(
    record: Record, by_prior: ByPrior, few: Sequence[Found], refined: Found, thresholded: Sequence[Found]
) -> None:
    """Compare what was trained from one seed: fewer latents, a planar posterior, thresholded images."""
    columns: Columns = (*BOUNDS, ("active latents", first("active")), ("seconds", "seconds"))
    plain, flow = by_prior["normal"][0], by_prior["flow"][0]

    record.heading("Fewer latents")
    pairs = [few[:2], few[2:], (plain, flow)]
    rows = {(one.cell.latent, SHORT[one.cell.prior]): [one] for pair in pairs for one in pair}
    record.scores("Dynamically binarized, one seed.", ("latents", "prior"), columns, rows)
    told = ["{:.2f} ± {:.2f} nats with {} latents".format(*gain(b, a), a.cell.latent) for a, b in pairs]
    record.answer(
        "With how many latents does a flow prior help?",
        f"The affine flow prior lies above the normal one by {', '.join(told)} (one seed; the standard error is that "
        "of the differences over test images).",
    )

    record.heading("A planar flow in the posterior")
    record.scores(
        f"Normal prior, {LATENT} latents, dynamically binarized, one seed; the encoder steers the planar maps.",
        "posterior",
        columns,
        {"diagonal normal": [plain], f"and {PLANAR} planar maps": [refined]},
    )
    value, error = gain(refined, plain)
    record.answer(
        "Does a planar flow refine the posterior?",
        f"With {PLANAR} planar maps, steered by 32 outputs of the encoder, the test ELBO changes by {value:+.2f} ± "
        f"{error:.2f} nats (one seed).",
    )

    record.heading("Thresholded MNIST: another data set")
    record.scores(
        f"MNIST cut at half of full ink, {LATENT} latents, one seed. Thresholded images have a lower entropy: these "
        "numbers are not comparable with any others here.",
        "prior",
        columns,
        {SHORT[one.cell.prior]: [one] for one in thresholded},
    )
    value, error = gain(*reversed(thresholded))
    record.answer(
        "And on thresholded images?",
        f"There the affine flow prior lies {value:.2f} ± {error:.2f} nats above the normal one (one seed).",
    )


def _match(record: Record, by_prior: ByPrior, few: Mapping[str, Found]) -> None:
    record.heading("Does the prior match the aggregate posterior?")
    rows = {name: [one] for name, one in few.items()}
    rows |= {f"{SHORT[prior]}, {LATENT} latents": found for prior, found in by_prior.items()}
    record.scores(
        "One latent for each of many test images against as many from the prior. MMD² has the median distance as its "
        "kernel width, so it compares the two laws of one model, not models; its null is the 95 % quantile of 200 "
        "random splits. The C2ST is the cross-validated accuracy of boosted trees on "
        f"{by_prior['normal'][0].c2st_rows:,} latents of each law, one half if they are equal.",
        "prior",
        (
            ("MMD²", "mmd"),
            ("null, 95 %", "mmd_null_95"),
            ("MMD² / null", lambda found: spread([one.mmd / one.mmd_null_95 for one in found])),
            ("p", "mmd_p"),
            ("C2ST", "c2st"),
        ),
        rows,
    )
    accuracies = sorted((mean(found, "c2st"), SHORT[prior]) for prior, found in by_prior.items())
    record.answer(
        "Plot the samples from the approximate posterior and samples from the prior. Do they match well?",
        "A classifier tells the two apart with an accuracy of "
        f"{', '.join(f'{accuracy:.3f} ({name})' for accuracy, name in accuracies)} with {LATENT} latents; one half "
        "would be a perfect match.",
    )


def _pictures(record: Record, by_prior: ByPrior, few: Mapping[str, Found], refined: Found) -> None:
    record.heading("Pictures")
    main = {SHORT[prior]: found[0] for prior, found in by_prior.items()}
    record.picture(
        "training",
        prior_figures.training({SHORT[prior]: found for prior, found in by_prior.items()}),
        f"Left: training with {LATENT} latents, first seed. Right: the gain of each prior over the normal one on test "
        "images, a dot a seed with the standard error over images.",
    )
    record.picture(
        "latents",
        prior_figures.latents({**few, **main}),
        "Samples of the approximate posterior of test images over samples of the prior. With two latents these are "
        f"themselves the axes, else the first two principal components of the aggregate posterior ({LATENT} latents "
        "where none are named).",
    )
    for name, found, across, caption in (
        (
            "samples",
            main,
            3,
            f"Pixel probabilities decoded from samples of each prior at temperature 1, {LATENT} latents; not selected.",
        ),
        ("samples-few-latents", few, 2, "The same with fewer latents."),
    ):
        panels = {title: one.samples for title, one in found.items()}
        record.picture(name, sheets(panels, num_columns=6, across=across, levels=LEVELS), caption)
    rows = {"test images, binarized": refined.images}
    rows |= {name: one.reconstructions for name, one in {**few, **main, "normal, planar posterior": refined}.items()}
    record.picture(
        "reconstructions",
        strips(rows, LEVELS, size=0.5),
        f"Pixel probabilities at the posterior's centre; {LATENT} latents where none are named.",
    )
    late = {prior: _late_gain(by_prior[prior][0]) for prior in ("normal", "flow")}
    record.number("validation ELBO gained in the last quarter", late)
    record.finding(
        "The training is short: over the last quarter of its epochs the ELBO of the validation images still rose by "
        f"{late['normal']:.2f} nats with the normal prior and {late['flow']:.2f} with the affine flow."
    )


def _late_gain(one: Found) -> float:
    """Return by how many nats the validation ELBO rose over the last quarter of the training."""
    late = one.cell.warm_up + 0.75 * one.cell.epochs
    return min(loss for epoch, loss in one.curve if epoch <= late) - one.best_validation
