"""How the kernels are compiled, and where their code is kept between runs.

`entry` is for what Python calls, `kernel` for what other kernels call, `inlined` for the few lines inside of a loop.
Only entries are kept on disk: the code of all that they call is a part of theirs.
"""

import functools
import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.cache.writing.bytelock import TakenError, lock_bytes

Array = np.ndarray
Function = Callable[..., Any]

OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
"""Kernels run without the interpreter lock; multiply and add may fuse."""

kernel: Callable[[Function], Function] = numba.extending.register_jitable(**OPTIONS)
"""Compiled as a part of what calls it."""

inlined: Callable[[Function], Function] = numba.njit(**OPTIONS, inline="always")
"""Written into the loop that calls it, so that the loop can become vector code."""

UNUSED_DAYS = 90
"""After so many days the code of other sources, or of another processor, is removed. No run has used it since."""

PATIENCE = 60.0
"""Seconds that a process waits for the code that another one compiles, which may have been stopped meanwhile."""

_CODE = re.compile(r"[0-9a-f]{16}(\.\d+)?")
"""Name of a folder of compiled code: a digest, and the process that was removing it when it was stopped."""

_SETTINGS = vars(numba.config)
_decorating = threading.Lock()


def entry(function: Function) -> Function:
    """Compile a function at its first call with arguments of some types, unless an earlier run has left its code.

    Kept code is a convenience: what cannot be read is compiled anew, and where it cannot be written nothing is kept.

    Raises
    ------
    PipeError
        When the function is called and numba's compiler is switched off.
    """
    folder, trouble = _folder()
    compiled = _kept(function, folder) if folder else numba.njit(**OPTIONS)(function)
    ready: set[object] = set()

    @functools.wraps(function)
    def call(*arguments: object) -> object:
        """Run the function, once its code is there: what has begun to count is never begun again."""
        if (kinds := _kind(arguments)) not in ready:
            _make(compiled, tuple(map(numba.typeof, arguments)), folder, trouble)
            ready.add(kinds)
        return compiled(*arguments)

    return _refuse if _SETTINGS["DISABLE_JIT"] else call


def _kind(value: object) -> object:
    """Return what the code for a value depends on, much faster than numba finds its type."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim, value.flags.num
    return (type(value), *map(_kind, value)) if isinstance(value, tuple) else type(value)


def _make(compiled: Any, types: tuple[object, ...], folder: Path | None, trouble: str) -> None:  # noqa: ANN401
    """Load or compile the code for arguments of some types."""
    if folder is None:
        _warn(trouble)
        return
    # Each round removes one trouble: kept code that cannot be read, or a folder that cannot be written. What still
    # fails after both is raised by the last call.
    for _ in ("damaged", "full"):
        try:
            with _turn(folder, compiled.__name__):
                compiled.compile(types)
            return
        except OSError as error:  # numba has compiled the function before it fails to keep it
            _warn(_trouble(folder, error))
        except Exception:  # what half a file raises is anybody's guess
            shutil.rmtree(folder, ignore_errors=True)
    compiled.compile(types)


@contextmanager
def _turn(folder: Path, function: str) -> Iterator[None]:
    """Wait while another process compiles a function: it leaves the code here, and to load that takes no time.

    Work is saved by it and nothing depends on it: where files cannot be locked, each process compiles its own.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context((folder / f"{function}.lock").open("wb"))
            limit = time.monotonic() + PATIENCE
            while _taken(file.fileno()) and time.monotonic() < limit:
                time.sleep(0.02)
        yield


def _taken(descriptor: int) -> bool:
    """Lock a file, and return whether another process has it."""
    try:
        lock_bytes(descriptor, range(1))
    except TakenError:
        return True
    return False


def _refuse(*_arguments: object) -> None:
    raise PipeError(
        "scores are computed by compiled code, and the variable NUMBA_DISABLE_JIT has switched numba's compiler off; "
        "unset it"
    )


def _kept(function: Function, folder: Path) -> Function:
    """Return a function whose compiled code lies in a folder.

    numba reads its setting CACHE_DIR where a function is decorated, and has no argument for it. It is put back at
    once: whoever else uses numba in this process keeps their folder.
    """
    with _decorating:
        before, _SETTINGS["CACHE_DIR"] = _SETTINGS["CACHE_DIR"], str(folder)
        try:
            return numba.njit(**OPTIONS, cache=True)(function)
        finally:
            _SETTINGS["CACHE_DIR"] = before


@functools.cache
def _folder() -> tuple[Path | None, str]:
    """Return the folder for the code of these very sources on this kind of processor, or None and why there is none.

    numba keeps compiled code until the file of a function changes; it does not see that something which the function
    calls has changed in another file. And of two processors that share a home, each needs an index of its own: numba
    locks none, and one would find the other's code under its own name.
    """
    digest = hashlib.sha256(f"{numba.__version__} {processor()}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    folder: Path | None = None
    try:
        folder = _cache_home() / "logitpipe" / digest.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        # A folder that exists may still be full or read-only; only writing to it tells.
        with tempfile.TemporaryFile(dir=folder):
            os.utime(folder)  # its time says when a run has used it last
            _remove_unused(folder)
            return folder, ""
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        return None, _trouble(folder, error)


def _remove_unused(mine: Path) -> None:
    """Remove folders of compiled code beside one, as far as no run has used them for UNUSED_DAYS.

    A folder is renamed before it is removed. A run that begins to use it in this moment finds none of it or all of
    it; what it does not find it compiles, as it does with what is damaged.
    """
    limit = time.time() - UNUSED_DAYS * 24 * 60 * 60
    for other in list(mine.parent.iterdir()):
        try:
            if other != mine and _CODE.fullmatch(other.name) and other.stat().st_mtime < limit:
                shutil.rmtree(other.rename(other.with_name(f"{other.name[:16]}.{os.getpid()}")))
        except OSError:  # another process removes it too, or it is not ours to remove
            continue


def processor() -> str:
    """Return the name and the features of the processor that numba compiles for."""
    name = _SETTINGS["CPU_NAME"] or llvmlite.binding.get_host_cpu_name()
    features = _SETTINGS["CPU_FEATURES"]
    return f"{name} {llvmlite.binding.get_host_cpu_features().flatten() if features is None else features}"


def _cache_home() -> Path:
    """Return the folder that numba was given for compiled code, or the user's folder for what can be made again."""
    if chosen := _SETTINGS["CACHE_DIR"] or os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def _trouble(folder: Path | None, error: Exception) -> str:
    place = f"in {folder}" if folder else "anywhere"
    reason = getattr(error, "strerror", None) or error
    return (
        f"the compiled kernels cannot be kept {place} ({reason}), so that each run compiles them anew; "
        "NUMBA_CACHE_DIR may name a folder that can be written"
    )


@functools.cache
def _warn(trouble: str) -> None:
    """Say something once. Where nobody has set up logging, it writes the bare line to stderr."""
    logging.getLogger("logitpipe").warning(trouble)
