"""A process that is killed at any step leaves a store that the same command finishes, as if nothing had happened."""

import signal
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import get_args

import pytest

from logitpipe.cache import open_store
from logitpipe.cache.files.steps import Step
from logitpipe.cache.format.keys import LOCK
from logitpipe.cache.reading.verify import check_image, check_metadata
from tests.children import Watch, commit, finish, make_data, pipe_infer, taken
from tests.conftest import content

pytestmark = pytest.mark.slow
COUNT = 3
NAMES = tuple(f"{number}.png" for number in range(COUNT))


@dataclass(frozen=True)
class Scenario:
    """A command, and what lies there before it; both are given the folder of the data and the place of the store."""

    before: Callable[[Path, Path, Callable[..., int]], object]
    command: tuple[Callable[..., None], tuple[str, ...]]

    def run(self, data: Path, place: Path, **how: object) -> int:
        """Run the command in a child; return its exit code."""
        job, flags = self.command
        watch = Watch(place.parent / "../log", place.parent / "../trace", **how)
        return finish(
            job, *((place, NAMES, range(COUNT), 9) if job is commit else (data, place, *flags)), watch=watch
        )


def nothing(_data: Path, _place: Path, _run: Callable[..., int]) -> None:
    """Leave the place empty."""


def a_shard(data: Path, place: Path, run: Callable[..., int]) -> None:
    """Let one of two shards be there."""
    assert run(pipe_infer, data, place, "--shard", "0/2") == 0


def another_store(data: Path, place: Path, run: Callable[..., int]) -> None:
    """Let a store of another run be there."""
    assert run(pipe_infer, data, place, "--input-size", "8x8") == 0


def the_same_images(_data: Path, place: Path, run: Callable[..., int]) -> None:
    """Let a complete store be there, of other numbers."""
    assert run(commit, place, NAMES, range(COUNT)) == 0


def leftovers(data: Path, place: Path, run: Callable[..., int]) -> None:
    """Let one process have died while it wrote a chunk, and one before its new store took the place of the old."""
    assert run(pipe_infer, data, place, kill=("file.rename", 9)) == -signal.SIGKILL
    assert run(pipe_infer, data, place, "--overwrite", kill=("store.retire", 1)) == -signal.SIGKILL
    left = [*place.parent.rglob("*.partial")]  # of files perhaps two: both encoders may have been in the midst of one
    assert {entry.is_dir() for entry in left} == {True, False}


SCENARIOS = {
    "new": Scenario(nothing, (pipe_infer, ())),
    "continued": Scenario(a_shard, (pipe_infer, ())),
    "overwritten": Scenario(another_store, (pipe_infer, ("--overwrite",))),
    "replaced": Scenario(the_same_images, (commit, ())),
    "swept": Scenario(leftovers, (pipe_infer, ())),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_data(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def disturbed(data, tmp_path_factory):
    """Give a function that runs a scenario in a place of its own, and dies as told: the place, the exit code."""
    folder = tmp_path_factory.mktemp("runs")

    def before(job, *arguments, kill=None):
        return finish(job, *arguments, watch=Watch(folder / "log", folder / "trace", kill))

    for name, scenario in SCENARIOS.items():
        (folder / name).mkdir()
        scenario.before(data, folder / name / "store", before)

    def run(name: str, **how: object) -> tuple[Path, int]:
        place = folder / f"{name} {how}" / "store"
        copytree(folder / name, place.parent)
        return place, SCENARIOS[name].run(data, place, **how)

    return run


@pytest.fixture(scope="module")
def undisturbed(disturbed):
    """Give a function that runs a scenario to its end, once: the store's content, and the steps that were taken."""

    @cache
    def run(name: str) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
        place, code = disturbed(name)
        assert (code, list(place.parent.iterdir())) == (0, [place])
        return content(place), taken(place.parent / "../trace")

    return run


def assert_no_image_is_in_pieces(place: Path) -> None:
    """Assert that a store has only whole images, and sound metadata, if it is there at all."""
    if place.exists():
        store = open_store(place)
        assert check_metadata(store) == []
        assert [check_image(store, image).damages for image in store.completed()] == [[]] * len(store.completed())


def assert_finished(place: Path, expected: dict[str, bytes]) -> None:
    """Assert that a store is byte for byte as it should be, and that nothing lies in or beside it."""
    found = content(place)
    assert found.pop(LOCK, b"") == b""  # whoever is killed at the very end leaves it
    assert found == expected
    assert list(place.parent.iterdir()) == [place]


def test_the_steps_that_are_taken_are_those_that_have_a_name(undisturbed):
    assert {name for scenario in SCENARIOS for name, _ in undisturbed(scenario)[1]} == set(get_args(Step))


@pytest.mark.parametrize("name", get_args(Step))
def test_who_is_killed_at_a_step_is_succeeded_by_the_same_command(data, disturbed, undisturbed, name):
    kills = 0
    for scenario in SCENARIOS:
        expected, steps = undisturbed(scenario)
        occurrences = [name for name, _ in steps].count(name)
        for occurrence in sorted({1, occurrences} if occurrences else ()):
            place, code = disturbed(scenario, kill=(name, occurrence))
            assert code == -signal.SIGKILL
            assert_no_image_is_in_pieces(place)
            assert SCENARIOS[scenario].run(data, place) == 0
            assert_finished(place, expected)
            kills += 1
    assert kills


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_who_is_killed_in_the_midst_of_a_write_is_too(data, disturbed, undisturbed, scenario):
    expected, steps = undisturbed(scenario)
    written = [where for name, where in steps if name == "file.write"]
    for occurrence in range(1, len(written) + 1, 4):
        place, code = disturbed(scenario, kill=("file.write", occurrence), torn=True)
        assert code == -signal.SIGXFSZ
        assert 20 in [file.stat().st_size for file in place.parent.rglob("*.partial") if file.is_file()]
        assert_no_image_is_in_pieces(place)
        assert SCENARIOS[scenario].run(data, place) == 0
        assert_finished(place, expected)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_changes_on_disk_but_in_a_step_and_what_must_last_is_synced_at_once(disturbed, scenario):
    place, _ = disturbed(scenario, sync=False)
    effects = {
        "file.create": ["open"],
        "file.sync": ["fsync"],
        "file.rename": ["os.rename"],
        "file.remove": ["os.remove"],
        "folder.make": ["os.mkdir"],
        "folder.sync": ["fsync"],
        "lock.take": ["open"],
        "lock.remove": ["os.remove"],
        "store.place": ["os.rmdir", "os.rename"],
        "store.retire": ["os.rename"],
        "store.discard": ["os.remove", "os.rmdir"],
        "sweep.file": ["os.remove"],
        "sweep.folder": ["os.remove", "os.rmdir"],
    }
    lasting = {"file.remove", "folder.make", "store.place"}
    current, seen = {}, Counter()
    renamed = defaultdict(set)  # by thread: folders in which files came to their places, and that are not yet synced
    for line in (place.parent / "../trace").read_text().splitlines():
        name, where, thread = line.split("\t")
        if not name.startswith("!"):
            assert name == "folder.sync" or current.get(thread) not in lasting, line
            current[thread] = name
            if name == "file.rename":
                renamed[thread].add(Path(where).parent.name or "store")
            elif name == "folder.sync":
                renamed[thread].discard(Path(where).name.partition(".")[0])
            else:
                assert not renamed[thread], line
        elif str(place.parent) in where or not where.startswith("/"):
            assert name[1:] in effects[current[thread]], line
            seen[name[1:]] += 1
    assert seen["fsync"] > 10
    assert seen["os.rename"] >= 5
