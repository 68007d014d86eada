"""What a model file may hold: the container it is, the models, values and limits that writing and reading share."""

import math
from typing import Any

from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization
from pushforward.storage.safe_container import FileKind
from pushforward.vae import VAE

MODEL_FILE = FileKind(
    key="pushforward",
    format_version=1,
    name="model file",
    copy_again="copy the file again from where it came",
    right_file="give a file written by pushforward.save",
)
MAX_NODES = 10_000  # values in a specification
MAX_INTEGER = 2**31 - 1
SAVE_AGAIN = "save the flow again with pushforward.save"

MODELS = {Flow: "pf.Flow", VAE: "pf.vae.VAE", VariationalDequantization: "pf.VariationalDequantization"}
"""What a file can hold, and its public name; anything else of a model is a part of one of these."""
_MADE_OF_FLOWS = ("VAE", "VariationalDequantization")


def is_plain(value: Any) -> bool:
    """Whether a value without parts can stand in a specification."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str) or (isinstance(value, int) and abs(value) <= MAX_INTEGER)


def count_nodes(node: Any) -> int:
    """Return the number of values in a tree."""
    items = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    return 1 + sum(count_nodes(item) for item in items)


def called(specification: Any) -> str:
    """Return what messages call a model and the places in it."""
    return "model" if isinstance(specification, dict) and specification.get("type") in _MADE_OF_FLOWS else "flow"


def check_nesting(node: Any, inside: bool = False) -> None:
    """Raise InputError if a VAE is a part of another: each would share its networks twice over, without an end."""
    if isinstance(node, dict):
        if inside and node.get("type") in _MADE_OF_FLOWS:
            raise InputError(f"it holds a {node['type']} inside another model; only flows can be parts.")
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            check_nesting(item, inside=True)
