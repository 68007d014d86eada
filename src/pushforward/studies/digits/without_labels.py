"""Plain flows of digits: likelihood beside simple densities, codes, and samples."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from pushforward import metrics
from pushforward.report.plots import latent_quantiles
from pushforward.studies.digits.codes import NORMALITY_COLUMNS, NORMALITY_NOTE, encoded, normality, projections
from pushforward.studies.digits.gaussians import gaussian_parameters
from pushforward.studies.digits.judge import QUALITY_COLUMNS, QUALITY_NOTE
from pushforward.studies.digits.task import NLL_COLUMNS, PIXELS, Task, bits, less_or_more, nll_numbers, seconds_of
from pushforward.studies.kit import Comparison, Trained, drawn, images, to_levels
from pushforward.studies.kit.tables import average, cells, mean, spread, values
from pushforward.tables.baselines import Baseline


class Rival(NamedTuple):
    """A simple density of the training images that the flows have to beat."""

    name: str
    density: Baseline
    parameters: int = gaussian_parameters(PIXELS)


def compare_likelihoods(task: Task, flows: Comparison, rivals: Mapping[str, Rival]) -> dict[str, float]:
    """Score test images by flows, "source" and "ours" among them, and by rivals, "gaussian" among them, in nats."""
    record, uniform = flows.record, math.log2(task.levels)
    nats = PIXELS * math.log(task.levels)
    record.number("test.uniform", {"nll": nats, "bits_per_dim": uniform})
    rows = [["every image equally likely", 0, f"{nats:.2f}", "", f"{uniform:.3f}", "", ""]]
    found = {}
    for key, rival in rivals.items():
        score = task.nll(rival.density)
        record.number(f"test.{key}", vars(score) | {"bits_per_dim": bits([score.mean])[0]})
        rows.append([rival.name, rival.parameters, *cells(NLL_COLUMNS, [score]), "", ""])
        found[key] = score.mean
    for key, trained in flows.trained.items():
        scores = [task.nll(one.model) for one in trained]
        seen = [task.nll(one.model, task.seen).mean for one in trained]
        record.number(f"test.{key}", nll_numbers(scores) | {"train_nll": seen})
        gap = spread([score.mean - nats for score, nats in zip(scores, seen, strict=True)])
        one = [flows.names[key], trained[0].parameters, *cells(NLL_COLUMNS, scores), gap, seconds_of(trained)]
        rows.append(one)
        found[key] = mean(scores, "mean")
    record.table(
        "Test NLL in nats an image and in bits a pixel, mean (lowest to highest) over the seeds; the standard error is "
        "that of one seed, from the test images. The gap is test minus training NLL; seconds are those of a training.",
        ["model", "parameters", *(header for header, _ in NLL_COLUMNS), "gap (nats)", "seconds"],
        rows,
    )
    source, longer, ours, gaussian = bits([found[key] for key in ("source", "longer", "ours", "gaussian")])
    record.answer(
        "How well does a flow fit 64 dimensions?",
        f"The source's RealNVP reaches {source:.3f} bits/dim on test images, {longer:.3f} when it is trained as long "
        f"as ours at a falling rate; ours reaches {ours:.3f}, a Gaussian with full covariance {gaussian:.3f}. The NLL "
        f"of ours is {less_or_more(found['longer'] - found['ours'])} than the source's model has in the same time and "
        f"{less_or_more(found['gaussian'] - found['ours'])} than the Gaussian's.",
    )
    return found


def compare_codes(task: Task, flows: Comparison) -> None:
    """Compare the codes of the flows "source" and "ours" with the standard normal."""
    record, seed = flows.record, flows.record.seed
    record.heading("Is the code standard normal?")
    rows = {}
    for key in ("source", "ours"):
        for name, part in (("test", task.test), ("training", task.seen)):
            z = {one.seed: encoded(one.model, part, one.seed) for one in flows.trained[key]}
            rows[key, name] = normality(record, f"{key}.{name}", z)
    table = {f"{flows.names[key]}, {name}": found for (key, name), found in rows.items()}
    record.scores(NORMALITY_NOTE, "codes of", NORMALITY_COLUMNS, table)
    for key, name in (("source", "the source's flow"), ("ours", "our flow")):
        largest = max(values(rows[key, "test"], "kolmogorov_p_value"))
        radius = mean(rows[key, "test"], "mean_square_radius")
        wide = "too far out" if radius > 1.02 else "too far in" if radius < 0.98 else "at the right distance"
        record.answer(
            f"Are the codes of test data standard normal with {name}?",
            f"{'A test cannot tell' if largest > 0.05 else 'No'}: the Kolmogorov p-value is at most {largest:.2f} over "
            f"the seeds. On average |z|²/64 is {radius:.2f}: the codes of images not trained on lie {wide}"
            f"{', as they do when a flow knows its training images too well' if radius > 1.02 else ''}.",
        )
    captions = {
        "source": "Quantiles of each of the 64 code dimensions of test images against those of N(0, 1), source's flow.",
        "ours": "The same for our flow.",
    }
    for key, caption in captions.items():
        latent = metrics.latent_normality(encoded(flows.first(key), task.test, seed), num_simulations=0)
        record.picture(f"quantiles-{key}", latent_quantiles(latent, most_dimensions=PIXELS), caption)
    record.picture(
        "projections",
        projections(task, flows.first("ours"), seed),
        "Codes of test images by our flow on six planes, each drawn as its label. The circles have radius 1 and 2: in "
        "a standard normal plane they hold 39 % and 86 % of the points. A flow trained without labels may keep the "
        "labels apart in its code; only their union should be normal.",
    )


def compare_samples(task: Task, flows: Comparison) -> None:
    """Draw images from the flows, "source" and "ours" among them, and measure and show them."""
    record = flows.record
    record.heading("Samples")

    def sampled(one: Trained, temperature: float = 1.0) -> Tensor:
        x = drawn(one.model, record.size(1_000, quick=100), one.seed, temperature=temperature)
        return to_levels(x, task.levels)

    sets = {"real test images": [task.test.x]} | {
        key: [sampled(one) for one in trained] for key, trained in flows.trained.items()
    }
    sets["ours, temperature 0.7"] = [sampled(one, 0.7) for one in flows.trained["ours"]]
    found = {key: [task.judge.quality(x) for x in images] for key, images in sets.items()}
    for key, scores in found.items():
        record.number(f"samples.{key.replace('.', '_')}", scores)
    rows = {flows.names.get(key, key): scores for key, scores in found.items()}
    record.scores(QUALITY_NOTE, "images", QUALITY_COLUMNS, rows)
    titles = {"source": "source's RealNVP"}
    shown = ("real test images", "source", "ours", "ours, temperature 0.7")
    record.picture(
        "samples",
        images.sheets({titles.get(key, key): sets[key][0][:100] for key in shown}, levels=task.levels),
        "A hundred test images, and a hundred samples each of the source's flow and of ours, not chosen.",
    )
    real, source, ours = (average(found[key]) for key in ("real test images", "source", "ours"))
    record.answer(
        "Is the quality of generated data good?",
        f"A forest trained on real digits is sure of its label to {real.confidence:.2f} on real test images, to "
        f"{source.confidence:.2f} on the source's samples and to {ours.confidence:.2f} on ours. MMD² to the test "
        f"images is {source.mmd:.4f} for the source's flow and {ours.mmd:.4f} for ours, which a permutation test "
        f"{'tells' if ours.mmd_p_value < 0.05 else 'does not tell'} from real ones (p = {ours.mmd_p_value:.3f}).",
    )
    record.answer(
        "Are samples copies of training images?",
        f"{'No' if ours.distance > 0.9 * real.distance else 'Some are near'}: the nearest training image is on "
        f"average {ours.distance:.1f} levels away from a sample of ours, {real.distance:.1f} from a real test "
        f"image; {100 * ours.near_share:.1f} % of the samples come nearer than 99 % of the test images do.",
    )
