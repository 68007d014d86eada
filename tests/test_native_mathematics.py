"""The C kernels' own exp, log and tanh against numpy in extended precision, and how the library is built and cached."""

import ctypes
import logging
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pushforward.kernels.native import building

PROGRAM = """
#include "activations.h"
#define MAP(name, function) \\
    void name(const real *x, long n, real *y) { \\
        for (long i = 0; i < n; i += LANES) *(loose *)(y + i) = function(*(const loose *)(x + i)); \\
    }
MAP(exp_, exponential)
MAP(exp_below_, exponential_below)
MAP(log_, logarithm)
MAP(log1p_, logarithm_1p)
MAP(tanh_, hyperbolic_tangent)
MAP(softplus_, softplus)
MAP(normal_share_, normal_share)
"""
SIMD = [("-march=native",), ("-mavx2", "-mfma"), ("-msse2",)] if sys.platform == "linux" else [("-march=native",)]
COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


@pytest.fixture(scope="module", params=[(flags, dtype) for flags in SIMD for dtype in (np.float32, np.float64)])
def functions(request, tmp_path_factory):
    flags, dtype = request.param
    folder = tmp_path_factory.mktemp("c")
    (folder / "maps.c").write_text(PROGRAM)
    defines = ["-DREAL_DOUBLE"] if dtype == np.float64 else []
    made = folder / "maps.so"
    command = [COMPILER, *building.FLAGS, *flags, *defines, "-I", building.HERE, folder / "maps.c", "-o", made, "-lm"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{COMPILER} does not know {flags}")
    library = ctypes.CDLL(str(made))

    def call(name, x):
        x = np.resize(np.asarray(x, dtype), -(-np.size(x) // 16) * 16)
        y = np.empty_like(x)
        getattr(library, f"{name}_")(
            x.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(x.size), y.ctypes.data_as(ctypes.c_void_p)
        )
        return x, y

    return call, dtype


RANGES = {
    "exp": (lambda x: np.exp(x), (-80, 80), 2),
    "exp_below": (lambda x: np.exp(x), (-87, 0), 2),
    "log": (lambda x: np.log(x), (1e-6, 1e6), 2),
    "log1p": (lambda x: np.log1p(x), (0, 1), 3),
    "tanh": (lambda x: np.tanh(x), (-12, 12), 3),
    "softplus": (lambda x: np.logaddexp(x, 0), (-20, 20), 4),
}


@pytest.mark.parametrize("name", RANGES)
def test_the_error_in_units_of_the_last_place_is_as_stated(functions, name):
    call, dtype = functions
    exact, (low, high), most = RANGES[name]
    generator = np.random.default_rng(0)
    points = generator.uniform(low, high, 100_000)
    if name in ("log", "log1p"):
        points = np.concatenate([points, np.exp(generator.uniform(-15, 0, 100_000))])
    x, y = call(name, points)
    true = exact(x.astype(np.longdouble))
    error = np.abs(y - true) / np.spacing(np.abs(true).astype(dtype))
    assert error.max() <= most


def test_the_normals_share_is_right_to_the_last_place_of_one(functions):
    call, dtype = functions
    x, y = call("normal_share", np.linspace(-12, 12, 100_000))
    true = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(float)])
    assert np.abs(y - true).max() <= 2 * np.spacing(dtype(1))
    x, y = call("normal_share", [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30])
    np.testing.assert_array_equal(y[:7], [np.nan, 1, 0, 0.5, 0.5, 1, 0])


def test_ends_of_the_range(functions):
    call, dtype = functions
    inf, nan = np.inf, np.nan
    assert call("exp", [inf, -inf, 1e4, -1e4, 0.0, -0.0])[1][:6].tolist() == [inf, 0, inf, 0, 1, 1]
    assert call("exp_below", [-inf, -1e4, 0.0, -0.0])[1][:4].tolist() == [0, 0, 1, 1]
    assert call("tanh", [inf, -inf, 1e30, -1e30, 0.0])[1][:5].tolist() == [1, -1, 1, -1, 0]
    assert np.signbit(call("tanh", [-0.0])[1][0])
    assert all(np.isnan(call(name, [nan])[1][0]) for name in ("exp", "exp_below", "tanh", "softplus"))
    assert call("softplus", [1e4, -1e4])[1][:2].tolist() == [1e4, 0]
    assert dtype in (np.float32, np.float64)


ALL_SOURCES, ONE_SOURCE = building.SOURCES, building.HERE / "spline.c"  # all of them take seconds to compile


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No library is compiled, and one is to be of a single source."""
    monkeypatch.setattr(building, "SOURCES", [ONE_SOURCE])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(building.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path


def test_a_library_is_compiled_once_and_found_again(empty_cache, monkeypatch):
    path = building.library()
    assert path.parent == empty_cache / "cache" / "pushforward"
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing half-written beside it
    monkeypatch.setattr(building, "VARIANTS", building.VARIANTS)
    monkeypatch.setattr(building.tempfile, "TemporaryDirectory", None)  # compiling would fail now
    assert building.library() == path
    assert building._fingerprint(COMPILER, ()) != building._fingerprint(COMPILER, ("-DX",))


def test_a_cache_that_cannot_be_written_gives_way_to_a_temporary_folder(empty_cache):
    (empty_cache / "cache").write_text("a file where the folder should be")
    assert building.library().parent.parent == empty_cache / "temporary"


@pytest.mark.skipif(not hasattr(building.os, "getuid"), reason="folders have no owner here")
def test_a_library_where_others_can_write_is_not_run(empty_cache, monkeypatch):
    (empty_cache / "cache").write_text("a file where the folder should be")
    path = building.library()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o777)
    with pytest.raises(building.NoKernel, match="no folder takes"):
        building.library()
    path.parent.chmod(0o700)
    other = path.stat().st_uid + 1
    monkeypatch.setattr(building.os, "getuid", lambda: other)
    monkeypatch.setattr(building, "_folders", lambda: [path.parent])
    with pytest.raises(building.NoKernel, match="no folder takes"):
        building.library()


def test_two_processes_at_once_compile_one_library(empty_cache):
    program = "from pushforward.kernels.native import building; building.SOURCES = building.SOURCES[1:2]; "
    program += "print(building.library())"
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(paths) == 1
    assert [str(file) for file in (empty_cache / "cache" / "pushforward").iterdir()] == list(paths)


@pytest.mark.parametrize(
    ("compiler", "reason"), [("#!/bin/sh\necho no such thing >&2\nexit 1\n", "no such thing"), (None, "no C compiler")]
)
def test_without_a_working_compiler_one_line_is_said_and_torch_runs(empty_cache, monkeypatch, caplog, compiler, reason):
    from pushforward.kernels.native import library

    if compiler is None:
        monkeypatch.setattr(building.shutil, "which", lambda name: None)
    else:
        (empty_cache / "cc").write_text(compiler)
        (empty_cache / "cc").chmod(0o755)
        monkeypatch.setenv("CC", str(empty_cache / "cc"))
    import torch

    with caplog.at_level(logging.WARNING, "pushforward"):
        assert library.compiled.__wrapped__(torch.float32) is None
        assert library.compiled.__wrapped__(torch.float64) is None
    assert len(caplog.records) == 1
    assert "without its C kernels" in caplog.text
    assert reason in caplog.text


def test_a_compiler_without_openmp_or_its_own_processor_still_serves(empty_cache, monkeypatch):
    refusing = 'for flag in "$@"; do case "$flag" in -fopenmp|-march=native) exit 1;; esac; done'
    (empty_cache / "cc").write_text(f'#!/bin/sh\n{refusing}\nexec {COMPILER} "$@"\n')
    (empty_cache / "cc").chmod(0o755)
    monkeypatch.setenv("CC", str(empty_cache / "cc"))
    monkeypatch.setattr(building, "SOURCES", ALL_SOURCES)
    assert ctypes.CDLL(str(building.library())).runs_parallel() == 0
