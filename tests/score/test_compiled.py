"""Compiled code is kept where it harms nobody, healed where it is damaged, and done without where it cannot be."""

import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SUM = """
import numpy as np
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel

@kernel
def double(x: float) -> float:
    return 2 * x

@entry
def twice(x: float) -> float:
    return double(x)

if __name__ == "__main__":
    print(twice(1.5))
"""


@pytest.fixture
def script(tmp_path):
    """A file with an entry; what its function calls is another one."""
    path = tmp_path / "script.py"
    path.write_text(SUM)
    return path


def run(script, full_disk=False, **variables):
    """Call the entry in a process of its own; return what it writes to stdout and to stderr."""
    changed = {"PYTHONPATH": str(ROOT / ".links") + os.pathsep + os.environ.get("PYTHONPATH", "")} | variables
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
    limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))) if full_disk else None
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=kept | changed, capture_output=True, text=True, preexec_fn=limit, check=False)
    return done.stdout, done.stderr


def test_of_two_processes_that_need_it_at_once_one_compiles(script, tmp_path):
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DEBUG_CACHE": "1"}
    with ThreadPoolExecutor() as pool:
        both = [done.result() for done in [pool.submit(run, script, **told) for _ in range(2)]]
    assert [(out.splitlines()[-1], error) for out, error in both] == [("3.0", "")] * 2
    printed = "".join(out for out, _ in both)
    assert (printed.count("data saved to"), printed.count("data loaded from")) == (1, 1)


def kept(folder):
    """The files of compiled code below a folder, and how long each is."""
    return {path: path.stat().st_size for path in sorted(folder.rglob("*.nb?"))}


def test_code_is_kept_below_the_folder_that_numba_was_given(script, tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(script, **cache) == ("3.0\n", "")
    files = kept(tmp_path / "cache")
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    assert all((tmp_path / "cache" / "logitpipe") in path.parents for path in files)
    before = {path: path.stat().st_mtime_ns for path in files}
    assert run(script, **cache) == ("3.0\n", "")
    assert {path: path.stat().st_mtime_ns for path in kept(tmp_path / "cache")} == before


def test_two_processors_that_share_a_home_share_no_file(script, tmp_path):
    home = {"HOME": str(tmp_path)}
    assert run(script, **home) == ("3.0\n", "")
    mine = kept(tmp_path)
    assert run(script, **home, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ("3.0\n", "")
    both = kept(tmp_path)
    assert len(both) == 2 * len(mine) and len({path.parent.parent for path in both}) == 2


@pytest.mark.parametrize(("kind", "left"), [("nbi", 0.0), ("nbi", 0.5), ("nbc", 0.0), ("nbc", 0.5)])
def test_damaged_code_is_compiled_again(script, tmp_path, kind, left):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    run(script, **cache)
    (file,) = (tmp_path / "cache").rglob(f"*.{kind}")
    whole = kept(tmp_path / "cache")
    file.write_bytes(file.read_bytes()[: int(left * whole[file])])
    assert run(script, **cache) == ("3.0\n", "")
    assert kept(tmp_path / "cache") == whole


def test_code_that_no_run_has_used_for_long_is_removed(script, tmp_path):
    """Of other sources or processors; what is used, what is recent and what is not ours stays."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    run(script, **cache)
    (mine,) = (tmp_path / "logitpipe").iterdir()
    ages = {"0" * 16: 91, "1" * 16: 89, f"{'2' * 16}.77": 400, "notes": 400, mine.name: 400}
    for name, days in ages.items():
        folder = tmp_path / "logitpipe" / name
        folder.mkdir(exist_ok=True)
        (folder / "code.nbc").touch()
        os.utime(folder, (then := time.time() - days * 86400, then))
    assert run(script, **cache) == ("3.0\n", "")
    assert {path.name for path in (tmp_path / "logitpipe").iterdir()} == {"1" * 16, "notes", mine.name}
    assert time.time() - mine.stat().st_mtime < 600


def test_without_a_folder_to_write_to_nothing_is_kept_and_one_line_says_so(script):
    out, error = run(script, HOME=os.devnull)
    assert out == "3.0\n"
    assert len(error.splitlines()) == 1 and error.startswith(f"the compiled kernels cannot be kept in {os.devnull}")


def test_a_full_disk_stops_no_kernel(script, tmp_path):
    out, error = run(script, full_disk=True, HOME=str(tmp_path))
    assert out == "3.0\n"
    assert len(error.splitlines()) == 1 and "File too large" in error


def test_a_switched_off_compiler_is_a_plain_error(script, tmp_path):
    out, error = run(script, HOME=str(tmp_path), NUMBA_DISABLE_JIT="1")
    assert out == ""
    assert error.splitlines()[-1].startswith("logitpipe.cache.errors.PipeError: scores are computed by compiled code")


def test_others_who_use_numba_find_its_settings_as_they_were(tmp_path):
    script = tmp_path / "settings.py"
    script.write_text(
        "import numba\n"
        "before = {name: repr(value) for name, value in vars(numba.config).items()}\n"
        "import logitpipe.stages.score.kinds, logitpipe.stages.score.figures.metrics\n"
        "print({name for name, value in vars(numba.config).items() if before.get(name) != repr(value)})\n"
    )
    assert run(script, HOME=str(tmp_path)) == ("set()\n", "")
