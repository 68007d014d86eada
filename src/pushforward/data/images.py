"""Images of one's own as rows of integers: a folder of PNG and JPEG files, or an NPZ file."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pushforward.display import shapes
from pushforward.errors import InputError, require_choice, require_count, require_path
from pushforward.transforms import Logit, Scale, Transform

SUFFIXES, GREY = (".png", ".jpg", ".jpeg"), ("1", "L")  # grey: pillow's modes of one channel, 2 and 256 levels


class Images(NamedTuple):
    """Images as `images` reads them.

    Attributes:
        x: (n, C * H * W), uint8, channel by channel and row by row: the order of `shape`.
        labels: (n,), int64, or None without labels.
        names: What the labels 0, 1, ... stand for: the sub-folders in alphabetical order; empty for an NPZ file.
        shape: (C, H, W), C = 1 for grey and 3 for red, green and blue.
    """

    x: Tensor
    labels: Tensor | None
    names: tuple[str, ...]
    shape: tuple[int, int, int]

    def __repr__(self) -> str:
        return shapes(self)


def images(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    array: str | None = None,
) -> Images:
    """Read images into rows of integers from 0 to 255, for `fit` and `metrics.nll` with `dequantize=256`.

    A folder holds PNG and JPEG files, or sub-folders of them, whose names are then the labels; other files and hidden
    ones are passed over. Files are taken in alphabetical order and turned upright where they say how.

    An NPZ file holds one array of uint8, (n, H, W), (n, H, W, C) or (n, C, H, W), and, if there are labels, one array
    of n integers.

    Args:
        path: The folder or the .npz file.
        size: (height, width), or one number for both: each image is reduced or enlarged (Lanczos) until it covers that
            size, and cropped around its centre. By default the images must be of one size.
        channels: 1 turns all to grey, 3 to colour. By default grey if every file is stored as grey.
        array: The array of images, where an NPZ file holds several.

    Raises:
        InputError: If there are no images, a file is no image or has transparent or 16-bit pixels, sizes are mixed, or
            the arrays do not fit: names the file, the rule and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/noise.npz", x=np.zeros((5, 8, 8), np.uint8), y=np.arange(5))
        ...     noise = images(f"{folder}/noise.npz")
        >>> noise.x.shape, noise.shape, noise.labels
        (torch.Size([5, 64]), (1, 8, 8), tensor([0, 1, 2, 3, 4]))
    """
    path = require_path("path", path)
    target = _target(size)
    channels = None if channels is None else require_count("channels", channels)
    if channels not in (None, 1, 3):
        raise InputError(f"channels must be 1 (grey), 3 (colour) or None; got {channels!r}.")
    if not path.exists():
        raise InputError(f"{path}: there is no such folder or file (check the name)")
    if path.is_dir():
        if array is not None:
            raise InputError(f"{path}: array= names an array of an NPZ file, and this is a folder (leave it out)")
        return _from_folder(path, target, channels)
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: is neither a folder nor an .npz file (name the folder that the images are in)")
    return _from_npz(path, target, channels, array)


def pixel_units(name: str) -> list[Transform]:
    """Return the preprocessing that brings dequantized pixels k + u, in [0, 256), to units in use.

    - "1/256": (k + u) / 256, in [0, 1): a level is 1/256 wide.
    - "1/255": (k + u) / 255 = x + u / 255 for pixels x = k / 255, as torchvision gives them: in [0, 256/255), a level
      is 1/255 wide. An NLL counted in these units is D ln(256/255) nats above one in units of 1/256, 3.07 for MNIST:
      that difference is one of units alone, and bits/dim do not show it.
    - "logit": logit(1e-6 + (1 - 2e-6) (k + u) / 256), where MNIST is often scored (MAF, arXiv:1705.07057, app. D).

    As `preprocessing` of a flow they decide what the flow sees, and log_prob stays in levels. As `units` of
    `metrics.nll` they decide in which units nats are counted.

    Args:
        name: "1/256", "1/255" or "logit".

    Raises:
        InputError: If there are no such units.

    Example:
        >>> pixel_units("logit")
        [Scale(factor=0.00390625), Logit()]
    """
    units: dict[str, list[Transform]] = {
        "1/256": [Scale(1 / 256)],
        "1/255": [Scale(1 / 255)],
        "logit": [Scale(1 / 256), Logit(1e-6)],
    }
    return units[require_choice("name", name, units)]


def pillow(purpose: str) -> ModuleType:
    """Return `PIL.Image`, or raise InputError that says what needs it and how to install it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(f'{purpose} needs pillow: pip install "pushforward[studies]"') from error
    return Image


