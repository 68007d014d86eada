"""Where the studies are registered: the command line finds them here without importing any."""

from typing import NamedTuple


class Study(NamedTuple):
    """Where a study is, a module with TITLE, SOURCE and run(record), what it is about, and what it costs.

    Attributes:
        module: The module.
        about: What it is about, in one line.
        minutes: What the full form took.
        one_seed: What of it the trainings of one seed took, and the rest without other seeds; None where trainings in
            worker processes have a plan of their own.
    """

    module: str
    about: str
    minutes: float
    one_seed: tuple[float, float] | None = None


STUDIES = {
    "layers": Study(
        "plane.layers",
        "what one layer does to area and density, and the algebra of composing layers",
        minutes=0.1,
        one_seed=(0, 0.1),
    ),
    "two-moons": Study(
        "plane.two_moons",
        "a flow built from parts on two moons: the source's run, a better one, and the source's questions",
        minutes=2,
        one_seed=(0.7, 0.6),
    ),
    "hexagon": Study(
        "plane.hexagon",
        "six Gaussians on a hexagon: is the mixture harder than the moons?",
        minutes=2,
        one_seed=(0.5, 0.2),
    ),
    "toy-densities": Study(
        "plane.toy_densities",
        "every toy density under affine, spline and autoregressive flows of one size",
        minutes=2,
        one_seed=(1.2, 0.3),
    ),
    "conditional": Study(
        "plane.conditional",
        "flows given a label on two moons and a hexagon: against the truth, and merged against plain flows",
        minutes=2,
        one_seed=(0.2, 0.8),
    ),
    "digits": Study(
        "digits.plain",
        "a plain flow on digits of 8 x 8 pixels: codes, samples, and why integers need noise",
        minutes=5,
        one_seed=(1.4, 0.2),
    ),
    "bottleneck": Study(
        "digits.bottleneck",
        "digits rebuilt from the first few codes of a flow, and two ways to sample them, beside autoencoders",
        minutes=16,
        one_seed=(5.5, 0.4),
    ),
    "conditional-digits": Study(
        "digits.conditional_digits",
        "digits drawn for a label, judged by a forest trained on real ones",
        minutes=13,
        one_seed=(4.9, 0.3),
    ),
    "sweep": Study(
        "sweep.realnvp_settings",
        "the effect of data size, epochs, learning rate, width and blocks on two moons, in several processes",
        minutes=23,
    ),
    "energies": Study(
        "plane.energies",
        "planar, radial, Sylvester and spline flows fitted to unnormalized densities",
        minutes=10,
        one_seed=(9.6, 0.1),
    ),
    "three-sets": Study(
        "continuous.against_discrete",
        "planar, coupling and continuous flows on three small data sets",
        minutes=15,
        one_seed=(6.1, 1.6),
    ),
    "mnist-masked": Study(
        "mnist.masked",
        "masked coupling with fully connected networks on MNIST: random and chequerboard masks",
        minutes=28,
        one_seed=(26.1, 2.4),
    ),
    "mnist-additive": Study(
        "mnist.additive",
        "additive coupling on MNIST: likelihood, samples, every layer, and paths between digits",
        minutes=26,
        one_seed=(24.7, 1.2),
    ),
    "mnist-8x8": Study(
        "mnist.eight_by_eight",
        "MNIST at 8 x 8 pixels: plain flows, bottlenecks, and digits drawn for a label, judged by a forest",
        minutes=20,
        one_seed=(17, 2.7),
    ),
    "image-flows": Study(
        "mnist.convolutional",
        "convolutional flows (Glow, RealNVP) on MNIST, whole and at 8 x 8 pixels, trained in minutes",
        minutes=23,
        one_seed=(21.3, 1.7),
    ),
    "vae-prior": Study(
        "vae.priors",
        "a variational autoencoder on binarized MNIST under five priors, flows among them",
        minutes=48,
    ),
    "tables": Study(
        "tables.whole_rows",
        "whole rows of mixed tables: samples judged by trees, probabilities and imputed cells against a known law",
        minutes=40,
        one_seed=(17, 5),
    ),
    "table-questions": Study(
        "tables.questions",
        "anomalies, missing cells, one column, rows given a value: beside models made for each question",
        minutes=25,
        one_seed=(15, 7),
    ),
    "scale": Study(
        "scale.beyond_one",
        "rows beyond memory, ranks and shards: time, memory, the cost of a shared step, and faults that are made",
        minutes=14,
    ),
}
