"""The compiled kernels as functions of Python, one library a dtype."""

import ctypes
import functools
import sys
from ctypes import c_double, c_int, c_long, c_uint64, c_void_p

import torch

from pushforward.kernels.native.building import NoKernel, library, log

MOST_HIDDEN, MOST_TENSORS, MOST_BINS = 4, 11, 64
KINDS = ("coupling", "autoregressive", "lu", "permutation", "matrix")
FAMILIES = ("additive", "affine soft", "affine tanh", "affine plain", "spline")
ACTIVATIONS = ("relu", "silu", "tanh", "gelu")


class Step(ctypes.Structure):
    """`Step` of steps.h."""

    _fields_ = [
        ("kind", c_int), ("inverted", c_int), ("family", c_int), ("num_kept", c_int), ("num_moved", c_int),
        ("num_hidden", c_int), ("hidden", c_int * MOST_HIDDEN), ("activation", c_int), ("bins", c_int),
        ("context", c_int), ("bound", c_double), ("dropout", c_double), ("order", c_void_p), ("sorted", c_void_p),
        ("tensors", c_void_p * MOST_TENSORS), ("gradients", c_long * MOST_TENSORS), ("prepared", c_long),
    ]  # fmt: skip


class Chain(ctypes.Structure):
    """`Chain` of steps.h."""

    _fields_ = [
        ("features", c_int), ("num_steps", c_int), ("context", c_int), ("num_gradients", c_long),
        ("num_prepared", c_long), ("slope_at_zero", c_double), ("steps", c_void_p),
    ]  # fmt: skip


class Training(ctypes.Structure):
    """`Training` of training.c."""

    _fields_ = [
        ("batch", c_long), ("num_rows", c_long), ("data", c_void_p), ("context", c_void_p), ("weight", c_void_p),
        ("constant", c_void_p), ("theta", c_void_p), ("mean", c_void_p), ("square", c_void_p), ("beta1", c_double),
        ("beta2", c_double), ("epsilon", c_double), ("decay", c_double), ("clip", c_double), ("decoupled", c_int),
        ("noise", c_uint64),
    ]  # fmt: skip


SIGNATURES = {
    "block_rows": ([], c_int),
    "runs_parallel": ([], c_int),
    "saved_numbers": ([c_void_p], c_long),
    "chain_map": (
        [c_void_p, c_void_p, c_void_p, c_long, c_void_p, c_void_p, c_int, c_uint64, c_void_p, c_int], None
    ),
    "chain_backward": (
        [c_void_p, c_void_p, c_long, c_void_p, c_void_p, c_int, c_uint64, c_void_p, c_void_p, c_void_p, c_int], None
    ),
    "spline_map": (
        [c_void_p, c_void_p, *[c_long] * 5, c_int, c_double, c_double, c_int, c_void_p, c_void_p, c_int], None
    ),
    "spline_gradient": (
        [
            c_void_p, c_void_p, c_void_p, c_void_p, *[c_long] * 5, c_int, c_double, c_double, c_int, c_void_p, c_void_p,
            *[c_long] * 3, c_int,
        ], None
    ),
    "train_numbers": ([c_void_p, c_long, c_int], c_long),
    "train": ([c_void_p, c_void_p, c_void_p, c_void_p, c_long, c_long, c_void_p, c_void_p, c_int], None),
}  # fmt: skip


@functools.cache
def compiled(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the compiled kernels for float32 or float64, or None, said in one line of the log, once a process."""
    if sys.platform == "win32":
        return None
    try:
        path = library(*(["-DREAL_DOUBLE"] if dtype == torch.float64 else []))
        loaded = ctypes.CDLL(str(path))
    except (NoKernel, OSError) as error:
        _say(str(error))
        return None
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, result
    return loaded


@functools.cache
def _say(reason: str) -> None:
    """Say why there are no kernels: once, not for every dtype."""
    log.warning("pushforward runs without its C kernels: %s", reason)
