"""Where the model lies in the folder of a fit."""

import os
from contextlib import suppress
from pathlib import Path

from pushforward.errors import InputError

MODEL = "model.safetensors"
QUESTIONS = "questions"  # the folder of their training, in that of the joint's


def model_in(path: str | os.PathLike[str]) -> Path:
    """Return the path of a model file, given itself or the folder of a fit; InputError if the folder holds none."""
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / MODEL).exists():
        raise InputError(f"{path}: holds no {MODEL} (name a model file, or the folder of a finished fit)")
    return path / MODEL


def remove_model(folder: str | os.PathLike[str]) -> None:
    """Take away the model of an earlier fit, or a run that is interrupted would seem to have made it.

    Nor would that run find the way on, once it comes to the questions, in the checkpoint of other ones.
    """
    for file in (Path(folder) / MODEL, Path(folder) / QUESTIONS / "checkpoint.safetensors"):
        with suppress(OSError):  # most often there is none; a folder that cannot be written to is refused by `fit`
            file.unlink()
