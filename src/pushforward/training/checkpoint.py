"""Checkpoints: a run's whole state in one safetensors file, replaced as a whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from pushforward.errors import InputError
from pushforward.storage.whole_files import replacing

NAME = "checkpoint.safetensors"
KEY = "pushforward"


def open_folder(out: str | os.PathLike[str]) -> Path:
    """Make the folder if needed and return it.

    Raises:
        InputError: If it cannot be made or written to.
    """
    folder = Path(out)
    probe = folder / f".{NAME}.{os.getpid()}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written to ({error.strerror}): choose another folder with out=."
        ) from error
    return folder


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a tree of dicts with tensors and plain values as leaves."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    plain = _take_tensors(state, [], tensors)
    with replacing(folder / NAME) as file:
        file.write(save(tensors, {KEY: json.dumps(plain)}))


def read_checkpoint(folder: Path, digest: dict[str, Any]) -> dict[str, Any] | None:
    """Return the tree that was written last, its tensors on the CPU, or None where there is none.

    What a killed write has left over is removed. `digest` is compared with the tree's own.

    Raises:
        InputError: If the file is not a checkpoint, or belongs to another run.
    """
    from safetensors import SafetensorError, safe_open

    for leftover in folder.glob(f".{NAME}.*.tmp"):
        leftover.unlink(missing_ok=True)
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = json.loads((file.metadata() or {})[KEY])
            for name in file.keys():  # noqa: SIM118
                *parents, leaf = json.loads(name)
                node = state
                for parent in parents:
                    node = node[parent]
                node[leaf] = file.get_tensor(name)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a whole checkpoint ({error}): delete it to start afresh.") from error
    _check_digest(path, state["digest"], digest)
    return state


def _check_digest(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise InputError that names what differs between the checkpoint's run and this one."""
    differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if differing:
        changes = "; ".join(f"{name} was {_short(then.get(name))}, is {_short(now.get(name))}" for name in differing)
        raise InputError(f"{path}: belongs to another run: {changes}. Give what was given then, or use another folder.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _take_tensors(node: Any, path: list[str], tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a tree to `tensors`, named by their path as a JSON list; return the rest."""
    if not isinstance(node, dict):
        return node
    plain = {}
    for name, value in node.items():
        if isinstance(value, Tensor):
            tensors[json.dumps([*path, name])] = value.detach().clone().contiguous()  # the two snapshots may be one
        else:
            plain[name] = _take_tensors(value, [*path, name], tensors)
    return plain
