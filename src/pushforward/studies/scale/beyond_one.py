"""Beyond one memory and one process: what rows, ranks and faults cost, and what follows for eight machines."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from pushforward.studies.kit import Record
from pushforward.studies.scale.cost import Cost, epoch
from pushforward.studies.scale.faults import Fault, Faults, table
from pushforward.studies.scale.growth import READ, Growth, Measuring
from pushforward.studies.scale.processes import processes
from pushforward.studies.scale.ranks import measure

TITLE = "Beyond one memory and one process: what do rows, ranks and faults cost?"
SOURCE = "this library's promise for tables longer than memory (docs/scale.md)"
BILLION, MACHINES, BATCH = 1_000_000_000, 8, 65_536
NETWORK = 1.25e9  # bytes a second: 10 Gbit, assumed


def run(record: Record) -> None:
    """Measure growth, ranks and faults."""
    with tempfile.TemporaryDirectory(dir=record.out, prefix="scratch-") as folder:
        with processes(Path(folder), fresh=not record.quick) as started:
            measuring = Measuring(record, started)
            growth = measuring.all_sizes()
            measuring.streamed_against_memory()
            cost = measure(record, started)
            _eight_machines(record, growth, cost)
            _faults(record, Faults(record, started, measuring.model))


def _eight_machines(record: Record, growth: Growth, cost: Cost) -> None:
    """Add what the fitted cost says of a table and machines that are not here."""
    record.heading("A billion rows on eight machines, by arithmetic")
    rows_read = growth.rate[READ][-1]
    assert rows_read is not None
    found = {
        model: epoch(
            cost, model, rows=BILLION, columns=20, machines=MACHINES, batch=BATCH, rows_read=rows_read, network=NETWORK
        )
        for model in cost.parameters
    }
    record.number("eight_machines", {"rows_read": rows_read, "network": NETWORK, "batch": BATCH, **found})
    one = next(iter(found.values()))
    record.text(
        f"{BILLION:,} rows of 20 float64 are {one.bytes / 1e9:,.0f} GB. Each machine reads all of them, "
        f"{rows_read:,.0f} rows a second as measured here ({one.reading / 60:,.0f} minutes), and trains on its eighth "
        f"of each batch of {BATCH:,} rows, one thread each, {one.steps:,} steps. To the fitted cost comes the sum over "
        f"a network of {8 * NETWORK / 1e9:.0f} Gbit/s, which is assumed, not measured: 2 x 7/8 x 4 bytes a parameter. "
        "Reading and training go on side by side; the longer of both is the pass."
    )
    record.table(
        "One pass.",
        [
            "model, parameters", "a step, ms", "of it the network's sum, ms", "bytes a sum", "training, h",
            "reading, h", "a pass, h",
        ],
        [
            [
                f"{model}, {cost.parameters[model]:,}", 1e3 * one.step, 1e3 * one.sum, round(one.summed_bytes),
                one.steps * one.step / 3600, one.reading / 3600, one.hours,
            ]
            for model, one in found.items()
        ],
    )  # fmt: skip


def _faults(record: Record, faults: Faults) -> None:
    record.heading("Faults")
    kinds: list[Callable[[], Fault | None]] = [
        faults.trainer_killed, faults.rank_killed, faults.disk_full_in_training, faults.row_group_damaged_in_training,
        faults.shard_killed, faults.disk_full, faults.row_group_damaged, faults.file_cut_off, faults.file_changed,
        faults.worker_killed,
    ]  # fmt: skip
    found = []
    for kind in kinds:
        if (fault := kind()) is not None:
            found.append(fault)
            record.say(f"  {fault.name}: {'as it should be' if fault.good else 'NOT as it should be'}")
    without_ray = "No worker of Ray was killed: it is not installed here (the extra `scale` brings it)."
    if record.quick:
        without_ray = "The short form starts no Ray."
    table(record, found, [] if len(found) == len(kinds) else [without_ray])
    wrong = [fault.name for fault in found if not fault.good]
    said = "Of each fault one line was said or none was needed, nothing whole was lost, and the result is the same."
    record.answer("Is anything lost?", f"Not as it should be: {'; '.join(wrong)}." if wrong else said)
