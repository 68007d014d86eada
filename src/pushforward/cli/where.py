"""Options that the commands share whose results may be made piece by piece: where they go, and who makes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Flag = Annotated[bool, Parameter(show_default=False)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a result goes, and who makes it.

    Args:
        out: File to write (by default scores.csv, samples.csv, ...), or a folder.
        shard: 2/4 for the second of four processes that share a folder.
        ray: Address of a Ray cluster to do it; local starts one here.
        overwrite: Replace the file to write.
    """

    out: Path | None = None
    shard: Annotated[str, Parameter(show_default=False)] = ""
    ray: Annotated[str, Parameter(show_default=False)] = ""
    overwrite: Flag = False


HERE = Where()
