"""Other libraries' models of tables, each fitted and sampled in a process of an environment of their own."""

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pushforward.studies.kit import Record, file_name
from pushforward.studies.tables.row_models import Drawn

if TYPE_CHECKING:
    import polars as pl

PYTHON = "PUSHFORWARD_TABLE_PEERS"  # names the environment's Python
USUAL = Path(".venv-table-peers", "bin", "python")  # `make table-peers`
SCRIPT = Path(__file__).with_name("peer_script.py")
PEERS: dict[str, dict[str, Any]] = {"arfpy": {}, "GaussianCopula": {}, "CTGAN": {}}  # name -> settings; none: their own
MOST_SECONDS = 300  # of one peer on one table: five times what ours is given
THREADS = "2"


class Peer(NamedTuple):
    """What became of a peer: samples, or why there are none."""

    drawn: Drawn | None
    versions: dict[str, str]
    failure: str = ""

    @property
    def version(self) -> str:
        """The first package's, which is the model's own."""
        return next(iter(self.versions.values()), "")


def environment() -> Path | None:
    """Return the Python that has the peers, if there is one."""
    python = Path(os.environ.get(PYTHON, USUAL))
    return python if python.exists() else None


def draw(record: Record, table: str, rows: "pl.DataFrame", num_rows: int) -> dict[str, Peer]:
    """Fit every peer to the rows and draw as many as are asked for, with the record's seed; none in short forms."""
    python = environment()
    if python is None or record.quick or record.minutes:
        return {}
    folder = record.out / "peers"
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / f"{table}.parquet")
    found = {}
    for name, settings in PEERS.items():
        found[name] = _one(python, name, folder, table, num_rows, record.seed, settings)
        record.say(f"  {table}, {name}: {found[name].failure or 'drawn'}")
    return found


def _one(python: Path, name: str, folder: Path, table: str, num_rows: int, seed: int, settings: dict[str, Any]) -> Peer:
    import polars as pl

    samples = folder / f"{table}-{file_name(name)}.parquet"
    call = [python, "-I", SCRIPT, name, folder / f"{table}.parquet", samples]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), THREADS)
    try:
        done = subprocess.run(
            [*map(str, call), str(num_rows), str(seed), json.dumps(settings)],
            env=os.environ | threads, capture_output=True, text=True, timeout=MOST_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Peer(None, {}, f"it did not end within {MOST_SECONDS} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Peer(None, {}, lines[-1] if lines else f"it ended with status {done.returncode}")
    took = json.loads(done.stdout.splitlines()[-1])
    return Peer(Drawn(pl.read_parquet(samples), took["fit_seconds"], took["sample_seconds"]), took["versions"])
