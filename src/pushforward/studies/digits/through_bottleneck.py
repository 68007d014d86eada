"""Digits through a bottleneck: the first k codes rebuild the image, the others add to it; beside autoencoders."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pushforward.studies.digits import schemes
from pushforward.studies.digits.autoencoders import PrincipalComponents, autoencoder, sampled
from pushforward.studies.digits.judge import QUALITY_COLUMNS, QUALITY_NOTE
from pushforward.studies.digits.schemes import KEPT, MOST, percent, variance_left
from pushforward.studies.digits.task import NLL_COLUMNS, PIXELS, Task
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, images, middles, to_levels
from pushforward.studies.kit.tables import Score, average, mean, spread, values


def through_bottleneck(record: Record, task: Task, candidates: Mapping[str, Candidate]) -> None:
    """Train candidates, "ours" among them, with and without a bottleneck, and autoencoders; compare what they make."""
    flows = schemes.train_bottlenecks(record, task, candidates, keep="flow.{key}", none="no_bottleneck")
    compared = _Compared(record, task, flows, {k: _coders(record, task, k) for k in KEPT})
    for k, coders in compared.coders.items():
        scores = coders.score(compared.measured).scores
        record.number(f"autoencoder.k{k}", scores["autoencoder"])
        record.number(f"pca.k{k}", scores["pca"][0])
    record.number("weight", task.weight)
    compared.rebuilding()
    compared.likelihood()
    compared.quality()
    compared.second_scheme()


def _coders(record: Record, task: Task, k: int) -> Comparison:
    linear = Trained(PrincipalComponents(middles(task.train.x), k), record.seed)
    label = f"{{key}}, k = {k}, seed {{seed}}"
    return task.fit(Comparison(record), {"autoencoder": autoencoder(task, k)}, label=label).add("pca", "PCA", [linear])


@dataclass(frozen=True)
class _Compared:
    """Flows by k, 0 without a bottleneck, "pca" and "autoencoder" by k, and what each of them does."""

    record: Record
    task: Task
    flows: dict[int, Comparison]
    coders: dict[int, Comparison]

    @property
    def found(self) -> dict[int, dict[str, list[Any]]]:
        return {k: of.scores | (self.coders[k].scores if k else {}) for k, of in self.flows.items()}

    @torch.no_grad()
    def measured(self, one: Trained) -> Score:
        x = middles(self.task.test.x)
        samples = sampled(one.model, self.task, self.record.size(1_000, quick=100), one.seed)
        error = schemes.pixel_error(x, one.model.decode(one.model.encode(x)))
        return Score(error=error, samples=self.task.judge.quality(samples))

    def mean(self, k: int, key: str = "ours") -> Any:
        return average(self.found[k][key])

    def rebuilding(self) -> None:
        record, task = self.record, self.task
        record.heading("Images rebuilt from k codes")
        record.text(
            f"The loss is the NLL plus {task.weight:g} times the squared error, in levels, of the image decoded "
            "from its first k codes with the rest zero. Beside it: principal components, and autoencoders of two "
            "hidden layers of 128 on both sides, with the same images, noise and early stopping."
        )
        names = {"pca": "PCA", "autoencoder": "autoencoder", "source": "bottleneck, source's flow"}
        names = {key: name for key, name in names.items() if key in self.found[MOST]} | {"ours": "bottleneck, our flow"}
        record.table(
            "Mean squared error of a pixel of test images, in squared levels (a pixel goes from 0 to "
            f"{task.levels - 1}), mean (lowest to highest) over the seeds. The first {MOST} codes of our flow trained "
            f"without a bottleneck give {spread(values(self.found[0]['ours'], 'error'))}.",
            ["rebuilt by", *(f"k = {k}" for k in KEPT)],
            [[name, *(spread(values(self.found[k][key], "error")) for k in KEPT)] for key, name in names.items()],
        )
        x, labels = middles(task.test.x[:10]), task.test.labels[:10]
        panels = {"test images": x}
        for k in KEPT:
            for key, name in (("pca", "PCA"), ("autoencoder", "autoencoder")):
                coder = self.coders[k].first(key)
                panels[f"{name}, k = {k}"] = coder.decode(coder.encode(x))
            panels[f"our flow, k = {k}"] = schemes.rebuilt(self.flows[k].first("ours"), x, labels, k)
        figure = images.strips({name: to_levels(x, task.levels) for name, x in panels.items()}, task.levels)
        record.picture("rebuilt", figure, "Ten test images, and what remains of them in k = 2, 4 and 8 codes.")
        ours, linear, coded = ({k: self.mean(k, key).error for k in KEPT} for key in ("ours", "pca", "autoencoder"))
        said = [
            f"k = {k}: {ours[k]:.2f} against {linear[k]:.2f} for PCA and {coded[k]:.2f} for an autoencoder"
            for k in KEPT
        ]
        record.answer(
            "Do the first k codes hold what is needed to rebuild an image?",
            f"{'; '.join(said)}. Our flow rebuilds better than PCA for {sum(ours[k] < linear[k] for k in KEPT)} of the "
            f"{len(KEPT)} sizes and better than the autoencoder for {sum(ours[k] < coded[k] for k in KEPT)}.",
        )

    def likelihood(self) -> None:
        self.record.heading("What the bottleneck costs in likelihood")
        self.record.scores(
            "Test NLL, mean (lowest to highest) over the seeds, and the standard error of one seed. With a bottleneck "
            "the kept weights are those of the least validation loss, its squared error included.",
            ["model", "bottleneck"],
            NLL_COLUMNS,
            {
                (name, f"k = {k}" if k else "none"): values(found[key], "nll")
                for key, name in self.flows[0].names.items()
                for k, found in self.found.items()
            },
        )
        more = [f"{self.mean(k).nll.mean - self.mean(0).nll.mean:+.1f} nats an image with k = {k}" for k in KEPT]
        self.record.answer(
            "Does the bottleneck leave the likelihood as it was?",
            f"Our flow, against training without it: {', '.join(more)}.",
        )

    def quality(self) -> None:
        record, task, found = self.record, self.task, self.found
        record.heading("Quality of generated images")
        real = task.judge.quality(task.test.x)
        record.number("real", real)
        rows = {"real test images": [real]}
        for key, name in self.flows[0].names.items():
            rows[f"{name}, no bottleneck"] = values(found[0][key], "whole")
            for k in KEPT:
                rows[f"{name}, k = {k}, all codes drawn"] = values(found[k][key], "whole")
                rows[f"{name}, k = {k}, the rest zero"] = values(found[k][key], "first")
        rows |= {f"autoencoder, k = {k}": values(found[k]["autoencoder"], "samples") for k in KEPT}
        rows |= {f"PCA, k = {k}": values(found[k]["pca"], "samples") for k in KEPT}
        record.scores(QUALITY_NOTE, "images", QUALITY_COLUMNS, rows)

        labels = torch.zeros(50, dtype=torch.long)  # which these flows do not take

        def flow_samples(k: int, num_codes: int) -> Tensor:
            return schemes.first_scheme(self.flows[k].first("ours"), labels, num_codes, record.seed, task.levels)

        def coder_samples(k: int, key: str) -> Tensor:
            return sampled(self.coders[k].first(key), task, len(labels), record.seed)

        panels = {"real test images": task.test.x[: len(labels)], "our flow, no bottleneck": flow_samples(0, PIXELS)}
        panels[f"PCA, k = {MOST}"] = coder_samples(MOST, "pca")
        panels |= {f"our flow, k = {k}, the rest zero": flow_samples(k, k) for k in KEPT}
        panels |= {f"our flow, k = {k}, all codes drawn": flow_samples(k, PIXELS) for k in KEPT}
        panels |= {f"autoencoder, k = {k}": coder_samples(k, "autoencoder") for k in KEPT}
        record.picture(
            "samples",
            images.sheets(panels, across=3, levels=task.levels),
            "Fifty images each, not chosen: real ones, our flow without a bottleneck, and PCA; our flow's first codes "
            "drawn with the rest zero; all its codes drawn; autoencoders. Codes of PCA and autoencoders come from a "
            "Gaussian fitted to them.",
        )
        plain, zero = self.mean(0).whole, {k: self.mean(k).first for k in KEPT}
        said, surer, nearer = [], [], []
        for drawn in ([self.mean(k).whole for k in KEPT], zero.values()):
            confidences = ", ".join(f"{one.confidence:.2f}" for one in drawn)
            said.append(f"confidence {confidences}, MMD² {', '.join(f'{one.mmd:.4f}' for one in drawn)}")
            surer.append(sum(one.confidence > plain.confidence for one in drawn))
            nearer.append(sum(one.mmd < plain.mmd for one in drawn))
        record.answer(
            "Does the quality of the synthetic images improve?",
            f"Our flow without a bottleneck: confidence {plain.confidence:.2f}, MMD² to the test images "
            f"{plain.mmd:.4f}. With k = {', '.join(map(str, KEPT))} and all codes drawn: {said[0]}. With the rest "
            f"zero: {said[1]}. Images of all codes are more recognisable than without a bottleneck for {surer[0]} of "
            f"the {len(KEPT)} sizes, and nearer to the test images by MMD for {nearer[0]}; images of the first codes "
            f"alone are more recognisable for {surer[1]}, and nearer for {nearer[1]}.",
        )
        coded = {k: self.mean(k, "autoencoder").samples for k in KEPT}
        said = [
            f"k = {k}: confidence {zero[k].confidence:.2f} (autoencoder {coded[k].confidence:.2f}), distance to the "
            f"nearest training image {zero[k].distance:.1f} ({coded[k].distance:.1f}), MMD² {zero[k].mmd:.4f} "
            f"({coded[k].mmd:.4f})"
            for k in KEPT
        ]
        record.answer(
            "Does drawing the first k codes alone work like an autoencoder?",
            f"{'; '.join(said)}. Real test images: {real.confidence:.2f} and {real.distance:.1f}.",
        )

    def second_scheme(self) -> None:
        record, task = self.record, self.task
        record.heading("The first k codes held, the rest drawn")
        rows = {
            f"{name}, k = {k}" if k else f"{name}, no bottleneck, first {MOST} held": self.found[k][key]
            for key, name in self.flows[0].names.items()
            for k in (*KEPT, 0)
        }
        record.scores(schemes.SECOND_SCHEME_NOTE, "model", schemes.SECOND_SCHEME_COLUMNS, rows)
        x, labels = task.test.x[:10], task.test.labels[:10]
        panels = {}
        for k in KEPT:
            flow = self.flows[k].first("ours")
            alone, drawn = schemes.second_scheme(flow, middles(x), labels, k, 8, record.seed, task.levels)
            panels[f"k = {k}"] = torch.cat([x[:, None], alone[:, None], drawn], 1).flatten(0, 1)
        record.picture(
            "held",
            images.sheets(panels, across=3, levels=task.levels),
            "Each row: a test image, the image of its first k codes with the rest zero, and eight images with the same "
            "first k codes and the rest drawn; our flow.",
        )
        ours = {k: found["ours"] for k, found in self.found.items()}
        kept = [mean(ours[k], "label_kept") for k in KEPT]
        end = "More codes held do not always hold the label better."
        if all(fewer < more for fewer, more in pairwise(kept)):
            end = "The more codes are held, the more of the digit is held."
        said = [
            f"k = {k}: the forest's label is kept in {percent(ours[k], 'label_kept')} of the samples, their pixels "
            f"vary by {variance_left(ours[k])} of the variance of all samples"
            for k in KEPT
        ]
        record.answer(
            "Does holding the first k codes keep the general appearance, and the rest add diversity?",
            f"{'; '.join(said)}. Trained without a bottleneck, the first {MOST} codes keep the label in "
            f"{percent(ours[0], 'label_kept')}. {end}",
        )
