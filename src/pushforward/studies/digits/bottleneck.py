"""Digits through a bottleneck: the first k codes rebuild the image, the others add to it; beside autoencoders."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from pushforward.flows import Flow
from pushforward.studies.digits import models as digit_models
from pushforward.studies.digits import schemes as digit_schemes
from pushforward.studies.digits.autoencoders import (
    Autoencoded,
    Autoencoder,
    PrincipalComponents,
    autoencoder_samples,
    measure_autoencoder,
    trained_autoencoder,
)
from pushforward.studies.digits.models import Recipe, Task, middles, to_levels
from pushforward.studies.digits.quality import QUALITY_HEADER, QUALITY_NOTE, Judge, mean_quality, quality_cells
from pushforward.studies.digits.schemes import KEPT, Findings
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread

TITLE = "Digits through a bottleneck"
SOURCE = "an exercise sheet on invertible networks (RealNVP), task 3, part 2"

NAMES = {"source": "RealNVP (source)", "ours": "affine couplings, logit, dropout (ours)"}
Model = Flow | Autoencoder | PrincipalComponents


@dataclass(frozen=True)
class Results:
    """All findings, by recipe, k (0: trained without a bottleneck, measured with the largest k) and seed."""

    flows: dict[tuple[str, int], list[Findings]]
    autoencoders: dict[int, list[Autoencoded]]
    components: dict[int, Autoencoded]


def run(record: Record) -> None:
    """Train flows with and without a bottleneck and autoencoders from several seeds, and compare what they make."""
    data = digit_models.load(record)
    recipes = {"source": data.recipes["source"], "ours": data.recipes["affine"]}
    compare(record, data, Judge(data, quick=record.quick), recipes, NAMES)


def compare(record: Record, data: Task, judge: Judge, recipes: dict[str, Recipe], names: dict[str, str]) -> None:
    """Train recipes, "ours" among them, with and without a bottleneck, and autoencoders; compare what they make."""
    shown: dict[str, Model] = {}
    flows: dict[tuple[str, int], list[Findings]] = {}
    autoencoders: dict[int, list[Autoencoded]] = {}
    components = {}
    for k in KEPT:
        linear = PrincipalComponents(middles(data.train.x), k)
        components[k] = measure_autoencoder(record, linear, data, judge, record.seed)
        shown[f"PCA {k}"] = linear
    for seed in record.seeds(data.num_seeds):
        for key, recipe in recipes.items():
            for k in (0, *KEPT):
                if k:
                    flow = digit_schemes.train(record, key, recipe, data, seed, k, conditional=False)
                else:
                    flow = digit_models.train(record, f"{key}, no bottleneck, seed {seed}", recipe, data, seed)
                found = digit_schemes.measure(record, flow, k or KEPT[-1], data, judge, seed)
                flows.setdefault((key, k), []).append(found)
                if seed == record.seed:
                    shown[f"{key} {k}"] = flow
        for k in KEPT:
            autoencoder = trained_autoencoder(record, data, k, seed)
            found_here = measure_autoencoder(record, autoencoder, data, judge, seed)
            autoencoders.setdefault(k, []).append(found_here)
            if seed == record.seed:
                shown[f"autoencoder {k}"] = autoencoder
    results = Results(flows, autoencoders, components)
    _keep_numbers(record, results)
    record.number("weight", data.weight)
    _rebuilding(record, data, results, shown, names)
    _likelihood(record, results, names)
    _quality(record, data, judge, results, shown, names)
    _second_scheme(record, data, results, shown, names)


def _keep_numbers(record: Record, results: Results) -> None:
    for (key, k), found in results.flows.items():
        record.number(f"flow.{key}.{f'k{k}' if k else 'no_bottleneck'}", [asdict(one) for one in found])
    for k, coded in results.autoencoders.items():
        record.number(f"autoencoder.k{k}", [asdict(one) for one in coded])
    for k, one in results.components.items():
        record.number(f"pca.k{k}", asdict(one))


def _rebuilding(record: Record, data: Task, results: Results, shown: dict[str, Model], names: dict[str, str]) -> None:
    record.heading("Images rebuilt from k codes")
    record.text(
        f"The loss is the NLL plus {data.weight:g} times the squared error, in levels, of the image decoded "
        "from its first k codes with the rest zero. Beside it: principal components, and autoencoders of two hidden "
        "layers of 128 on both sides, with the same images, noise and early stopping."
    )
    errors = {
        "PCA": [[results.components[k].error] for k in KEPT],
        "autoencoder": [[one.error for one in results.autoencoders[k]] for k in KEPT],
    }
    for key in names:
        flow_name = "our flow" if key == "ours" else "source's flow"
        errors[f"bottleneck, {flow_name}"] = [[one.error for one in results.flows[key, k]] for k in KEPT]
    record.table(
        "Mean squared error of a pixel of test images, in squared levels (a pixel goes from 0 to "
        f"{data.levels - 1}), mean (lowest to highest) over the seeds. The first {KEPT[-1]} codes of our flow trained "
        "without a bottleneck give "
        f"{spread([one.error for one in results.flows['ours', 0]])}.",
        ["rebuilt by", *(f"k = {k}" for k in KEPT)],
        [[name, *(spread(values) for values in row)] for name, row in errors.items()],
    )
    x, labels = middles(data.test.x[:10]), data.test.labels[:10]
    panels = {"test images": data.test.x[:10]}
    for k in KEPT:
        for name, key in (("PCA", f"PCA {k}"), ("autoencoder", f"autoencoder {k}"), ("our flow", f"ours {k}")):
            model = shown[key]
            with torch.no_grad():
                other = (
                    digit_schemes.rebuilt(model, x, labels, k)
                    if isinstance(model, Flow)
                    else model.decode(model.encode(x))
                )
            panels[f"{name}, k = {k}"] = to_levels(other, data.levels)
    record.picture(
        "rebuilt",
        digit_pictures.strips(panels, data.levels),
        "Ten test images, and what remains of them in k = 2, 4 and 8 codes.",
    )
    means = {name: [sum(values) / len(values) for values in row] for name, row in errors.items()}
    ours, linear, coded = (means[name] for name in ("bottleneck, our flow", "PCA", "autoencoder"))
    record.answer(
        "Do the first k codes hold what is needed to rebuild an image?",
        "; ".join(
            f"k = {k}: {a:.2f} against {b:.2f} for PCA and {c:.2f} for an autoencoder"
            for k, a, b, c in zip(KEPT, ours, linear, coded, strict=True)
        )
        + f". Our flow rebuilds better than PCA for {_wins(ours, linear)} of the {len(KEPT)} sizes and better than the "
        f"autoencoder for {_wins(ours, coded)}.",
    )


def _likelihood(record: Record, results: Results, names: dict[str, str]) -> None:
    record.heading("What the bottleneck costs in likelihood")
    rows = []
    for key, name in names.items():
        for k in (0, *KEPT):
            scores = [one.nll for one in results.flows[key, k]]
            nats = [score.mean for score in scores]
            bits = spread([digit_models.bits(value) for value in nats])
            bottleneck = f"k = {k}" if k else "none"
            rows.append([name, bottleneck, spread(nats), scores[0].standard_error, bits])
    record.table(
        "Test NLL, mean (lowest to highest) over the seeds, and the standard error of one seed. With a bottleneck the "
        "kept weights are those of the least validation loss, its squared error included.",
        ["model", "bottleneck", "test NLL (nats)", "standard error", "bits/dim"],
        rows,
    )
    plain = _mean_nll(results, "ours", 0)
    record.answer(
        "Does the bottleneck leave the likelihood as it was?",
        "Our flow, against training without it: "
        + ", ".join(f"{_mean_nll(results, 'ours', k) - plain:+.1f} nats an image with k = {k}" for k in KEPT)
        + ".",
    )


def _mean_nll(results: Results, key: str, k: int) -> float:
    found = results.flows[key, k]
    return sum(one.nll.mean for one in found) / len(found)


def _quality(
    record: Record,
    data: Task,
    judge: Judge,
    results: Results,
    shown: dict[str, Model],
    names: dict[str, str],
) -> None:
    record.heading("Quality of generated images")
    real = judge.quality(data.test.x)
    record.number("real", asdict(real))
    rows = [["real test images", *quality_cells([real])]]
    for key, name in names.items():
        rows.append([f"{name}, no bottleneck", *quality_cells([one.whole for one in results.flows[key, 0]])])
        for k in KEPT:
            found = results.flows[key, k]
            rows.append([f"{name}, k = {k}, all codes drawn", *quality_cells([one.whole for one in found])])
            rows.append([f"{name}, k = {k}, the rest zero", *quality_cells([one.first for one in found])])
    for k in KEPT:
        rows.append([f"autoencoder, k = {k}", *quality_cells([one.samples for one in results.autoencoders[k]])])
    for k in KEPT:
        rows.append([f"PCA, k = {k}", *quality_cells([results.components[k].samples])])
    record.table(QUALITY_NOTE, ["images", *QUALITY_HEADER], rows)

    record.picture(
        "samples",
        digit_pictures.sheets(_sample_sheets(record, data, shown), across=3, levels=data.levels),
        "Fifty images each, not chosen: real ones, our flow without a bottleneck, and PCA; our flow's first codes "
        "drawn with the rest zero; all its codes drawn; autoencoders. Codes of PCA and autoencoders come from a "
        "Gaussian fitted to them.",
    )
    plain = mean_quality([one.whole for one in results.flows["ours", 0]])
    whole = {k: mean_quality([one.whole for one in results.flows["ours", k]]) for k in KEPT}
    first = {k: mean_quality([one.first for one in results.flows["ours", k]]) for k in KEPT}
    coded_quality = {k: mean_quality([one.samples for one in results.autoencoders[k]]) for k in KEPT}
    sure = {name: [table[k]["confidence"] for k in KEPT] for name, table in (("whole", whole), ("first", first))}
    apart = {name: [table[k]["mmd"] for k in KEPT] for name, table in (("whole", whole), ("first", first))}
    sizes = "k = " + ", ".join(str(k) for k in KEPT)
    record.answer(
        "Does the quality of the synthetic images improve?",
        f"Our flow without a bottleneck: confidence {plain['confidence']:.2f}, MMD² to the test images "
        f"{plain['mmd']:.4f}. With {sizes} and all codes drawn: confidence {_listed(sure['whole'], 2)}, MMD² "
        f"{_listed(apart['whole'], 4)}. With the rest zero: confidence {_listed(sure['first'], 2)}, MMD² "
        f"{_listed(apart['first'], 4)}. Images of all codes are more recognisable than without a bottleneck for "
        f"{_wins([plain['confidence']] * len(KEPT), sure['whole'])} of the {len(KEPT)} sizes, and nearer to the test "
        f"images by MMD for {_wins(apart['whole'], [plain['mmd']] * len(KEPT))}; images of the first codes alone are "
        f"more recognisable for {_wins([plain['confidence']] * len(KEPT), sure['first'])}, and nearer for "
        f"{_wins(apart['first'], [plain['mmd']] * len(KEPT))}.",
    )
    record.answer(
        "Does drawing the first k codes alone work like an autoencoder?",
        "; ".join(
            f"k = {k}: confidence {first[k]['confidence']:.2f} (autoencoder {coded_quality[k]['confidence']:.2f}), "
            f"distance to the nearest training image {first[k]['distance']:.1f} "
            f"({coded_quality[k]['distance']:.1f}), MMD² {first[k]['mmd']:.4f} ({coded_quality[k]['mmd']:.4f})"
            for k in KEPT
        )
        + f". Real test images: {real.confidence:.2f} and {real.distance:.1f}.",
    )


def _sample_sheets(record: Record, data: Task, shown: dict[str, Model]) -> dict[str, Tensor]:
    """Return fifty images of each kind, three kinds a row."""
    largest = KEPT[-1]
    panels = {"real test images": data.test.x[:50]}
    kinds = [("our flow, no bottleneck", "ours 0", 0), (f"PCA, k = {largest}", f"PCA {largest}", largest)]
    kinds += [(f"our flow, k = {k}, the rest zero", f"ours {k}", k) for k in KEPT]
    kinds += [(f"our flow, k = {k}, all codes drawn", f"ours {k}", 0) for k in KEPT]
    kinds += [(f"autoencoder, k = {k}", f"autoencoder {k}", k) for k in KEPT]
    asked = torch.zeros(50, dtype=torch.long)  # which these flows do not take
    for title, key, k in kinds:
        model = shown[key]
        if not isinstance(model, Flow):
            panels[title] = autoencoder_samples(record, model, data, record.seed)[:50]
        elif k:
            panels[title] = digit_schemes.first_scheme(model, asked, k, record.seed, data.levels)
        else:
            panels[title] = digit_schemes.whole_samples(model, asked, record.seed, levels=data.levels)
    return panels


def _wins(lower: Sequence[float], higher: Sequence[float]) -> int:
    return sum(a < b for a, b in zip(lower, higher, strict=True))


def _listed(values: Sequence[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _second_scheme(
    record: Record, data: Task, results: Results, shown: dict[str, Model], names: dict[str, str]
) -> None:
    record.heading("The first k codes held, the rest drawn")
    rows = []
    for key, name in names.items():
        for k in (*KEPT, 0):
            label = f"{name}, k = {k}" if k else f"{name}, no bottleneck, first {KEPT[-1]} held"
            rows.append([label, *digit_schemes.second_scheme_cells(results.flows[key, k])])
    record.table(digit_schemes.SECOND_SCHEME_NOTE, ["model", *digit_schemes.SECOND_SCHEME_HEADER], rows)
    x, labels = middles(data.test.x[:10]), data.test.labels[:10]
    panels = {}
    for k in KEPT:
        flow = shown[f"ours {k}"]
        assert isinstance(flow, Flow)
        alone, drawn = digit_schemes.second_scheme(flow, x, labels, k, 8, record.seed, data.levels)
        panels[f"k = {k}"] = torch.cat([data.test.x[:10, None], alone[:, None], drawn], 1).reshape(-1, x.shape[1])
    record.picture(
        "held",
        digit_pictures.sheets(panels, across=3, levels=data.levels),
        "Each row: a test image, the image of its first k codes with the rest zero, and eight images with the same "
        "first k codes and the rest drawn; our flow.",
    )
    found = {k: results.flows["ours", k] for k in (0, *KEPT)}
    kept = {k: sum(one.label_kept for one in found[k]) / len(found[k]) for k in found}
    shares = {k: sum(one.variance_kept / one.variance for one in found[k]) / len(found[k]) for k in found}
    record.answer(
        "Does holding the first k codes keep the general appearance, and the rest add diversity?",
        "; ".join(
            f"k = {k}: the forest's label is kept in {100 * kept[k]:.0f} % of the samples, their pixels vary by "
            f"{100 * shares[k]:.0f} % of the variance of all samples"
            for k in KEPT
        )
        + f". Trained without a bottleneck, the first {KEPT[-1]} codes keep the label in {100 * kept[0]:.0f} %. "
        + (
            "The more codes are held, the more of the digit is held."
            if all(kept[a] < kept[b] for a, b in zip(KEPT, KEPT[1:], strict=False))
            else "More codes held do not always hold the label better."
        ),
    )