def _target(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the size as (height, width)."""
    if size is None:
        return None
    if isinstance(size, (tuple, list)) and len(size) == 2:
        return require_count("height in size", size[0]), require_count("width in size", size[1])
    side = require_count("size, a number of pixels or (height, width),", size)
    return side, side


# ---- folders -------------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, target: tuple[int, int] | None, channels: int | None) -> Images:
    named: list[tuple[Path, int]] = []
    names: list[str] = []
    loose = [path for path in _listed(folder) if path.is_file() and _is_image(path)]
    for child in (path for path in _listed(folder) if path.is_dir()):
        found = sorted(_images_below(child))
        if found:
            named += [(path, len(names)) for path in found]
            names.append(child.name)
    if loose and named:
        raise InputError(
            f"{folder}: holds images ({loose[0].name}) beside sub-folders of images ({names[0]}): without a label for"
            " each image (put all into sub-folders, or none)"
        )
    paths = loose or [path for path, _ in named]
    if not paths:
        raise InputError(f"{folder}: holds no images (files of {', '.join(SUFFIXES)}, in it or in sub-folders)")
    opened = [_opened(path) for path in paths]
    x, shape = _stacked(opened, [str(path) for path in paths], target, channels)
    return Images(x, torch.tensor([label for _, label in named]) if named else None, tuple(names), shape)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror} (check the folder's permissions)") from error


def _images_below(folder: Path) -> Iterator[Path]:
    for path in _listed(folder):
        if path.is_dir():
            yield from _images_below(path)
        elif _is_image(path):
            yield path


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _opened(path: Path) -> Any:
    """Return a file as a pillow image, grey or of three channels."""
    image = pillow("reading images")
    from PIL import ImageOps

    try:
        with image.open(path) as file:
            deep = any(";16B" in str(part[3]) for part in file.tile)  # of colours pillow keeps 8 bits and says nothing
            file.load()
            upright = ImageOps.exif_transpose(file)
    except image.DecompressionBombError as error:
        raise InputError(f"{path}: has too many pixels (reduce it first)") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (check the file's permissions)") from error
    except Exception as error:  # a damaged file shows in all kinds of errors
        raise InputError(f"{path}: is no image, damaged or cut short (remove it or write it again)") from error
    if deep or upright.mode.startswith(("I", "F")):
        raise InputError(f"{path}: has pixels of more than 8 bits (save it with 8 bits a channel)")
    if upright.has_transparency_data:
        if np.asarray(upright.convert("RGBA"))[..., 3].min() < 255:
            raise InputError(f"{path}: has transparent pixels (lay it on a background of one colour)")
        return upright.convert("L" if upright.mode == "LA" else "RGB")
    return upright.convert("L" if upright.mode in GREY else "RGB")


# ---- NPZ -----------------------------------------------------------------------------------------------------------


def _from_npz(path: Path, target: tuple[int, int] | None, channels: int | None, array: str | None) -> Images:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (check the file's permissions)") from error
    except Exception as error:  # a damaged archive shows in all kinds of errors
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: is damaged, cut short or holds Python objects: {reason} (write it again)") from error
    pixels = _pixels(arrays, array, path)
    num_images, height, width, depth = pixels.shape
    shape = (depth, height, width)
    if (target is None or target == (height, width)) and channels in (None, depth):
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(num_images, -1))
    else:
        image = pillow("resizing images or changing their channels")
        made = [image.fromarray(one[..., 0] if depth == 1 else one) for one in np.ascontiguousarray(pixels)]
        x, shape = _stacked(made, [f"{path}, image {n}" for n in range(num_images)], target, channels)
    return Images(x, _labels(arrays, num_images, path), (), shape)


def _pixels(arrays: dict[str, np.ndarray], array: str | None, path: Path) -> np.ndarray:
    """Return the images among the arrays, (n, H, W, C)."""
    found = "; ".join(f'"{name}" {value.shape} {value.dtype}' for name, value in list(arrays.items())[:10])
    rule = "images are an array of uint8, (n, H, W), (n, H, W, C) or (n, C, H, W) with C = 1 or 3"
    if array is not None and array not in arrays:
        raise InputError(f'{path}: has no array "{array}"; it holds {found}')
    fitting = [name for name, value in arrays.items() if _channels_last(value) is not None]
    if array is None and len(fitting) > 1:
        raise InputError(f'{path}: several arrays hold images: {found} (name one, as array="{fitting[0]}")')
    name = array if array is not None else fitting[0] if fitting else None
    pixels = None if name is None else _channels_last(arrays[name])
    if pixels is None:
        raise InputError(f"{path}: holds {found or 'no arrays'}; {rule} (save levels 0 to 255, x.astype(np.uint8))")
    return pixels


def _channels_last(value: np.ndarray) -> np.ndarray | None:
    """Return images as (n, H, W, C), or None if these are none."""
    if value.dtype != np.uint8 or 0 in value.shape:
        return None
    if value.ndim == 3:
        return value[..., None]
    if value.ndim == 4 and value.shape[3] in (1, 3):
        return value
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 and value.shape[1] in (1, 3) else None


def _labels(arrays: dict[str, np.ndarray], num_images: int, path: Path) -> Tensor | None:
    """Return the one array of as many integers as there are images; refuse labels that are no integers."""
    fitting = [
        name
        for name, value in arrays.items()
        if value.dtype.kind in "iu" and value.shape in ((num_images,), (num_images, 1))
    ]
    if len(fitting) > 1:
        raise InputError(f"{path}: both {fitting[0]} and {fitting[1]} could be the labels (leave one out)")
    if fitting:
        return torch.from_numpy(arrays[fitting[0]].reshape(-1).astype(np.int64))
    for name, value in arrays.items():  # one-hot, names, floats
        if value.ndim in (1, 2) and len(value) == num_images:
            raise InputError(
                f'{path}: "{name}" {value.shape} {value.dtype} has a row for each image, but labels are {num_images}'
                " integers (save them so, or leave it out)"
            )
    return None


# ---- both ----------------------------------------------------------------------------------------------------------


def _stacked(
    opened: list[Any], sources: list[str], target: tuple[int, int] | None, channels: int | None
) -> tuple[Tensor, tuple[int, int, int]]:
    """Return pillow images of mode L or RGB as rows, (n, C * H * W), and their (C, H, W)."""
    from PIL import Image, ImageOps

    mode = {1: "L", 3: "RGB"}[channels or (1 if all(image.mode == "L" for image in opened) else 3)]
    height, width = target or (opened[0].height, opened[0].width)
    pieces = []
    for image, source in zip(opened, sources, strict=True):
        if target is not None:
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        elif (image.height, image.width) != (height, width):
            raise InputError(
                f"{source}: is {image.height} x {image.width} pixels (height x width), {sources[0]} is {height} x"
                f" {width}: images must be of one size (give size= to bring them to one)"
            )
        pieces.append(np.asarray(image.convert(mode)).reshape(height, width, -1).transpose(2, 0, 1))
    x = torch.from_numpy(np.stack(pieces))
    return x.flatten(1), (len(x[0]), height, width)
