"""The cores that a process may use: what it is bound to, and what its control groups grant."""

import os

import pytest

from logitpipe.stages.cores import available_cores

BOUND = 64


@pytest.fixture(autouse=True)
def many_cores(monkeypatch):
    """Run as on a machine with 64 cores, all of which the process is bound to."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(BOUND)), raising=False)


def system(folder, groups: str, **limits: str):
    """Make a /proc and a /sys in a folder; limits are files below /sys/fs/cgroup."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for name, text in limits.items():
        file = folder / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_what_the_process_is_bound_to(tmp_path, monkeypatch):
    assert available_cores(tmp_path) == BOUND
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {3, 5})
    assert available_cores(tmp_path) == 2


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("10000 100000\n", 1), ("max 100000\n", BOUND), ("", BOUND)],
)
def test_a_container_of_version_2(tmp_path, text, cores):
    assert available_cores(system(tmp_path, "0::/\n", **{"cpu.max": text})) == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000\n", 2), ("250000\n", 3), ("-1\n", BOUND)])
@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("group", ["", "docker/12ab/"])
def test_a_container_of_version_1(tmp_path, quota, cores, folder, group):
    limits = {f"{folder}/{group}cpu.cfs_quota_us": quota, f"{folder}/{group}cpu.cfs_period_us": "100000\n"}
    groups = "5:memory:/docker/12ab\n4:cpu,cpuacct:/docker/12ab\n"
    assert available_cores(system(tmp_path, groups, **limits)) == cores


def test_the_least_of_all_levels_counts(tmp_path):
    limits = {
        "slurm/job/step/cpu.max": "max 100000",
        "slurm/job/cpu.max": "400000 100000",
        "slurm/cpu.max": "6400000 100000",
    }
    assert available_cores(system(tmp_path, "0::/slurm/job/step\n", **limits)) == 4
