"""What must be equal on two machines for equal figures: versions, sources, and the processor."""

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import logitpipe.cache
import logitpipe.stages
from logitpipe.stages.score.kernels.compiled import processor

PACKAGES = ("logitpipe", "numpy", "numba")


@cache
def environment() -> dict[str, str]:
    """Return the versions that figures depend on, by name; `sources` tells two checkouts of one version apart."""
    found = {name: version(name) for name in PACKAGES}
    # Functions travel as the bytecode of a minor version of Python.
    return found | {"python": ".".join(platform.python_version_tuple()[:2]), "sources": _sources()}


def _sources() -> str:
    digest = hashlib.sha256()
    folders = [Path(package.__path__[0]) for package in (logitpipe.cache, logitpipe.stages)]
    for folder in (folders[0], folders[1] / "score"):
        for path in sorted(folder.rglob("*.py")):
            # Names and line ends, so that Windows beside Linux is no difference.
            digest.update(path.name.encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]


def unlike(mine: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Say in which versions another machine differs; empty where it does not."""
    differing = [name for name in mine if mine[name] != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name, 'missing')} where {mine[name]} is wanted" for name in differing)


def report() -> tuple[dict[str, str], str]:
    """Return the environment and the processor of this process; asked of each worker."""
    return environment(), processor()
