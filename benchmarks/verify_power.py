"""How often does `pf.verify` find what is wrong with a base? The broken ones of broken_flows.py, many seeds each.

python benchmarks/verify_power.py [--seeds 100] [--out results.json]
"""

import argparse
import json
from pathlib import Path

import torch

import pushforward as pf
from broken_flows import BASES, FACTORS, GOOD, MAPS, Broken, base_of, same


def found(flow: pf.Flow, context: torch.Tensor | None = None) -> bool:
    """Return whether verify finds a problem, on data where the map is right."""
    x = torch.linspace(0.1, 0.9, 4 * flow.features).reshape(4, flow.features)
    return not pf.verify(flow, x, context).ok


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--features", type=int, nargs="+", default=[1, 2, 5, 20, 64])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, int] = {}

    def count(name: str, flow: pf.Flow, context: torch.Tensor | None = None) -> None:
        if flow.features not in arguments.features:
            return
        hits = 0
        for seed in range(arguments.seeds):
            flow.base.seed = seed
            hits += found(flow, context)
        result[name] = hits
        print(f"{hits:4d} of {arguments.seeds}  {name}", flush=True)

    identity = pf.transforms.Scale(1.0)
    for kind, cases in ({"good": GOOD} | BASES).items():
        for name, (_, _, sizes) in cases.items():
            for features in sizes:
                count(f"{kind}: {name}, D = {features}", pf.Flow(identity, base_of(kind, name, features)))
    for name, log_prob in FACTORS.items():
        for features in (1, 2, 5, 20):
            base = Broken(features, same, log_prob, context_features=1)
            context = torch.tensor([[-0.5], [0.5], [1.0], [0.7]])
            count(f"factor of the context: {name}, D = {features}", pf.Flow(identity, base), context)
    for name, make in MAPS.items():
        for features in (1, 2, 5):
            count(f"cover: {name}, D = {features}", pf.Flow(make(), base_of("good", "normal", features)))
    if arguments.out:
        arguments.out.write_text(json.dumps({"seeds": arguments.seeds, "found": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
