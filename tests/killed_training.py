"""Run by test_training_resume.py: fits in children that are killed at random moments, until one finishes.

Prints how many were killed, how many of those had left a checkpoint, and whether the weights are an unbroken run's.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from pushforward.training import checkpoint, fit, run_folder

run_folder.SAVE_SECONDS, run_folder.SAVE_SHARE = 0.0, 1.0  # a checkpoint at almost every step
MOST_KILLS = 6


class Regression(nn.Module):
    """A conditional normal density with dropout."""

    context_features = 1

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def log_prob(self, x, context):
        return -0.5 * ((x - self.net(context)) ** 2).sum(-1)


def train(folder):
    # Where there is a checkpoint, the weights handed over must not matter.
    torch.manual_seed(1 if (folder / checkpoint.NAME).exists() else 0)
    model = Regression()
    x = torch.arange(200).reshape(100, 2) % 17
    options = {"num_steps": 200, "batch_size": 16, "dequantize": 17, "progress": False}
    fit(model, x, x[:, :1], out=folder, resume=True, **options)
    numbers = torch.cat([value.detach().flatten() for value in model.parameters()])
    (folder / "weights").write_bytes(numbers.numpy().tobytes())


def start(folder):
    folder.mkdir(exist_ok=True)
    process = os.fork()
    if process == 0:
        try:
            train(folder)
        finally:
            os._exit(0)
    return process


def main(parent):
    broken, unbroken, warm = (parent / name for name in ("broken", "unbroken", "warm"))
    warm.mkdir()
    train(warm)  # what is imported on first use, the children need not import again
    os.waitpid(start(unbroken), 0)
    chance = random.Random(0)
    killed = saved = 0
    while not (broken / "weights").exists() and killed < MOST_KILLS:
        process = start(broken)
        time.sleep(chance.uniform(0, 0.4))
        if os.waitpid(process, os.WNOHANG)[0] == 0:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            killed += 1
            saved += (broken / checkpoint.NAME).exists()
    if not (broken / "weights").exists():
        os.waitpid(start(broken), 0)
    same = (broken / "weights").read_bytes() == (unbroken / "weights").read_bytes()
    print(killed, saved, same)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
