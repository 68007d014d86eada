"""What processes leave in their folders: reports and checkpoints of trainings, parts of scorings."""

from pathlib import Path


def reports(folder: Path) -> int:
    """Return how many reports a training has written."""
    file = folder / "history.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def parts(folder: Path) -> list[str]:
    """Return the names of whole parts."""
    return sorted(file.name for file in folder.glob("part-*.parquet"))


def half_written(folder: Path) -> list[str]:
    """Return the names of temporary files that were left."""
    return [file.name for file in folder.glob(".*.tmp")]


def is_trained(folder: Path, num_steps: int) -> bool:
    """Return whether a training has taken all its steps and saved them."""
    history, checkpoint = folder / "history.jsonl", folder / "checkpoint.safetensors"
    if not reports(folder):
        return False
    last = history.read_text().splitlines()[-1]
    return f'"step": {num_steps},' in last and checkpoint.stat().st_mtime_ns > history.stat().st_mtime_ns


def same_weights(one: Path, other: Path) -> bool:
    """Return whether the checkpoints of two folders hold the same weights."""
    from safetensors import safe_open

    files = [folder / "checkpoint.safetensors" for folder in (one, other)]
    with safe_open(files[0], "pt") as first, safe_open(files[1], "pt") as second:
        names = [name for name in first.keys() if "/weights/" in name]  # noqa: SIM118  a file is no mapping
        return bool(names) and all(bool((first.get_tensor(name) == second.get_tensor(name)).all()) for name in names)
