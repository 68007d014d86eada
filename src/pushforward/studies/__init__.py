"""Studies: reproducible experiments that answer the questions of a source text from numbers, each with a report."""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pushforward.errors import InputError

if TYPE_CHECKING:
    from pushforward.studies.kit import Record

__all__ = ["STUDIES", "Study", "run"]


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
    "three-sets": Study("continuous.three_sets", "planar, coupling and continuous flows on three small data sets"),
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


def run(name: str, *, quick: bool = False, seed: int = 0, out: Path | None = None, progress: bool = True) -> "Record":
    """Run a study and write its numbers, pictures and report.

    Numbers and pictures are written as they are found; a study that is stopped leaves what it measured.

    Args:
        name: A name in `STUDIES`.
        quick: Run the short form, which shows that everything works and measures nothing.
        seed: First seed.
        out: Folder for the results; by default ./pushforward-study/NAME.
        progress: Whether to print a line as each part is done, on standard error.

    Returns:
        What was found.

    Raises:
        InputError: If there is no such study, or the folder cannot be written to.
    """
    if name not in STUDIES:
        raise InputError(f"there is no study {name!r} (there are {', '.join(STUDIES)})")
    study = importlib.import_module(f"{__name__}.{STUDIES[name].module}")
    kit, out = importlib.import_module(f"{__name__}.kit"), out or Path("pushforward-study", name)
    record: Record = kit.Record(name, study.TITLE, study.SOURCE, out, seed=seed, quick=quick)
    if progress:
        record.say = partial(print, file=sys.stderr, flush=True)
    study.run(record)
    record.finish()
    return record
