"""Number of cores that this process may use; a container or a batch job may have fewer than the machine."""

import os
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path, PurePosixPath

from logitpipe.stages.ranks import rank, ranks_on_node


def available_cores(system: Path = Path("/")) -> int:
    """Return how many cores this process may use, at least 1.

    The least of what the machine has, what the process is bound to, and what its control groups of Linux grant
    (`cpu.max` of version 2, `cpu.cfs_quota_us` of version 1), a part of a core counted as one.

    Parameters
    ----------
    system : folder that holds /proc and /sys
    """
    # `os.cpu_count` counts the machine's cores, also those that this process is not allowed to run on.
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(ceil(quota) for quota in _quotas(system))]))


def cores_of_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many of the cores are this process's where several ranks of one run share a machine, at least 1."""
    cores, told = available_cores(), environment.get("SLURM_CPUS_PER_TASK", "")
    if rank(environment) and told.isdecimal():
        return max(1, min(cores, int(told)))
    # torchrun binds nobody to cores: each rank sees all of the machine.
    return max(1, cores // ranks_on_node(environment))


def _quotas(system: Path) -> Iterator[float]:
    """Yield the cores that each control group above this process grants."""
    for line in _lines(system / "proc/self/cgroup"):
        # A line is ID:CONTROLLERS:PATH; version 2 leaves CONTROLLERS empty.
        _, controllers, group = line.split(":", 2)
        mounts = system / "sys/fs/cgroup"
        if not controllers:
            folders = [mounts, mounts / "unified"]
        elif "cpu" in controllers.split(","):
            folders = [mounts / "cpu", mounts / controllers]
        else:
            continue
        # A container may see its own group as the root of the mount: every level counts, where it is to be seen.
        levels = [PurePosixPath(group), *PurePosixPath(group).parents]
        for folder in (each / str(level).lstrip("/") for each in folders for level in levels):
            yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """Yield the cores that one group grants; nothing where it sets no limit."""
    words = _lines(folder / "cpu.max") or [
        *_lines(folder / "cpu.cfs_quota_us"),
        *_lines(folder / "cpu.cfs_period_us"),
    ]
    numbers = [float(word) for line in words for word in line.split() if word.lstrip("-").isdigit()]
    if len(numbers) == 2 and min(numbers) > 0:  # version 2 says "max", version 1 says -1, for no limit
        yield numbers[0] / numbers[1]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
