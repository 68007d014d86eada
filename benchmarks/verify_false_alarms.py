"""How often does `pf.verify` find fault with a flow that is right?

    python benchmarks/verify_false_alarms.py [--flows 1000] [--first 0] [--out results.json]

Flow number n is made from the seed n alone: a recipe, a base, preprocessing, the number of features, the dtype and
random weights, with a context in one of three. Problems that a check of the base's side finds are counted by check.
"""

import argparse
import json
import platform
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import distributions as law
from torch import nn

import pushforward as pf

FEATURES = (1, 2, 5, 20, 64)
CONTEXT = 3
SMALL = {"num_layers": 2, "hidden_features": (16, 16)}
RECIPES: dict[str, dict[str, Any]] = {
    "nice": {"recipe": "nice", **SMALL},
    "realnvp": {"recipe": "realnvp", **SMALL},
    "maf": {"recipe": "maf", **SMALL},
    "iaf": {"recipe": "iaf", **SMALL},
    "nsf": {"recipe": "nsf", **SMALL},
    "nsf, autoregressive": {"recipe": "nsf", "autoregressive": True, **SMALL},
    "planar": {"recipe": "planar", "num_layers": 3},
    "planar, inverted": {"recipe": "planar", "inverted": True, "num_layers": 3},
    "radial": {"recipe": "planar", "kind": "radial", "num_layers": 3},
    "sylvester": {"recipe": "planar", "kind": "sylvester", "num_layers": 2},
    "cnf": {"recipe": "cnf", "hidden_features": (16,), "method": "rk4", "num_steps": 8},
    "glow": {"recipe": "glow", "hidden_channels": 8, "num_blocks": 1, "num_layers": 2},
    "realnvp of images": {"recipe": "realnvp_image", "hidden_channels": 8, "num_blocks": 1, "num_layers": 2},
}
LAWS = {
    "Beta": lambda: law.Beta(2.0, 3.0),
    "Cauchy": lambda: law.Cauchy(0.0, 1.0),
    "Chi2": lambda: law.Chi2(4.0),
    "Exponential": lambda: law.Exponential(1.5),
    "Gamma": lambda: law.Gamma(0.7, 1.0),
    "Gumbel": lambda: law.Gumbel(0.0, 1.0),
    "HalfCauchy": lambda: law.HalfCauchy(1.0),
    "HalfNormal": lambda: law.HalfNormal(1.0),
    "Kumaraswamy": lambda: law.Kumaraswamy(2.0, 3.0),
    "Laplace": lambda: law.Laplace(0.0, 1.0),
    "LogNormal": lambda: law.LogNormal(0.0, 0.7),
    "Normal": lambda: law.Normal(1.0, 2.0),
    "Pareto": lambda: law.Pareto(1.0, 3.0),
    "StudentT": lambda: law.StudentT(3.0),
    "Uniform": lambda: law.Uniform(-1.0, 2.0),
    "VonMises": lambda: law.VonMises(0.0, 2.0),
    "Weibull": lambda: law.Weibull(1.0, 1.5),
}
HEAVY = ("Cauchy", "HalfCauchy", "LogNormal", "Pareto", "StudentT")


class Shifted(pf.bases.Base):
    """A normal whose mean and scale depend on the context: the library's own bases take none."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features, self.context_features = features, CONTEXT
        self.net = nn.Linear(CONTEXT, 2 * features)

    def log_prob(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Return the log density: (*batch, D) -> (*batch,)."""
        mean, log_std = self.net(context).chunk(2, -1)
        return (law.Normal(mean, log_std.exp(), validate_args=False).log_prob(z)).sum(-1)

    def sample(self, shape: Any, *, context: Any = None, temperature: float = 1.0, generator: Any = None) -> Any:
        """Draw (*shape, D)."""
        mean, log_std = self.net(context).chunk(2, -1)
        noise = torch.randn((*shape, self.features), generator=generator, dtype=mean.dtype)
        return mean + temperature * log_std.exp() * noise


