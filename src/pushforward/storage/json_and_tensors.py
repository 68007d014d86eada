"""JSON and tensors in one .safetensors file, under a digest: written whole or not at all, read without running code."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.storage.atomic_files import replacing

MAX_HEADER = 16 * 2**20  # bytes
MAX_DEPTH = 32  # objects and lists inside one another


@dataclass(frozen=True)
class FileKind:
    """What a container is for, and what messages say of it.

    Attributes:
        key: Under which the safetensors metadata hold the document.
        format_version: Of what is written; larger ones are refused.
        name: What messages call such a file.
        copy_again: The remedy where one is damaged.
        right_file: The remedy where a file is none.
    """

    key: str
    format_version: int
    name: str
    copy_again: str
    right_file: str


# The digest is that of the file with these zeros in its place: it covers every byte.
_NO_DIGEST = "0" * 64
# A string without an end goes on to the end of the text.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def write(path: Path, document: Mapping[str, Any], tensors: Mapping[str, Tensor], kind: FileKind) -> None:
    """Write a file that `read` reads; the same content gives the same bytes.

    Raises:
        ValueError: If the document is not JSON, or its text is too long or too deep to be read again.
        InputError: If the folder cannot be written to.
        RunError: If writing fails, on a full disk for example; nothing is left behind.
    """
    from safetensors.torch import save  # here, because a flow is fitted without it

    # The digest comes first, so that no other text can be taken for it.
    document = {"digest": _NO_DIGEST, "format_version": kind.format_version, **document}
    try:
        text = json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a {kind.name} holds JSON values, numbers finite: {error}.") from error
    depth = _depth(text.encode())
    if depth > MAX_DEPTH:
        raise ValueError(f"a {kind.name} nests at most {MAX_DEPTH} levels deep; got {depth}.")
    # A copy of each: safetensors refuses tensors that share memory.
    copies = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    data = save(copies, {kind.key: text})
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise ValueError(f"the text of a {kind.name} may take {MAX_HEADER} bytes; got {length}: keep less of it.")
    with replacing(path) as file:
        place = data.index(_NO_DIGEST.encode())
        file.write(data[:place] + _digest(data, _NO_DIGEST).encode())
        file.write(memoryview(data)[place + len(_NO_DIGEST) :])


def read(path: Path, kind: FileKind) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the document and the tensors of a file.

    Raises:
        InputError: If the file cannot be read, is damaged, from a newer version, or not one that `write` wrote.
    """
    from safetensors.torch import load

    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a {kind.name} (name a file in it)")
    try:
        with path.open("rb") as file:
            head, size = file.read(8), os.fstat(file.fileno()).st_size
            length = _header_length(head, size, path, kind)
            header = file.read(length)
            document = _document(header, path, kind)
            data = head + header + file.read(size - 8 - length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror} (check the path)") from error
    digest = document.pop("digest", None)
    if not isinstance(digest, str) or _digest(data, digest) != digest:
        raise InputError(f"{path}: is damaged: its digest is not that of its content ({kind.copy_again})")
    try:
        with torch.device("cpu"):  # where safetensors makes what has no elements, whatever the default
            tensors = load(data)
    except Exception as error:  # whatever the library makes of wrong offsets under a right digest
        raise InputError(f"{path}: its table of tensors is wrong: {error} ({kind.copy_again})") from error
    # Copied to where torch aligns its memory: products of matrices that lie otherwise may be rounded otherwise.
    return document, {name: tensor.clone() for name, tensor in tensors.items()}


def _header_length(head: bytes, size: int, path: Path, kind: FileKind) -> int:
    """Return the length of the header, which the first 8 bytes hold."""
    length = int.from_bytes(head, "little")
    if not size:
        raise InputError(f"{path}: the file is empty ({kind.copy_again})")
    if head.startswith((b"PK\3\4", b"\x80")) and (length > MAX_HEADER or len(head) < 8):
        raise InputError(
            f"{path}: looks like a pickle or a file of torch.save; these can run code and are never opened "
            f"({kind.right_file})"
        )
    if len(head) == 8 and length > MAX_HEADER:
        raise InputError(
            f"{path}: is no {kind.name}, or damaged: its header claims {length} bytes, {MAX_HEADER} are allowed "
            f"({kind.right_file})"
        )
    if size < 8 + length:
        raise InputError(
            f"{path}: is truncated: it has {size} bytes, its header ends at {8 + length} ({kind.copy_again})"
        )
    return length


def _document(header: bytes, path: Path, kind: FileKind) -> dict[str, Any]:
    """Return the JSON under the key `pushforward` of a header."""
    metadata = _parse(header, path, kind).get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(kind.key), str):
        raise InputError(f'{path}: is a safetensors file without "{kind.key}" in its metadata ({kind.right_file})')
    document = _parse(metadata[kind.key].encode(errors="surrogatepass"), path, kind)
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise InputError(
            f"{path}: its format_version is {version!r:.80}, not a number of at least 1 ({kind.copy_again})"
        )
    if version > kind.format_version:
        raise InputError(
            f"{path}: has format {version}; this version of pushforward reads formats up to {kind.format_version} "
            "(upgrade pushforward)"
        )
    return document


def _parse(text: bytes, path: Path, kind: FileKind) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        if _depth(text) > MAX_DEPTH:  # asked first, because the parser recurses
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        parsed = json.loads(text.decode())
        if not isinstance(parsed, dict):
            raise ValueError("it is no JSON object")
    except ValueError as error:
        raise InputError(
            f"{path}: is damaged or no {kind.name}: its header: {error!s:.200} ({kind.copy_again})"
        ) from error
    return parsed


def _depth(text: bytes) -> int:
    """Return how many objects and lists of a JSON text stand inside one another."""
    letters = np.frombuffer(_STRING.sub(b"", text), np.uint8)
    steps = np.isin(letters, list(b"[{")).astype(np.int8) - np.isin(letters, list(b"]}"))
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


def _digest(data: bytes, digest: str) -> str:
    """Return the SHA-256 of a file, with zeros where its digest stands."""
    stands = digest.encode(errors="replace")
    place, view = data.find(stands), memoryview(data)  # a copy of a checkpoint may take gigabytes
    hashed = hashlib.sha256(view[:place])
    hashed.update(_NO_DIGEST.encode())
    hashed.update(view[place + len(stands) :])
    return hashed.hexdigest()
