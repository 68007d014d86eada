"""Pieces made by the workers of a Ray cluster, or of a Ray that runs on this machine while they are made."""

import logging
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from io import StringIO
from typing import TYPE_CHECKING, Any

from pushforward.errors import InputError, RunError
from pushforward.scale.rate import Rate
from pushforward.training.interrupt import Flag, signals_caught

if TYPE_CHECKING:
    from pushforward.scale.making import Made, Maker

LOCAL = "local"
AGAIN = 3  # times that a piece is given out again whose worker died
SECONDS = 5  # in which a cluster answers, and tasks end that are called off
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or it warns of what it will do one day
}
HOW = "ray status says whether it runs; set RAY_AUTH_MODE=token if it wants its token"
STORE = 80 * 2**20  # bytes of Ray's own memory here, about its least: no rows go through it


def made_on_ray(
    make: "Maker", numbers: Sequence[int], address: str, rate: Rate
) -> "Generator[tuple[int, Made], None, None]":
    """Yield the pieces as workers have made them, in any order.

    A piece is one task. Ray Data is not used: rows stay out of Ray, since a worker reads its piece and writes its part.

    Args:
        make: Makes one; sent to the workers, which share the files with this process under the same names.
        numbers: Of the pieces.
        address: Of the cluster; or "local".
        rate: Hears of the rows.

    Raises:
        InputError: If Ray is not installed, or `make` raises one.
        RunError: If no cluster answers, a worker dies several times over one piece, or `make` raises one.
        KeyboardInterrupt: After Ctrl-C or SIGTERM.
    """
    flag = Flag()  # an exception that a signal raises inside of Ray may get lost there
    with _connected(address) as ray, signals_caught(flag):
        task = ray.remote(_made).options(num_cpus=1, max_retries=AGAIN)
        sent = ray.put(ray.cloudpickle.dumps(make))
        waiting = {task.remote(sent, os.getcwd(), number): number for number in numbers}
        try:
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0.2)
                if flag.name is not None:
                    raise KeyboardInterrupt
                for one in finished:
                    made = _result(ray, one)
                    rate.count(made.rows)
                    yield waiting.pop(one), made
        finally:
            if waiting:
                for one in waiting:
                    ray.cancel(one)
                ray.wait(list(waiting), num_returns=len(waiting), timeout=SECONDS)


def _made(sent: bytes, folder: str, number: int) -> "Made":
    """Make a piece in a worker, in the folder that names of files start from."""
    os.chdir(folder)
    return _maker(sent)(number)


@lru_cache(maxsize=1)
def _maker(sent: bytes) -> "Maker":
    """Return what makes pieces, its model read once in each worker."""
    import ray

    return ray.cloudpickle.loads(sent)


def _result(ray: Any, task: Any) -> "Made":
    """Return what a task made, or raise what it raised, without Ray's account of it."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise RunError(f"Ray lost a piece {AGAIN + 1} times: {_first_line(error)} (out of memory?)") from error


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Join a cluster, or start one here with a worker a core; leave it, or stop it, in the end."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise InputError('--ray needs Ray (pip install "pushforward[scale]")') from error
    here: dict[str, Any] = {}
    if address == LOCAL:
        here = {"include_dashboard": False, "object_store_memory": STORE}
    else:
        _check_reachable(address)
    try:
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **here)
        except Exception as error:  # Ray raises anything
            raise RunError(f"--ray {address}: {_first_line(error)} ({HOW})") from error
        with redirect_stdout(StringIO()):  # where Ray prints of workers that died
            yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise RunError unless something listens at host:port: Ray itself would wait for it for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        if address != "auto":
            raise InputError(f"--ray {address}: is no address (give local, auto, or HOST:PORT as ray start prints it)")
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"--ray {address}: nobody answers: {error} (ray start --head starts a cluster)") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
