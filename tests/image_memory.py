"""Run by test_dequantization.py: fits a flow to as many images as MNIST has, in a child that is killed, and goes on.

Prints the status of the child and the largest memory of both in MB, the steps of the run and those after the kill.
"""

import os
import resource
import signal
import sys
from pathlib import Path

import torch

import pushforward as pf
from pushforward.training import run_folder

MEMORY = "memory.txt"  # in the folder: that of the child

run_folder.SAVE_SECONDS, run_folder.SAVE_SHARE = 0.0, 1.0  # a checkpoint at every report


def megabytes():
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss counts the process that started this one too
        return (
            int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)


def train(folder, die_at=0):
    torch.manual_seed(0)
    calls = []

    def loss(model, batch, generator=None):
        calls.append(model.training)
        if sum(calls) == die_at:
            (folder / MEMORY).write_text(str(megabytes()))
            os.kill(os.getpid(), signal.SIGKILL)
        return pf.losses.nll(model, batch, generator)

    train, validation = (torch.randint(256, (n, 784), dtype=torch.uint8) for n in (50_000, 2_000))
    preprocessing = [*pf.data.pixel_units("logit"), pf.transforms.Standardize(784)]
    flow = pf.recipes.realnvp(784, num_layers=2, hidden_features=(64,), preprocessing=preprocessing)
    history = pf.fit(
        flow,
        train,
        validation=validation,
        loss=loss,
        dequantize=256,
        num_steps=4,
        out=folder,
        resume=True,
        progress=False,
    )
    return history.steps, sum(calls)


def main(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)  # which imports much that the child then need not import
    child = os.fork()
    if child == 0:
        try:
            train(folder, die_at=3)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    steps, own_steps = train(folder)
    print(status, max(megabytes(), int((folder / MEMORY).read_text())), steps, own_steps)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
