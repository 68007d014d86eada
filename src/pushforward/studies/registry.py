"""Where the studies are registered: the command line finds them here without importing any."""

from typing import NamedTuple


class Study(NamedTuple):
    """Where a study is, a module with TITLE, SOURCE and run(record), and what it is about."""

    module: str
    about: str


STUDIES = {
    "layers": Study("plane.layers", "what one layer does to area and density, and the algebra of composing layers"),
    "two-moons": Study(
        "plane.two_moons",
        "a flow built from parts on two moons: the source's run, a better one, and the source's questions",
    ),
    "hexagon": Study("plane.hexagon", "six Gaussians on a hexagon: is the mixture harder than the moons?"),
    "toy-densities": Study(
        "plane.toy_densities", "every toy density under affine, spline and autoregressive flows of one size"
    ),
    "conditional": Study(
        "plane.conditional",
        "flows given a label on two moons and a hexagon: against the truth, and merged against plain flows",
    ),
    "digits": Study(
        "digits.plain", "a plain flow on digits of 8 x 8 pixels: codes, samples, and why integers need noise"
    ),
    "bottleneck": Study(
        "digits.bottleneck",
        "digits rebuilt from the first few codes of a flow, and two ways to sample them, beside autoencoders",
    ),
    "conditional-digits": Study(
        "digits.conditional_digits", "digits drawn for a label, judged by a forest trained on real ones"
    ),
    "sweep": Study(
        "sweep.realnvp_settings",
        "the effect of data size, epochs, learning rate, width and blocks on two moons, in several processes",
    ),
    "energies": Study("plane.energies", "planar, radial, Sylvester and spline flows fitted to unnormalized densities"),
    "three-sets": Study(
        "continuous.against_discrete", "planar, coupling and continuous flows on three small data sets"
    ),
    "mnist-masked": Study(
        "mnist.masked", "masked coupling with fully connected networks on MNIST: random and chequerboard masks"
    ),
    "mnist-additive": Study(
        "mnist.additive", "additive coupling on MNIST: likelihood, samples, every layer, and paths between digits"
    ),
    "mnist-8x8": Study(
        "mnist.eight_by_eight",
        "MNIST at 8 x 8 pixels: plain flows, bottlenecks, and digits drawn for a label, judged by a forest",
    ),
    "image-flows": Study(
        "mnist.convolutional",
        "convolutional flows (Glow, RealNVP) on MNIST, whole and at 8 x 8 pixels, trained in minutes",
    ),
    "vae-prior": Study(
        "vae.priors", "a variational autoencoder on binarized MNIST under five priors, flows among them"
    ),
}
