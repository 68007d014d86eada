"""What rounding the networks costs: test NLL of flows trained, or scored, with conditioners in TF32 or bfloat16.

    python benchmarks/precision.py [--quick] [--seeds 3]

A flow is trained in float32 and scored three ways; another, from the same seed, is trained in bfloat16. TF32 needs a
GPU: its rounding of both factors of each product, to 11 bits, is imitated here, sums in float32. Nats; means over seeds
of the same held-out rows, with the standard error of the difference over the seeds.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

import pushforward as pf
from pushforward.kernels.switch import kernels


def tf32(x: Tensor) -> Tensor:
    """Round float32 to 11 significant bits, to nearest, ties to even."""
    bits = x.view(torch.int32)
    bits = bits + 0xFFF + ((bits >> 13) & 1)
    return (bits & ~0x1FFF).view(torch.float32)


@contextmanager
def imitated_tf32() -> Iterator[None]:
    """Let linear layers round both factors."""
    linear = functional.linear

    def rounded(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear(tf32(x), tf32(weight), bias)

    with kernels(False), mock.patch.object(functional, "linear", rounded):
        yield


def moons(seed: int) -> tuple[pf.Flow, Tensor, Tensor]:
    torch.manual_seed(seed)
    flow = pf.recipes.nsf(2, num_layers=4, hidden_features=(64, 64))
    return flow, pf.data.two_moons(50_000, seed=0).x, pf.data.two_moons(20_000, seed=1).x


def bent(seed: int) -> tuple[pf.Flow, Tensor, Tensor]:
    """64 features of which every second bends with its neighbour, as in benchmarks/run.py."""
    torch.manual_seed(seed)
    flow = pf.recipes.nsf(64, num_layers=8, hidden_features=(128, 128))
    x = torch.randn(30_000, 64, generator=torch.Generator().manual_seed(0))
    x[:, 1::2] += x[:, ::2] ** 2
    x = (x - x.mean(0)) / x.std(0)
    return flow, x[:20_000], x[20_000:]


CASES = {"two moons, 4 splines 2x64": (moons, 3_000), "64 features, 8 splines 2x128": (bent, 800)}


def nll(flow: pf.Flow, x: Tensor) -> float:
    with torch.no_grad():
        return float(-flow.log_prob(x).mean())


def costs(make: Callable[[int], tuple[pf.Flow, Tensor, Tensor]], seeds: int, steps: int) -> dict[str, list[float]]:
    """Return test NLLs, one a seed, of each way."""
    found: dict[str, list[float]] = {}
    settings = {"num_steps": steps, "batch_size": 256, "validation": None, "progress": False}
    for seed in range(seeds):
        flow, x, test = make(seed)
        pf.fit(flow, x, seed=seed, **settings)
        found.setdefault("float32", []).append(nll(flow, test))
        with imitated_tf32():
            found.setdefault("scored in TF32, imitated", []).append(nll(flow, test))
        with pf.precision("bf16"):
            found.setdefault("scored in bf16", []).append(nll(flow, test))
        flow, x, test = make(seed)
        pf.fit(flow, x, seed=seed, precision="bf16", **settings)
        found.setdefault("trained in bf16, scored in float32", []).append(nll(flow, test))
        with pf.precision("bf16"):
            found.setdefault("trained and scored in bf16", []).append(nll(flow, test))
    return found


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 training steps")
    parser.add_argument("--seeds", type=int, default=3, help="%(default)s")
    options = parser.parse_args()
    for name, (make, steps) in CASES.items():
        found = costs(make, options.seeds, 20 if options.quick else steps)
        print(f"\n| {name}, {steps:,} steps | test NLL | more than float32 |\n|---|---|---|")
        for way, values in found.items():
            more = [value - exact for value, exact in zip(values, found["float32"], strict=True)]
            error = statistics.stdev(more) / len(more) ** 0.5 if len(more) > 1 else float("nan")
            print(f"| {way} | {statistics.mean(values):.4f} | {statistics.mean(more):.4f} ± {error:.4f} |", flush=True)


if __name__ == "__main__":
    main()
