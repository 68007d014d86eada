"""A flow on disk: one .safetensors file of plain tensors and JSON, which runs no code when it is loaded."""

import hashlib
import inspect
import json
import math
import os
import platform
import re
import threading
import types as python_types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pushforward import __version__, bases, nets, transforms
from pushforward.errors import InputError
from pushforward.flow import Flow
from pushforward.tables.files import replacing

FORMAT_VERSION = 1
KEY = "pushforward"
MAX_HEADER = 16 * 2**20  # bytes
MAX_DEPTH = 32  # objects and lists inside one another
MAX_NODES = 10_000  # values in a specification
MAX_INTEGER = 2**31 - 1

# The only types that a file can name, besides those the caller of `load` brings along.
TYPES: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        Flow,
        bases.Box,
        bases.DiagonalNormal,
        bases.FromTorch,
        bases.GaussianMixture,
        bases.StandardNormal,
        nets.MLP,
        nets.MaskedMLP,
        nets.ResidualMLP,
        transforms.ActNorm,
        transforms.Additive,
        transforms.Affine,
        transforms.Asinh,
        transforms.Autoregressive,
        transforms.Compose,
        transforms.Coupling,
        transforms.Elementwise,
        transforms.Inverse,
        transforms.LULinear,
        transforms.Logit,
        transforms.Orthogonal,
        transforms.Permutation,
        transforms.RationalQuadratic,
        transforms.Scale,
        transforms.Shift,
        transforms.Standardize,
    )
}
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )
}  # fmt: skip
# The digest is that of the file with these in its place, so that it covers every byte of the file.
_NO_DIGEST = "0" * 64
# A whole string (an unfinished one reaches to the end), or a bracket.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def save(
    flow: Flow,
    path: str | os.PathLike[str],
    *,
    schema: Mapping[str, Any] | None = None,
    seed: int | None = None,
    plan: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Write a flow to one file, whole or not at all; the same flow gives the same bytes.

    Kept are every parameter and buffer with its dtype, how the flow is built, and what is given here as JSON values, for
    `read_metadata`. Not kept: the device, `requires_grad`, and that a module used in two places is one module.

    Args:
        flow: The flow, on any device.
        path: The file, by custom `*.safetensors`; one that exists is replaced.
        schema: The columns of the data, such as `Schema.to_dict()`.
        seed: The seed of the training.
        plan: What training was to do.
        summary: How training went.

    Raises:
        ValueError: If `flow` is not a Flow, or what is to be kept beside it is not JSON or too large.
        InputError: If a part of the flow cannot be saved: its place is named; or if the folder cannot be written to.
        RunError: If writing fails, on a full disk for example; nothing is left behind.

    Example:
        >>> import pushforward as pf, tempfile
        >>> flow = pf.recipes.realnvp(2, num_layers=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pf.save(flow, f"{folder}/model.safetensors", seed=3)
        ...     again = pf.load(f"{folder}/model.safetensors")
        >>> torch.equal(again.log_prob(torch.ones(2)), flow.log_prob(torch.ones(2)))
        True
    """
    if not isinstance(flow, Flow):
        raise ValueError(f"save takes a Flow; got {type(flow).__name__}.")
    document = {
        "digest": _NO_DIGEST,  # first, so that it is the first of its kind in the file
        "format_version": FORMAT_VERSION,
        "flow": flow.specification(),
        "schema": schema,
        "seed": seed,
        "versions": {"pushforward": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "plan": plan,
        "summary": summary,
    }
    _check_specification(document["flow"], flow)
    for name in ("schema", "seed", "plan", "summary"):
        for place, value in _nodes(document[name], name):
            if not _is_json(value):
                raise ValueError(f"{place} must be a JSON value (finite, with text keys); got {value!r:.80}.")
    text = json.dumps(document, allow_nan=False)
    if _depth(text) > MAX_DEPTH:
        raise ValueError(f"a model file nests at most {MAX_DEPTH} levels deep; this one would have {_depth(text)}.")
    tensors = {
        # a copy each, since safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in flow.state_dict().items()
    }
    data = safetensors.torch.save(tensors, {KEY: text})
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise ValueError(f"the names, plan and summary of a model file may take {MAX_HEADER} bytes; shorten them.")
    with replacing(Path(path)) as file:
        file.write(data.replace(_NO_DIGEST.encode(), _digest(data, _NO_DIGEST).encode(), 1))


def load(path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None) -> Flow:
    """Return the flow that `save` wrote, on the CPU, in eval() mode and with the dtypes it had.

    No code from the file is run, and no pickle is ever opened.

    Args:
        path: The file.
        types: Classes of your own by the name that their `specification()` gives as "type". Each is called with the other
            values of the specification (its classmethod `from_specification` is, if it has one), inside
            `torch.device("meta")`: its tensors are sizes only, and get their content afterwards.

    Raises:
        ValueError: If `types` gives a built-in name another meaning.
        InputError: If the file cannot be read, is damaged, or is not a model that this version knows.
    """
    types = types or {}
    for name in types:
        if name in TYPES or name == "Tensor":
            raise ValueError(f"types may not give {name!r} another meaning; rename your class.")
    document, data = _read(Path(path))
    flow = _build_flow(document["flow"], {**TYPES, **types}, data, path)
    return flow.eval()


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says about the model: specification (`flow`), schema, seed, versions, plan, summary.

    Raises:
        InputError: If the file cannot be read, is damaged, or is from a newer version.
    """
    document, _ = _read(Path(path))
    return {name: value for name, value in document.items() if name != "digest"}


# ---- the file --------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the JSON under the file's key `pushforward` and the whole file, its digest checked."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a model file (name a file in it)")
    try:
        with path.open("rb") as file:
            head, size = file.read(8), os.fstat(file.fileno()).st_size
            length = int.from_bytes(head, "little")
            _check_head(head, length, size, path)
            header = file.read(length)
            document = _document(header, path)
            data = head + header + file.read(size - 8 - length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror} (check the path)") from error
    digest = document.get("digest")
    if not isinstance(digest, str) or len(digest) != 64 or _digest(data, digest) != digest:
        raise InputError(f"{path}: is damaged: its digest does not match its contents ({_COPY})")
    return document, data


_COPY = "copy the file again from where it came"


def _check_head(head: bytes, length: int, size: int, path: Path) -> None:
    """Raise InputError unless the first 8 bytes can be the length of a header."""
    if not size:
        raise InputError(f"{path}: the file is empty ({_COPY})")
    if head.startswith((b"PK\3\4", b"\x80")):
        raise InputError(
            f"{path}: looks like a pickle or a file of torch.save, which can run code when opened: it was not opened "
            "(save the flow with pushforward.save)"
        )
    if len(head) == 8 and length > MAX_HEADER:
        raise InputError(
            f"{path}: is not a model file or is damaged: its header claims {length} bytes, at most {MAX_HEADER} are "
            "allowed (give a file written by pushforward.save)"
        )
    if size < 8 + length or len(head) < 8:
        raise InputError(f"{path}: is truncated: it has {size} bytes, its header alone takes {8 + length} ({_COPY})")


def _document(header: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON under the key `pushforward` of a header."""
    metadata = _parse(header, path).get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise InputError(
            f'{path}: is a safetensors file without "{KEY}" in its metadata (give a file written by pushforward.save)'
        )
    document = _parse(metadata[KEY].encode(errors="surrogatepass"), path)
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise InputError(f"{path}: format_version is {version!r:.80}, not a number of at least 1 ({_COPY})")
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path}: has format {version}, this version of pushforward reads up to {FORMAT_VERSION} "
            "(upgrade pushforward)"
        )
    return document


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    """Return a JSON object, or raise InputError."""
    try:
        decoded = text.decode()
        # before the parser sees it, which recurses
        if _depth(decoded) > MAX_DEPTH:
            raise InputError(f"{path}: is nested deeper than {MAX_DEPTH} levels (no model file is)")
        parsed = json.loads(decoded, parse_constant=_refuse_constant)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: its header is damaged: {str(error):.200} ({_COPY})") from error
    if not isinstance(parsed, dict):
        raise InputError(f"{path}: its header is damaged: it holds no JSON object ({_COPY})")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _depth(text: str) -> int:
    """Return how many objects and lists stand inside one another."""
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        bracket = token.group()
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _digest(data: bytes, digest: str) -> str:
    """Return the SHA-256 of a file with zeros in the place of its digest."""
    return hashlib.sha256(data.replace(digest.encode(errors="replace"), _NO_DIGEST.encode(), 1)).hexdigest()


# ---- the specification -----------------------------------------------------------------------------------------------


def _nodes(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield every value of a tree with its place, "transform.transforms[2]"."""
    yield place, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _nodes(item, f"{place}.{key}" if place else f"{key}")
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from _nodes(item, f"{place}[{position}]")


def _is_json(value: Any) -> bool:
    """Whether a value, apart from what it contains, is a JSON value."""
    if isinstance(value, dict):
        return all(type(key) is str for key in value)
    return value is None or type(value) in (bool, int, str, list, tuple) or (type(value) is float and math.isfinite(value))


def _check_specification(specification: Any, flow: Flow) -> None:
    """Raise InputError naming the place of the first part that could not be loaded again."""
    for count, (place, value) in enumerate(_nodes(specification, "")):
        owner = _part(flow, place)
        if isinstance(value, dict) and _is_json(value) and isinstance(value.get("type"), str):
            known = TYPES.get(value["type"], type(owner))
            if owner is not None and type(owner) is not known:
                raise InputError(
                    f"{place} is a {type(owner).__qualname__} of {type(owner).__module__} that calls itself "
                    f"{value['type']!r}, the name of a part of pushforward (rename the class)"
                )
        elif isinstance(value, dict) or not _is_json(value):
            raise InputError(
                f"{place} is a {type(value).__name__}, which cannot be saved: give its class a method specification() "
                f'that returns {{"type": "{type(value).__name__}", ...}} with the plain values (finite numbers, text, lists) '
                "and specifications of its constructor's arguments"
            )
        if count >= MAX_NODES:
            raise InputError(f"the flow's specification has more than {MAX_NODES} values, too many for a model file")
    lost = {name for name, _ in flow.named_buffers()} - flow.state_dict().keys()
    if lost:
        raise InputError(f"{min(lost)} is a buffer that would be lost (register it with persistent=True)")
