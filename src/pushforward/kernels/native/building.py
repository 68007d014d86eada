"""The C sources compiled once a machine: into the user's cache, under a name that follows from all that decides."""

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("*.c"))
# No -ffast-math: it would change NaN, infinities and signed zeros.
FLAGS = ("-std=gnu11", "-O2", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
# The first that compiles: a compiler may know neither its own processor, nor such vectors, nor OpenMP.
WIDE = ("-march=native", "-mprefer-vector-width=512")  # which else are cut in halves
VARIANTS = ((*WIDE, "-fopenmp"), WIDE, ("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ())
SECONDS = 120.0  # after which a compiler is given up

log = logging.getLogger("pushforward")


class NoKernel(Exception):
    """Why there is no compiled library; the plain-torch path runs."""


def library(*defines: str) -> Path:
    """Return the library compiled from the sources beside this file, compiling it unless the cache has it.

    Args:
        defines: Further flags, such as "-DREAL_DOUBLE".

    Raises:
        NoKernel: If there is no compiler, or it fails.
    """
    compiler = next(
        (path for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name and (path := shutil.which(name))), None
    )
    if compiler is None:
        raise NoKernel("there is no C compiler (cc, gcc or clang; CC names another)")
    name = f"kernels-{_fingerprint(compiler, defines)}.so"
    for folder in _folders():
        if (folder / name).exists() and _is_ours(folder):
            return folder / name
    errors = ""
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory(prefix="pushforward-") as scratch:
            made = Path(scratch) / name
            command = [compiler, *FLAGS, *variant, *defines, *map(str, SOURCES), "-o", str(made), "-lm"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NoKernel(f"{compiler} does not run: {error}") from error
            if done.returncode == 0:
                return _put(made, name)
            errors = done.stderr.strip()
    raise NoKernel(f"{compiler} failed: {errors.splitlines()[0] if errors else 'without a message'}")


def _put(made: Path, name: str) -> Path:
    """Move a library into the first folder that takes it, whole or not at all."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours(folder):
                continue
            handle, beside = tempfile.mkstemp(dir=folder, prefix=f".{name}-")
            os.close(handle)
            shutil.copyfile(made, beside)
            os.replace(beside, folder / name)
            return folder / name
    raise NoKernel("no folder takes the compiled library: set XDG_CACHE_HOME to one that can be written")


def _folders() -> list[Path]:
    """Return where libraries may lie: the user's cache, else a temporary folder of the user's own."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return [Path(home) / "pushforward", Path(tempfile.gettempdir()) / f"pushforward-{user}"]


def _is_ours(folder: Path) -> bool:
    """Return whether a library found there is the user's own: in a temporary folder anybody may have left one."""
    found = folder.stat()
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & stat.S_IWOTH)


def _fingerprint(compiler: str, defines: tuple[str, ...]) -> str:
    """Return a digest of sources, flags, compiler and processor."""
    digest = hashlib.sha256(repr((FLAGS, VARIANTS, defines, platform.machine(), _processor())).encode())
    for path in [*SOURCES, *sorted(HERE.glob("*.h"))]:
        digest.update(path.name.encode() + path.read_bytes())
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        digest.update(subprocess.run([compiler, "--version"], capture_output=True, timeout=SECONDS).stdout)
    return digest.hexdigest()[:24]


def _processor() -> str:
    """Return what the processor can do: a cache may be shared by machines of different kinds."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()
