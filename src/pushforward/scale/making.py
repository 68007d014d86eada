"""Parts made piece by piece, by this process, by one shard of several, or by the workers of a Ray cluster."""

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pushforward.errors import InputError
from pushforward.scale.on_ray import made_on_ray
from pushforward.scale.parts import Parts
from pushforward.scale.rate import Rate

ALONE = (1, 1)


class Made(NamedTuple):
    """What became of a piece whose part is written.

    Attributes:
        rows: Rows read, or drawn.
        told: What is to be said of them in the end, small and plain.
    """

    rows: int
    told: list[Any]


class Maker(Protocol):
    """Writes the part of a piece. It is sent to other processes, and brings there all that it needs."""

    def __call__(self, number: int, count: Callable[[int], None] = ...) -> Made:
        """Write a part, whole or not at all; `count` hears of its rows as they come."""


@dataclass
class Done:
    """What a run over pieces has done.

    Attributes:
        rows: Rows read in this run.
        kept: Pieces that were there from an earlier run.
        missing: Pieces that are not there yet: other shards'.
        told: What is to be said of the rows, of each batch.
    """

    rows: int = 0
    kept: int = 0
    missing: int = 0
    told: list[Any] = field(default_factory=list)

    @property
    def in_words(self) -> str:
        """What is to be said of other runs' pieces; "" where there are none."""
        kept = f"; {self.kept:,} pieces were there already, which these figures leave out" if self.kept else ""
        return kept + (f"; {self.missing:,} pieces are other shards', and not there yet" if self.missing else "")


def shard_of(text: str) -> tuple[int, int]:
    """Return which shard of how many "2/4" is, (2, 4); (1, 1) for no text.

    Raises:
        InputError: If it is no such text.
    """
    if not text:
        return ALONE
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text}: is no shard (give 1/4, 2/4, 3/4 and 4/4 to four processes)")
    return int(found[1]), int(found[2])


def check_shared(parts: Parts, shard: tuple[int, int], *, ray: str, overwrite: bool) -> None:
    """Raise InputError unless a shard's parts may go where they are to go."""
    if shard == ALONE:
        return
    if ray:
        raise InputError("--ray shares all pieces among its workers (leave --shard out)")
    if not parts.is_folder:
        raise InputError(f"{parts.out}: is one file, where shards write one for each piece (name a folder with --out)")
    if overwrite:
        raise InputError("--overwrite would remove other shards' parts (remove the folder, then start all shards)")


def make_parts(parts: Parts, weights: Sequence[int], make: Maker, *, shard: tuple[int, int], ray: str) -> Done:
    """Make all parts that are not there yet, or a shard's; the file of them where all are there.

    Shard i of n takes every n-th piece from the i-th on; a part is the same whoever makes it.

    Args:
        parts: Where they go.
        weights: Of each piece, how much of the work it is.
        make: Makes one.
        shard: Which of how many.
        ray: Address of a Ray cluster whose workers make them, or "local"; "" for this process.

    Raises:
        InputError: If a piece cannot be read, or there is no Ray.
        RunError: If a part cannot be written, or the cluster is lost. What is done stays.
    """
    own = range(shard[0] - 1, len(weights), shard[1])
    left = [number for number in own if not parts.path(number).exists()]
    done, rate = Done(kept=len(own) - len(left)), Rate(sum(weights[number] for number in left))

    def made_here() -> Generator[tuple[int, Made], None, None]:
        for number in left:
            yield number, make(number, rate.count)

    with closing(made_on_ray(make, left, ray, rate) if ray and left else made_here()) as results:
        for number, made in results:
            done.rows += made.rows
            done.told += made.told
            rate.passed(weights[number])
    rate.close()
    done.missing = sum(not parts.path(number).exists() for number in range(len(weights)))
    if not parts.is_folder:
        parts.join(range(len(weights)))
    elif not done.missing:
        parts.remove_left_overs()
    return done