def make_base(features: int, context: int, choose: random.Random) -> tuple[str, pf.bases.Base]:
    """Return a base and its name."""
    kinds = ["StandardNormal", "DiagonalNormal", "GaussianMixture", "Box", "Laws", "Laws", "Laws"]
    kinds += ["Joint"] * (features > 1) + ["Shifted"] * bool(context)
    kind = choose.choice(kinds)
    if kind == "Box":
        return kind, pf.bases.Box(features, low=-2.0, high=1.0)
    if kind == "Laws":
        name = choose.choice(sorted(LAWS))
        return name, pf.bases.FromTorch(LAWS[name](), features)
    if kind == "Joint":
        half = features // 2
        _, second = make_base(features - half, 0, choose)
        return kind, pf.bases.Joint([pf.bases.GaussianMixture(half, 3), second])
    if kind == "Shifted":
        return kind, Shifted(features)
    return kind, getattr(pf.bases, kind)(features)


def make_flow(seed: int) -> tuple[dict[str, Any], pf.Flow]:
    """Return what flow number `seed` is, and the flow."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    name = choose.choice(sorted(RECIPES))
    options = dict(RECIPES[name])
    recipe = options.pop("recipe")
    context = CONTEXT * (choose.random() < 1 / 3) * (name != "sylvester")  # which takes none
    image = recipe in ("glow", "realnvp_image")
    features = choose.choice((16, 64)) if image else choose.choice(FEATURES)
    base_name, base = make_base(features, context, choose)
    # sinh and the logistic function of a draw of a heavy tail overflow: such a flow is not right in its dtype.
    heavy = base_name in HEAVY or (base_name == "Joint")
    before = choose.choice(["none", "none", "Standardize"] + ["Asinh", "Logit"] * (not heavy))
    preprocessing = (
        [] if before == "none" else [getattr(pf.transforms, before)(*([] if before == "Logit" else [features]))]
    )
    side = round(features**0.5)
    first = (1, side, side) if image else features
    make = getattr(pf.recipes, recipe)
    flow = make(first, base=base, preprocessing=preprocessing, context_features=context, **options)
    size = choose.choice((0.1, 0.3)) if before != "Logit" else 0.1
    with torch.no_grad():
        for parameter in flow.parameters():
            fan_in = parameter[0].numel() if parameter.ndim in (2, 4) else 1
            parameter.add_(size * torch.randn_like(parameter) / fan_in**0.5)
    rows = torch.rand(64, features) if before == "Logit" else 2 * torch.randn(64, features) + 1
    if before in ("Standardize", "Asinh"):
        preprocessing[0].initialize(rows)
    double = choose.random() < 0.5
    facts = {"recipe": name, "base": base_name, "preprocessing": before, "features": features, "context": bool(context)}
    return facts | {"dtype": "float64" if double else "float32"}, flow.double() if double else flow


def rows_for(flow: pf.Flow, num_rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return rows of the flow's own, and their context."""
    generator = torch.Generator().manual_seed(seed)
    if not flow.context_features:
        return flow.sample(num_rows, generator=generator), None
    dtype = next(flow.parameters()).dtype
    context = torch.randn(num_rows, CONTEXT, generator=generator, dtype=dtype)
    return flow.sample(1, context, generator=generator).squeeze(1), context


def main() -> None:
    """Verify the flows, print what was found and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made, alarms, found, unmeasured = Counter(), Counter(), [], 0
    start = time.perf_counter()
    for seed in range(arguments.first, arguments.first + arguments.flows):
        facts, flow = make_flow(seed)
        made.update(f"{key} {value}" for key, value in facts.items())
        report = pf.verify(flow, *rows_for(flow, arguments.rows, seed))
        unmeasured += any("could not be measured" in line or "not compared" in line for line in report.checked)
        if not report.ok:
            alarms.update({problem.split(":")[0] for problem in report.problems})
            found.append({"seed": seed, **facts, "problems": report.problems})
            print(json.dumps(found[-1]), flush=True)
    seconds = time.perf_counter() - start
    result = {
        "flows": arguments.flows,
        "first": arguments.first,
        "alarms": dict(alarms),
        "mass not measured": unmeasured,
        "seconds": round(seconds),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "made": dict(sorted(made.items())),
        "found": found,
    }
    print(json.dumps({key: value for key, value in result.items() if key != "found"}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
