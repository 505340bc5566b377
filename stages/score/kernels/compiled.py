"""How the kernels are compiled, and where the compiled code is kept between runs."""

import hashlib
import os
import sys
from pathlib import Path

import numba
import numpy as np

Array = np.ndarray


def _cache_folder() -> Path:
    """Return a folder of the user's cache that belongs to exactly these sources.

    numba keeps compiled code until the file of a kernel changes; it does not see that a function which the kernel
    calls has changed in another file. A folder named by the digest of all files of this package does.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    homes = {"win32": os.environ.get("LOCALAPPDATA", "~/AppData/Local"), "darwin": "~/Library/Caches"}
    home = os.environ.get("XDG_CACHE_HOME") or homes.get(sys.platform, "~/.cache")
    return Path(home).expanduser() / "logitpipe" / digest.hexdigest()[:16]


if not os.environ.get("NUMBA_CACHE_DIR"):
    vars(numba.config)["CACHE_DIR"] = str(_cache_folder())

kernel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
"""Compiled once and kept on disk; runs without the interpreter lock; multiply and add may fuse."""

inlined = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, inline="always")
"""The same, for what is called inside a pixel loop."""
