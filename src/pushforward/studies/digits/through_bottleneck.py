"""Digits through a bottleneck: the first k codes rebuild the image, the others add to it; beside autoencoders."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pushforward.studies.digits import schemes
from pushforward.studies.digits.autoencoders import PrincipalComponents, autoencoder, sampled
from pushforward.studies.digits.quality import QUALITY_COLUMNS, QUALITY_NOTE, Quality
from pushforward.studies.digits.schemes import KEPT, Findings, each_k, percent
from pushforward.studies.digits.task import NLL_COLUMNS, PIXELS, Task
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit.comparison import Candidate, Comparison, Trained, listed
from pushforward.studies.kit.levels import middles, to_levels
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import average, cells, mean, spread, values

MOST = KEPT[-1]


@dataclass(frozen=True)
class Autoencoded:
    """What an autoencoder does with the test images and with codes drawn from a Gaussian fitted to its own."""

    error: float
    samples: Quality


def through_bottleneck(record: Record, task: Task, candidates: Mapping[str, Candidate]) -> None:
    """Train candidates, "ours" among them, with and without a bottleneck, and autoencoders; compare what they make."""
    flows, found = schemes.bottlenecks(record, task, candidates, keep="flow.{key}", none="no_bottleneck")
    autoencoders = {f"autoencoder.k{k}": autoencoder(task, k) for k in KEPT}
    coders = task.fit(Comparison(record), autoencoders, label="{name}, seed {seed}")
    x = middles(task.train.x)
    for k in KEPT:
        coders.add(f"pca.k{k}", f"PCA, k = {k}", [Trained(PrincipalComponents(x, k), record.seed)])

    @torch.no_grad()
    def measure(one: Trained) -> Autoencoded:
        x = middles(task.test.x)
        samples = sampled(one.model, task, record.size(1_000, quick=100), one.seed)
        error = schemes.pixel_error(x, one.model.decode(one.model.encode(x)))
        return Autoencoded(error, task.judge.quality(samples))

    coded = coders.score(measure)
    for key, scores in coded.items():
        record.number(key, asdict(scores[0]) if key.startswith("pca") else listed(scores, by_seed=True))
    record.number("weight", task.weight)
    sections = Sections(record, task, flows, found, coders, coded)
    sections.rebuilding()
    sections.likelihood()
    sections.quality()
    sections.second_scheme()


@dataclass(frozen=True)
class Sections:
    """The report on flows by k, "ours" among them, and on autoencoders by "autoencoder.k2", "pca.k2" and so on."""

    record: Record
    task: Task
    flows: dict[int, Comparison]
    found: dict[int, dict[str, list[Findings]]]
    coders: Comparison
    coded: dict[str, list[Autoencoded]]

    def ours(self, k: int) -> Findings:
        """Return what our flow does, on average over the seeds."""
        return average(self.found[k]["ours"])

    def coder(self, kind: str, k: int) -> Autoencoded:
        """Return what an "autoencoder" or "pca" does, on average over the seeds."""
        return average(self.coded[f"{kind}.k{k}"])

    def rebuilding(self) -> None:
        """Compare test images with what is rebuilt from a few codes."""
        record, task = self.record, self.task
        record.heading("Images rebuilt from k codes")
        record.text(
            f"The loss is the NLL plus {task.weight:g} times the squared error, in levels, of the image decoded "
            "from its first k codes with the rest zero. Beside it: principal components, and autoencoders of two "
            "hidden layers of 128 on both sides, with the same images, noise and early stopping."
        )
        rows: dict[str, list[Sequence[Findings | Autoencoded]]] = {
            "PCA": [self.coded[f"pca.k{k}"] for k in KEPT],
            "autoencoder": [self.coded[f"autoencoder.k{k}"] for k in KEPT],
        }
        for key in self.flows[0].names:
            flow_name = "our flow" if key == "ours" else "source's flow"
            rows[f"bottleneck, {flow_name}"] = [self.found[k][key] for k in KEPT]
        record.table(
            "Mean squared error of a pixel of test images, in squared levels (a pixel goes from 0 to "
            f"{task.levels - 1}), mean (lowest to highest) over the seeds. The first {MOST} codes of our flow trained "
            f"without a bottleneck give {spread(values(self.found[0]['ours'], 'error'))}.",
            ["rebuilt by", *(f"k = {k}" for k in KEPT)],
            [[name, *(spread(values(scores, "error")) for scores in row)] for name, row in rows.items()],
        )
        x, labels = middles(task.test.x[:10]), task.test.labels[:10]
        panels = {"test images": x}
        for k in KEPT:
            for kind, name in (("pca", "PCA"), ("autoencoder", "autoencoder")):
                coder = self.coders.first(f"{kind}.k{k}")
                panels[f"{name}, k = {k}"] = coder.decode(coder.encode(x))
            panels[f"our flow, k = {k}"] = schemes.rebuilt(self.flows[k].first("ours"), x, labels, k)
        record.picture(
            "rebuilt",
            digit_pictures.strips({name: to_levels(x, task.levels) for name, x in panels.items()}, task.levels),
            "Ten test images, and what remains of them in k = 2, 4 and 8 codes.",
        )
        ours = {k: self.ours(k).error for k in KEPT}
        linear, coded = ({k: self.coder(kind, k).error for k in KEPT} for kind in ("pca", "autoencoder"))
        record.answer(
            "Do the first k codes hold what is needed to rebuild an image?",
            each_k(lambda k: f"{ours[k]:.2f} against {linear[k]:.2f} for PCA and {coded[k]:.2f} for an autoencoder")
            + f". Our flow rebuilds better than PCA for {sum(ours[k] < linear[k] for k in KEPT)} of the {len(KEPT)} "
            f"sizes and better than the autoencoder for {sum(ours[k] < coded[k] for k in KEPT)}.",
        )

    def likelihood(self) -> None:
        """Compare the NLL with that of a flow without a bottleneck."""
        self.record.heading("What the bottleneck costs in likelihood")
        self.record.table(
            "Test NLL, mean (lowest to highest) over the seeds, and the standard error of one seed. With a bottleneck "
            "the kept weights are those of the least validation loss, its squared error included.",
            ["model", "bottleneck", *(header for header, _ in NLL_COLUMNS)],
            [
                [name, f"k = {k}" if k else "none", *cells(NLL_COLUMNS, values(found[key], "nll"))]
                for key, name in self.flows[0].names.items()
                for k, found in self.found.items()
            ],
        )
        more = [f"{self.ours(k).nll.mean - self.ours(0).nll.mean:+.1f} nats an image with k = {k}" for k in KEPT]
        self.record.answer(
            "Does the bottleneck leave the likelihood as it was?",
            f"Our flow, against training without it: {', '.join(more)}.",
        )

    def quality(self) -> None:
        """Compare images drawn from all codes, from the first k alone and from autoencoders."""
        record, task = self.record, self.task
        record.heading("Quality of generated images")
        real = task.judge.real.quality
        record.number("real", asdict(real))
        rows = {"real test images": [real]}
        for key, name in self.flows[0].names.items():
            rows[f"{name}, no bottleneck"] = values(self.found[0][key], "whole")
            for k in KEPT:
                rows[f"{name}, k = {k}, all codes drawn"] = values(self.found[k][key], "whole")
                rows[f"{name}, k = {k}, the rest zero"] = values(self.found[k][key], "first")
        rows |= {self.coders.names[key]: values(scores, "samples") for key, scores in self.coded.items()}
        record.scores(QUALITY_NOTE, "images", QUALITY_COLUMNS, rows)
        self._samples()
        plain = self.ours(0).whole
        whole, first = {k: self.ours(k).whole for k in KEPT}, {k: self.ours(k).first for k in KEPT}
        surer, nearer = (
            [sum(better(one) for one in images.values()) for images in (whole, first)]
            for better in (lambda one: one.confidence > plain.confidence, lambda one: one.mmd < plain.mmd)
        )
        record.answer(
            "Does the quality of the synthetic images improve?",
            f"Our flow without a bottleneck: confidence {plain.confidence:.2f}, MMD² to the test images "
            f"{plain.mmd:.4f}. With k = {', '.join(map(str, KEPT))} and all codes drawn: {_figures(whole)}. With the "
            f"rest zero: {_figures(first)}. Images of all codes are more recognisable than without a bottleneck for "
            f"{surer[0]} of the {len(KEPT)} sizes, and nearer to the test images by MMD for {nearer[0]}; images of the "
            f"first codes alone are more recognisable for {surer[1]}, and nearer for {nearer[1]}.",
        )
        coded = {k: self.coder("autoencoder", k).samples for k in KEPT}
        record.answer(
            "Does drawing the first k codes alone work like an autoencoder?",
            each_k(
                lambda k: (
                    f"confidence {first[k].confidence:.2f} (autoencoder {coded[k].confidence:.2f}), distance to the "
                    f"nearest training image {first[k].distance:.1f} ({coded[k].distance:.1f}), MMD² "
                    f"{first[k].mmd:.4f} ({coded[k].mmd:.4f})"
                )
            )
            + f". Real test images: {real.confidence:.2f} and {real.distance:.1f}.",
        )

    def _samples(self) -> None:
        seed, task = self.record.seed, self.task
        labels = torch.zeros(50, dtype=torch.long)  # which these flows do not take

        def drawn(k: int, num_codes: int) -> Tensor:
            return schemes.first_scheme(self.flows[k].first("ours"), labels, num_codes, seed, task.levels)

        def coded(key: str) -> Tensor:
            return sampled(self.coders.first(key), task, len(labels), seed)

        panels = {"real test images": task.test.x[: len(labels)], "our flow, no bottleneck": drawn(0, PIXELS)}
        panels[f"PCA, k = {MOST}"] = coded(f"pca.k{MOST}")
        panels |= {f"our flow, k = {k}, the rest zero": drawn(k, k) for k in KEPT}
        panels |= {f"our flow, k = {k}, all codes drawn": drawn(k, PIXELS) for k in KEPT}
        panels |= {f"autoencoder, k = {k}": coded(f"autoencoder.k{k}") for k in KEPT}
        self.record.picture(
            "samples",
            digit_pictures.sheets(panels, across=3, levels=task.levels),
            "Fifty images each, not chosen: real ones, our flow without a bottleneck, and PCA; our flow's first codes "
            "drawn with the rest zero; all its codes drawn; autoencoders. Codes of PCA and autoencoders come from a "
            "Gaussian fitted to them.",
        )

    def second_scheme(self) -> None:
        """Hold the first k codes of test images and draw the rest."""
        record, task = self.record, self.task
        record.heading("The first k codes held, the rest drawn")
        rows = {
            f"{name}, k = {k}" if k else f"{name}, no bottleneck, first {MOST} held": self.found[k][key]
            for key, name in self.flows[0].names.items()
            for k in (*KEPT, 0)
        }
        record.scores(schemes.SECOND_SCHEME_NOTE, "model", schemes.SECOND_SCHEME_COLUMNS, rows)
        images, labels = task.test.x[:10], task.test.labels[:10]
        panels = {}
        for k in KEPT:
            alone, drawn = schemes.second_scheme(
                self.flows[k].first("ours"), middles(images), labels, k, 8, record.seed, task.levels
            )
            panels[f"k = {k}"] = torch.cat([images[:, None], alone[:, None], drawn], 1).flatten(0, 1)
        record.picture(
            "held",
            digit_pictures.sheets(panels, across=3, levels=task.levels),
            "Each row: a test image, the image of its first k codes with the rest zero, and eight images with the same "
            "first k codes and the rest drawn; our flow.",
        )
        ours = {k: found["ours"] for k, found in self.found.items()}
        kept = {k: mean(found, "label_kept") for k, found in ours.items()}
        record.answer(
            "Does holding the first k codes keep the general appearance, and the rest add diversity?",
            each_k(
                lambda k: (
                    f"the forest's label is kept in {percent(ours[k], 'label_kept')} of the samples, their pixels vary "
                    f"by {percent(ours[k], 'variance_share')} of the variance of all samples"
                )
            )
            + f". Trained without a bottleneck, the first {MOST} codes keep the label in "
            f"{percent(ours[0], 'label_kept')}. "
            + (
                "The more codes are held, the more of the digit is held."
                if all(kept[fewer] < kept[more] for fewer, more in pairwise(KEPT))
                else "More codes held do not always hold the label better."
            ),
        )


def _figures(images: Mapping[int, Quality]) -> str:
    confidences = ", ".join(f"{one.confidence:.2f}" for one in images.values())
    return f"confidence {confidences}, MMD² {', '.join(f'{one.mmd:.4f}' for one in images.values())}"
