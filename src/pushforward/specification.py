"""How an object says, in plain values, how it was built: what a model file stores instead of code."""

import inspect
from typing import Any

import torch
from torch import nn


def plain(value: Any) -> Any:
    """Turn a constructor argument into JSON values; a tensor becomes its sizes, since its content is in the file."""
    if hasattr(value, "specification"):
        return value.specification()
    if isinstance(value, torch.Tensor):
        return {"type": "Tensor", "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, (list, tuple, nn.ModuleList)):
        return [plain(item) for item in value]
    return value


class Specified:
    """Gives a class `specification()`, from the rule that a constructor's arguments are kept under their own names.

    The specification is a tree `{"type": NAME, argument: value, ...}` of plain values and nested specifications.
    Tensors appear as `{"type": "Tensor", "shape": ..., "dtype": ...}`: the model file holds their content under the
    module's own names, so on loading a constructor is handed tensors on the meta device and must not read them.
    """

    def specification(self) -> dict[str, Any]:
        """Return the type's name and its constructor's arguments as plain values."""
        arguments = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {"type": type(self).__name__, **{name: plain(getattr(self, name)) for name in arguments}}
