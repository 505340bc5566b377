"""The machine and the versions that a figure was measured with."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("logitpipe", "numpy", "numba", "numcodecs", "scikit-learn", "scipy", "torch", "torchmetrics", "zarr")


def machine_facts() -> dict[str, str]:
    """Return processor, cores, memory, system, versions and the date, as text by name."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    return facts | {name: found for name in PACKAGES if (found := _version(name))}


def _field(file: str, name: str) -> str:
    """Return the first value of a field of a file in /proc; nothing where there is no such file."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
