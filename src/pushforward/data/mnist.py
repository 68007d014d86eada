"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, from a folder, the cache or a mirror; and a tiny shipped part."""

import gzip
import hashlib
import io
import os
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pushforward.data.digits import Digits, LabelledImages
from pushforward.data.images import pillow
from pushforward.errors import InputError, RunError, require_count, require_seed
from pushforward.storage.atomic_files import replacing

FOLDER_VARIABLE = "PUSHFORWARD_DATA"
SIDE = 28
FILES = {  # sha256 of the unpacked bytes
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
TIMEOUT = 20  # seconds until a mirror is given up that does not answer
SAMPLE = "mnist_sample.npz"


def mnist(*, size: int = SIDE, validation: int = 10_000, seed: int = 0) -> Digits:
    """Return MNIST: the 60,000 training images split in two at random, and the 10,000 test images.

    The four files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
    t10k-labels-idx1-ubyte.gz are read from the folder mnist in the folder that the environment variable
    PUSHFORWARD_DATA names, packed or unpacked. A file that is not there is downloaded once and kept in the user's
    cache. The contents are checked in any case.

    A pixel is an integer from 0 (paper) to 255 (ink): give images to `fit` and `metrics.nll` with `dequantize=256`.

    Args:
        size: Pixels a side. Below 28 an image is reduced to size + 2 (Lanczos) and cropped by one pixel all round.
        validation: Number of validation images.
        seed: Seed of the split.

    Returns:
        `Digits`; in each part x is (n, size^2), uint8, row by row, and labels (n,), int64.

    Raises:
        InputError: If an option is out of range, a file in the user's folder is not MNIST's, or a package is missing.
        RunError: If a file is neither there nor to be had from any mirror.

    References:
        LeCun, Cortes & Burges (1998), The MNIST database of handwritten digits.
    """
    size, seed = _checked_size(size), require_seed(seed)
    train_images, train_labels, test_images, test_labels = (_array(_contents(name)) for name in FILES)
    validation = require_count("validation, in images,", validation, 1, len(train_images) - 1)
    order = np.asarray(torch.randperm(len(train_images), generator=torch.Generator().manual_seed(seed), device="cpu"))
    train, held = order[validation:], order[:validation]
    return Digits(
        _labelled(train_images[train], train_labels[train], size),
        _labelled(train_images[held], train_labels[held], size),
        _labelled(test_images, test_labels, size),
    )


def mnist_sample(*, size: int = SIDE) -> Digits:
    """Return 600 images of MNIST that come with the package, 400 to train on, 100 to validate and 100 to test with.

    For quick trials without the real files; too few to learn the digits from. Of each label they are the first 40 and
    the next 10 of MNIST's training images, and the first 10 of its test images, in the order of the files. MNIST is by
    Yann LeCun and Corinna Cortes, made from images of NIST, and licensed CC BY-SA 3.0, as this part of it is.

    Args:
        size: Pixels a side, as for `mnist`.

    Raises:
        InputError: If the size is out of range, or a package is missing.

    Example:
        >>> train, validation, test = mnist_sample()
        >>> train.x.shape, train.x.dtype, len(validation.x), len(test.x)
        (torch.Size([400, 784]), torch.uint8, 100, 100)
    """
    size = _checked_size(size)
    with files("pushforward.data").joinpath(SAMPLE).open("rb") as handle, np.load(handle) as arrays:
        return Digits(*(_labelled(arrays[part], arrays[f"{part}_labels"], size) for part in Digits._fields))


def _checked_size(size: int) -> int:
    size = require_count("size, in pixels,", size, 1, SIDE)
    if size < SIDE:
        pillow("reducing MNIST's images")  # before any time is lost
    return size


def _labelled(images: np.ndarray, labels: np.ndarray, size: int) -> LabelledImages:
    """Images (n, 28, 28) with labels (n,), reduced and flattened."""
    return LabelledImages(_reduced(images, size), torch.from_numpy(labels.astype(np.int64)))


def _reduced(images: np.ndarray, size: int) -> Tensor:
    """Reduce images (n, 28, 28), uint8, to (n, size^2): Lanczos to size + 2, then one pixel less on every side."""
    if size < SIDE:
        image = pillow("reducing MNIST's images")
        wide, inner = (size + 2, size + 2), (1, 1, size + 1, size + 1)
        small = [image.fromarray(x).resize(wide, image.Resampling.LANCZOS).crop(inner) for x in images]
        images = np.stack([np.asarray(x) for x in small])
    return torch.from_numpy(images.reshape(len(images), -1).copy())


def _array(contents: bytes) -> np.ndarray:
    """Read an idx file of bytes: two zeros, the type 8, the number of axes, their lengths (big-endian), the bytes."""
    num_axes = contents[3]
    shape = np.frombuffer(contents, ">u4", num_axes, offset=4)
    return np.frombuffer(contents, np.uint8, offset=4 + 4 * num_axes).reshape(shape.tolist())


def _contents(name: str) -> bytes:
    """Return the unpacked and checked contents of one of the four files."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        if not os.path.isdir(folder):
            raise InputError(f"{FOLDER_VARIABLE}: {folder} is no folder (correct the variable or unset it)")
        for path in (Path(folder, "mnist", f"{name}.gz"), Path(folder, "mnist", name)):
            if path.exists():
                return _own(path, name)
    return _cached(name)


def _own(path: Path, name: str) -> bytes:
    """Return the contents of a file of the user's."""
    try:
        return _checked(path.read_bytes(), name)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error} (check the file's permissions)") from error
    except ValueError as error:
        raise InputError(
            f"{path}: {error}, so it is not MNIST's file (remove it: it is downloaded, or get it from {MIRRORS[0]})"
        ) from error


def _cached(name: str) -> bytes:
    """Return the contents of a file in the cache, which is downloaded if it is missing or damaged."""
    try:
        import pooch
    except ImportError as error:
        raise InputError(
            f'downloading MNIST needs pooch: pip install "pushforward[studies]" (or set {FOLDER_VARIABLE} to a folder '
            f"that holds mnist/{name}.gz)"
        ) from error
    path = Path(pooch.os_cache("pushforward"), "mnist", f"{name}.gz")
    try:
        return _checked(path.read_bytes(), name)
    except (OSError, ValueError):
        packed, contents = _download(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be made: {error.strerror} (set {FOLDER_VARIABLE} to a folder with mnist/{name}.gz)"
        ) from error
    with replacing(path) as handle:
        handle.write(packed)
    return contents


def _download(name: str) -> tuple[bytes, bytes]:
    """Return one of the files, as the first mirror sends it that has it whole, and its contents."""
    import pooch
    import requests

    download = pooch.HTTPDownloader(timeout=TIMEOUT)
    failures = []
    for mirror in MIRRORS:
        received = io.BytesIO()
        try:
            download(f"{mirror}/{name}.gz", received, None)
            return received.getvalue(), _checked(received.getvalue(), name)
        except requests.Timeout:
            failures.append(f"{mirror}: no answer in {TIMEOUT} s")
        except requests.HTTPError as error:
            failures.append(f"{mirror}: {error}")
        except (requests.RequestException, OSError):
            failures.append(f"{mirror}: no connection, or lost on the way")
        except ValueError as error:
            failures.append(f"{mirror}: what it sent {error}")
    raise RunError(
        f"{name}.gz of MNIST could not be downloaded ({'; '.join(failures)}). Put {', '.join(f'{n}.gz' for n in FILES)}"
        f" into a folder named mnist and set {FOLDER_VARIABLE} to the folder around it."
    )


def _checked(contents: bytes, name: str) -> bytes:
    """Unpack if packed; raise ValueError unless the contents are those of MNIST's file."""
    if contents.startswith(b"\x1f\x8b"):
        try:
            contents = gzip.decompress(contents)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"is damaged or cut short ({error})") from error
    if hashlib.sha256(contents).hexdigest() != FILES[name]:
        raise ValueError("has another checksum")
    return contents
