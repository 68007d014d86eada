"""Model files written by hand, and what refusing one means."""

import json

import pytest

import pushforward as pf
from pushforward.errors import InputError
from pushforward.model_file import MODEL_FILE
from pushforward.model_file.format import stored
from pushforward.storage import json_and_tensors


def by_hand(flow, path, *, change=None, tensors=None):
    """Save a flow with a changed specification or changed tensors (None leaves one out), and return the bytes."""
    specification = json.loads(json.dumps(flow.specification()))
    if change is not None:
        specification = change(specification) or specification
    state = {**stored(flow), **(tensors or {})}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    json_and_tensors.write(path, {"flow": specification}, state, MODEL_FILE)
    return path.read_bytes()


def refused(path, data, message):
    """Assert that a file with these bytes ends in one InputError that names it."""
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        pf.load(path)
