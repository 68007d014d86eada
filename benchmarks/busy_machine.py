"""What a run keeps of a machine that others use too: one other busy process on each core, against none.

`python benchmarks/busy_machine.py [--seconds 20]` prints, for a small flow and for the flow of a table of ten columns,
the steps that `fit` makes in the time given and the time it uses, and how long `study two-moons --quick` takes. On a
core shared with one other process half of the steps would be fair.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

import pushforward as pf

LONGEST = 600  # seconds after which a busy process ends by itself
BUSY = f"import time\nend = time.time() + {LONGEST}\nwhile time.time() < end: pass"


@contextmanager
def others(number: int) -> Iterator[None]:
    """Keep so many other processes busy."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def steps(features: int, seconds: float) -> tuple[int, float]:
    """Return the steps of a fit of so many columns, and the seconds it used."""
    x = torch.randn(20_000, features, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    history = pf.fit(pf.recipes.auto(x, max_seconds=seconds), x, max_seconds=seconds, progress=False)
    return history.steps, history.seconds


def study() -> float:
    """Return how many seconds a quick study takes, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pushforward", "study", "two-moons", "--quick", "--out", folder]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    """Measure without and with others, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    cores = os.cpu_count() or 1
    found = []
    for number in (0, cores):
        with others(number):
            found.append([*(steps(features, seconds) for features in (2, 10)), study()])
    print(f"{cores} cores, {torch.get_num_threads()} threads; quiet, then {cores} other busy processes")
    for position, name in enumerate(("fit, 2 columns", "fit, 10 columns")):
        (quiet, used), (busy, used_busy) = found[0][position], found[1][position]
        print(f"{name}: {quiet} and {busy} steps ({busy / quiet:.2f}), {used:.1f} and {used_busy:.1f} of {seconds:g} s")
    print(f"study two-moons --quick: {found[0][2]:.1f} and {found[1][2]:.1f} s ({found[1][2] / found[0][2]:.1f} times)")


if __name__ == "__main__":
    main()
