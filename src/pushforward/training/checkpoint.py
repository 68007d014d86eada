"""Checkpoints: a run's whole state in one file, and the refusal of one that belongs to another run."""

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from pushforward.errors import InputError
from pushforward.storage import json_and_tensors

NAME = "checkpoint.safetensors"
DELETE = "delete it to start afresh"
KIND = json_and_tensors.FileKind(
    key="pushforward checkpoint", format_version=1, name="checkpoint", copy_again=DELETE, right_file=DELETE
)


def write_checkpoint(folder: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a tree of dicts and lists with tensors and plain values as leaves, and which run it belongs to."""
    tensors: dict[str, Tensor] = {}
    document = {"run": identity, "state": _take_tensors(state, "state", tensors)}
    json_and_tensors.write(folder / NAME, document, tensors, KIND)


def read_checkpoint(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the tree that was written last, its tensors on the CPU, or None where there is none.

    What a killed write has left over is removed.

    Raises:
        InputError: If the file is not a whole checkpoint, or belongs to another run.
    """
    for leftover in folder.glob(f".{NAME}.*.tmp"):
        leftover.unlink(missing_ok=True)
    path = folder / NAME
    if not path.exists():
        return None
    document, tensors = json_and_tensors.read(path, KIND)
    _check_same_run(path, document["run"], identity)
    return _give_tensors(document["state"], tensors)


def _check_same_run(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise InputError that names what differs between the checkpoint's run and this one."""
    now = json.loads(json.dumps(now))  # as it comes back from a file: tuples are lists
    differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if differing:
        changes = "; ".join(f"{name} was {_short(then.get(name))}, is {_short(now.get(name))}" for name in differing)
        raise InputError(f"{path}: belongs to another run: {changes}. Give what was given then, or use another folder.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _take_tensors(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a tree to `tensors`, each under its path; return what is left as JSON values."""
    if isinstance(node, Tensor):
        tensors[path] = node
        return {"tensor": path}
    if isinstance(node, float) and not math.isfinite(node):  # JSON has none of these
        return {"float": str(node)}
    if isinstance(node, dict):
        return {name: _take_tensors(value, f"{path}/{name}", tensors) for name, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_take_tensors(value, f"{path}/{place}", tensors) for place, value in enumerate(node)]
    return node


def _give_tensors(node: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the tree whose tensors were taken."""
    if isinstance(node, dict):
        if node.keys() == {"tensor"}:
            return tensors[node["tensor"]]
        if node.keys() == {"float"}:
            return float(node["float"])
        return {name: _give_tensors(value, tensors) for name, value in node.items()}
    return [_give_tensors(value, tensors) for value in node] if isinstance(node, list) else node
