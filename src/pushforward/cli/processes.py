"""The processes that torchrun has started for one command: they train together, and the first alone speaks."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed as group

from pushforward.errors import InputError, RunError
from pushforward.training.ranks import Ranks

PATIENCE = timedelta(minutes=10)  # with one that does not answer
NOTE_SECONDS = 2.0  # for which others may still have the same to say


@contextmanager
def processes(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun has started (RANK, WORLD_SIZE, ...), and part from them in the end.

    What goes wrong for several is said by the first that comes to say it; the others end silently, with the same code.

    Args:
        device: Where to train: "auto", "cpu" or "cuda".

    Yields:
        The processes, and this one's device: of its machine's GPUs each has one.

    Raises:
        InputError: If there are more of them than GPUs.
        RunError: If they do not find one another, or one of them has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        yield Ranks(), device
        return
    store, ranks = None, Ranks()
    try:
        store, device = _join(device)
        ranks = Ranks.here()
        yield ranks, device
    except KeyboardInterrupt:
        if ranks.is_first:
            raise
        raise SystemExit(130) from None
    except (InputError, RunError) as error:
        if store is None or _is_first_to_say(str(error), store, ranks):
            raise
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    finally:
        part()


def part() -> None:
    """Leave the other processes, where there are such: from here on each works alone."""
    if group.is_available() and group.is_initialized():
        group.destroy_process_group()


def _join(device: str) -> tuple[group.Store, str]:
    """Make this process one of the group; return what they leave notes in, and this one's device."""
    place, on_cuda = int(os.environ.get("LOCAL_RANK", "0")), device != "cpu" and torch.cuda.is_available()
    if on_cuda:
        if place >= torch.cuda.device_count():
            raise InputError(
                f"process {place} of this machine has no GPU, there are {torch.cuda.device_count()}: start one process "
                "a GPU (--nproc-per-node), or train with --device cpu"
            )
        torch.cuda.set_device(place)
        device = f"cuda:{place}"
    try:
        store, rank, size = next(group.rendezvous("env://", timeout=PATIENCE))
        backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
        group.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the processes of this run did not find one another: {str(error).splitlines()[0]}") from error
    return store, device


def _is_first_to_say(text: str, store: group.Store, ranks: Ranks) -> bool:
    """Whether no other process has said the same; also where the notes cannot be read any more."""
    note = f"said {hashlib.sha256(text.encode()).hexdigest()}"
    try:
        is_first = store.add(note, 1) == 1
        until = time.monotonic() + NOTE_SECONDS
        while ranks.is_first and store.add(note, 0) < ranks.size and time.monotonic() < until:
            time.sleep(0.02)  # the notes may end with this process
    except RuntimeError:
        return True
    return is_first
