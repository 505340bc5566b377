"""Writing: an image is in the store whole or not at all, whatever fails, and whoever else writes."""

import errno
import io
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import content, refused
from stores import fill, make_schema, noise_values

from logitpipe.cache import IncompleteError, IntegrityError, PipeError, StoreWriter, open_store
from logitpipe.cache.files.folder import Folder, beside, sync_folder
from logitpipe.cache.format import VERSIONS, version1
from logitpipe.cache.format.codec import Encoded, encode
from logitpipe.cache.writing import commit
from logitpipe.cache.writing.create import remove_store
from logitpipe.cache.writing.site import FolderSite
from logitpipe.cli import cli

CODES = (0, 1, 255)
PIXEL = make_schema("pixel", version=2)
"""Of each format version in turn."""
STEPS = {os: ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "open"), io: ("open",)}
"""Everything through which a commit changes the disk, but writing itself; both kinds of `open` also read."""


@pytest.fixture(autouse=True, params=VERSIONS)
def version(request, monkeypatch) -> int:
    """Cut the logits of an image, 8 rows, into three chunks, the last at the edge; do not wait for the disk."""
    monkeypatch.setattr(version1, "rows_per_chunk", lambda *_: 3)
    monkeypatch.setattr(sys.modules[__name__], "PIXEL", make_schema("pixel", version=request.param))
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    return request.param


@contextmanager
def failing(first: int, forever: bool) -> Iterator[list[int]]:
    """Let the `first` of all steps fail: that one alone, or it and all that follow, as if the process had ended.

    A file whose fsync fails loses half of what was written to it. Yields the list of the steps that failed.
    """
    steps, failed = count(1), list[int]()

    def wrapped(function):
        def step(*args, **kwargs):
            number = next(steps)
            if number == first or (forever and number > first):
                failed.append(number)
                if function is fsync and stat.S_ISREG(os.fstat(*args).st_mode):
                    os.ftruncate(*args, os.fstat(*args).st_size // 2)
                raise OSError(errno.EIO, "the disk is on fire")
            return function(*args, **kwargs)

        return step

    fsync = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        for module, names in STEPS.items():
            for name in names:
                patch.setattr(module, name, wrapped(getattr(module, name)))
        yield failed


class Torn(io.FileIO):
    """A file that writes nothing through a buffer."""


def torn_open(path: Path, mode: str) -> io.FileIO:
    """Open as `Path.open` does, each write a call of its own."""
    return Torn(path, mode.replace("b", ""))


def fail(error: BaseException, *_: object) -> None:
    raise error


def is_as_committed(path: Path, image: int) -> bool:
    """Whether an image is in a store; if it is, all of it must be."""
    store = open_store(path)
    if image not in store.completed():
        with pytest.raises(IncompleteError):
            store.read("logits", image)
        return False
    expected = noise_values(PIXEL, image, CODES)
    assert all(np.array_equal(store.read(name, image), expected[name]) for name in ("logits", "labels", "preview"))
    return True


@pytest.mark.slow
@pytest.mark.parametrize("forever", [False, True])
def test_a_commit_that_fails_at_any_step_leaves_the_image_whole_or_absent_and_can_be_repeated(tmp_path, forever):
    undisturbed = content(fill(tmp_path / "undisturbed", PIXEL, images=[0]))
    for first in count(1):
        path = tmp_path / str(first) / "store"
        with failing(first, forever) as failed, suppress(OSError, PipeError):
            fill(path, PIXEL, images=[0])
        if path.exists():
            is_as_committed(path, 0)
        fill(path, PIXEL, images=[0])
        assert is_as_committed(path, 0)
        assert content(path) == undisturbed
        assert list(path.parent.iterdir()) == [path]
        if not failed:
            break
    assert first > 80


@pytest.mark.parametrize("written", [0, 1, 0.5])
def test_a_write_that_fails_leaves_no_trace_and_can_be_repeated(tmp_path, monkeypatch, written):
    undisturbed = content(fill(tmp_path / "undisturbed", PIXEL, images=[0, 1]))
    for first in count(1):
        path, calls = tmp_path / str(first) / "store", count(1)

        def write(self: Torn, data: bytes, first: int = first, calls: Iterator[int] = calls) -> int:
            if next(calls) != first:
                return io.FileIO.write(self, data)
            io.FileIO.write(self, data[: int(written * len(data))])
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(Torn, "write", write)
        with monkeypatch.context() as patch, suppress(OSError):
            patch.setattr(Path, "open", torn_open)
            fill(path, PIXEL, images=[0, 1])
        assert not list(path.parent.rglob("*.partial"))
        if path.exists():
            assert is_as_committed(path, 0) or open_store(path).completed() == []
        fill(path, PIXEL, images=[0, 1])
        assert content(path) == undisturbed
        if next(calls) <= first:
            break
    assert first > 10


def test_an_image_that_is_replaced_is_never_a_mixture(tmp_path):
    own, other = (noise_values(PIXEL, seed, CODES) for seed in (0, 7))
    for first in count(1):
        path = fill(tmp_path / str(first), PIXEL, images=[0])
        with failing(first, forever=True) as failed, suppress(OSError, PipeError):
            StoreWriter(path, PIXEL).commit(0, other, {})
        store = open_store(path)
        if 0 in store.completed():
            read = [store.read(name, 0) for name in ("logits", "preview")]
            assert any(all(map(np.array_equal, read, (v["logits"], v["preview"]))) for v in (own, other))
        if not failed:
            break
    assert first > 30
    assert np.array_equal(read[0], other["logits"])


def test_a_failure_leaves_no_partial_file_as_long_as_files_can_be_removed(tmp_path, monkeypatch):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
            patch.setattr(os, step, partial(fail, OSError(errno.ENOSPC, "full")))
            fill(path, PIXEL, images=[1])
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, step, partial(fail, KeyboardInterrupt()))
            fill(tmp_path / "new", PIXEL, images=[1])
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "new").exists()


def test_leftovers_of_a_crash_do_no_harm(tmp_path, version):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    folders = ("", "records", "logits", *(("logits/c", "logits/c/0/0/0") if version == 1 else ()))
    for folder in folders:
        (path / folder / "c.0.json.00.partial").write_bytes(b"{")
    assert len(Folder(path).partials("")) == len(folders)
    assert open_store(path).completed() == [0]
    assert is_as_committed(fill(path, PIXEL, images=[1]), 1)
    assert is_as_committed(path, 0)


def test_what_does_not_read_back_is_not_committed(tmp_path, monkeypatch, version):
    path, chunk = tmp_path / "store", {1: "logits/c/0/0/1/0", 2: "logits/c.0.0.1.0"}[version]
    read = Folder.read

    def misread(self: Folder, key: str) -> bytes | None:
        data = read(self, key)
        return data[:-1] if data and key == chunk else data

    monkeypatch.setattr(Folder, "read", misread)
    with pytest.raises(IntegrityError, match=r"what was written does not read back as it was$") as caught:
        fill(path, PIXEL, images=[0])
    assert (caught.value.store, caught.value.file) == (path, chunk)
    assert open_store(path).completed() == []


def test_what_does_not_decode_as_it_was_is_found(tmp_path, monkeypatch, version):
    """By who writes version 1, whose readers do not see it; by who reads version 2."""

    def wrong(values: np.ndarray) -> Encoded:
        return encode(values + np.ones((), values.dtype))

    monkeypatch.setattr(commit, "encode", wrong)
    if version == 1:
        with pytest.raises(IntegrityError, match=r"what was written does not read back as it was$"):
            fill(tmp_path / "store", PIXEL, images=[0])
    else:
        store = open_store(fill(tmp_path / "store", PIXEL, images=[0]))
        for array in store.arrays:
            with pytest.raises(
                IntegrityError, match=r"values of digest \w{32} were committed, of \w{32} were found$"
            ):
                store.read(array, 0)


def test_the_least_and_the_largest_numbers_are_kept_bit_for_bit(tmp_path):
    values = noise_values(PIXEL, 0, CODES)
    values["logits"][0, 0, :4] = np.array([0x8000, 0x0001, 0x7BFF, 0xFBFF], np.uint16).view(np.float16)
    StoreWriter(tmp_path / "store", PIXEL).commit(0, values, {})
    read = open_store(tmp_path / "store").read("logits", 0)
    assert np.array_equal(read.view(np.uint16), values["logits"].view(np.uint16))


def test_memory_layout_does_not_change_a_store(tmp_path):
    values = noise_values(PIXEL, 0, CODES)
    for name, layout in (("c", np.ascontiguousarray), ("fortran", np.asfortranarray)):
        StoreWriter(tmp_path / name, PIXEL).commit(0, {k: layout(v) for k, v in values.items()}, {})
    assert content(tmp_path / "c") == content(tmp_path / "fortran")


@pytest.mark.parametrize("letters", ["a" * 250, "\u00e9" * 125, "\u65e5" * 83])
def test_a_store_and_a_zip_may_have_the_longest_names(tmp_path, letters):
    """Also what the dead left beside them is swept."""
    path = tmp_path / f"{letters}.zarr"
    left = beside(path)
    left.mkdir()
    fill(path, PIXEL, images=[0])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    zipped = tmp_path / f"{letters}.zip"
    assert (
        CliRunner().invoke(cli, ["pack", str(fill(path, PIXEL, images=[1, 2])), "--out", str(zipped)]).exit_code == 0
    )
    assert open_store(zipped).missing() == []
    assert sorted(tmp_path.iterdir()) == sorted([path, zipped])


def with_number(number, values):
    """Return a copy with a number in it."""
    values = values.copy()
    values[1, 2, 3] = number
    return values


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("logits", lambda a: a.astype(np.float32), "logits: float16 (5, 8, 12) expected, float32 (5, 8, 12) given"),
        ("logits", lambda a: a.astype(">f2"), "logits: float16 (5, 8, 12) expected, >f2 (5, 8, 12) given"),
        ("logits", lambda a: a[:4], "logits: float16 (5, 8, 12) expected, float16 (4, 8, 12) given"),
        *(
            ("logits", partial(with_number, number), "logits: finite numbers expected, 1 are NaN or infinite")
            for number in (np.nan, np.inf, -np.inf)
        ),
        ("preview", lambda a: a[..., 0], "preview: uint8 (4, 6, 3) expected, uint8 (4, 6) given"),
        ("labels", lambda a: a.astype(np.int32) + 256, "labels: uint8 expected, int32 given"),
    ],
)
def test_values_of_another_form_change_nothing(tmp_path, name, change, message):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    before = content(path)
    values = noise_values(PIXEL, 0, CODES)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        StoreWriter(path, PIXEL).commit(0, values | {name: change(values[name])}, {})
    assert content(path) == before


def test_another_schema_is_refused(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    before = content(path)
    with refused(
        f'{path} holds the logits of another run: network: "enet" in the store, "erfnet" asked for; '
        "void_class: 4 in the store, null asked for; choose another --out, or start anew with --overwrite"
    ):
        StoreWriter(path, replace(PIXEL, network="erfnet", void_class=None))
    assert content(path) == before


def test_other_software_may_go_on(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    fill(path, replace(PIXEL, software={"torch": "3"}), images=[1])
    assert is_as_committed(path, 0)
    assert is_as_committed(path, 1)


def test_a_store_may_take_an_empty_folder_a_deep_path_or_the_target_of_a_link(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target", target_is_directory=True)
    for name in ("empty", "not/yet/there", "link"):
        assert is_as_committed(fill(tmp_path / name, PIXEL, images=[0]), 0)
    assert (tmp_path / "link").is_symlink()


def test_an_empty_folder_serves_where_no_rename_replaces_one(tmp_path, monkeypatch):
    rename = os.rename

    def rename_as_windows_does(source: Path, target: Path) -> None:
        if Path(target).exists():
            raise FileExistsError(errno.EEXIST, "the target exists", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_as_windows_does)
    (tmp_path / "store").mkdir()
    late = StoreWriter(tmp_path / "store", PIXEL)
    assert is_as_committed(fill(tmp_path / "store", PIXEL, images=[0]), 0)
    late.commit(1, noise_values(PIXEL, 1, CODES), {})
    assert is_as_committed(tmp_path / "store", 0)
    assert is_as_committed(tmp_path / "store", 1)


def test_a_place_that_cannot_be_taken_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "rename", partial(fail, OSError(errno.EACCES, "not here")))
    with pytest.raises(OSError, match="not here"):
        fill(tmp_path / "store", PIXEL, images=[0])
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_made_nowhere_else(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    for path in (tmp_path / "file", tmp_path / "full", tmp_path / "working", Path()):
        for attempt in (lambda path: StoreWriter(path, PIXEL), remove_store):
            with refused(
                f"{path}: a store can only be made where nothing or an empty folder lies, "
                "and not in the working folder itself; choose another --out"
            ):
                attempt(path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine", "working"]


def test_a_store_that_another_process_makes_while_one_looks_is_taken(tmp_path, monkeypatch):
    other, look = fill(tmp_path / "other", PIXEL, images=[0]), FolderSite.occupied

    def look_just_before_it_comes(site):
        found = look(site)
        if other.exists():
            other.rename(tmp_path / "store")
        return found

    monkeypatch.setattr(FolderSite, "occupied", look_just_before_it_comes)
    assert StoreWriter(tmp_path / "store", PIXEL).completed() == [0]


def test_a_store_in_the_working_folder_is_filled_but_not_removed(tmp_path, monkeypatch):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    monkeypatch.chdir(path)
    fill(Path(), PIXEL, images=[1])
    assert is_as_committed(path, 1)
    with pytest.raises(PipeError):
        remove_store(Path())
    assert is_as_committed(path, 1)


@pytest.mark.parametrize("damage", [None, b'{"attributes": {"format": "logit-store"', b'"logit-store"'])
def test_a_store_is_removed_even_when_damaged(tmp_path, damage):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    if damage:
        (path / "zarr.json").write_bytes(damage)
    remove_store(path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_a_store_is_removed(tmp_path):
    group = tmp_path / "group"
    group.mkdir()
    (group / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}', encoding="utf-8")
    with refused(f"{group}: the folder was expected to be a logit store and is none, so it was not removed"):
        remove_store(group)
    (tmp_path / "empty").mkdir()
    remove_store(tmp_path / "empty")
    remove_store(tmp_path / "nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "group"]


def test_threads_that_make_one_store_at_once_share_it(tmp_path):
    schema = make_schema("pixel", images=[f"{i}.png" for i in range(4)], version=PIXEL.VERSION)
    undisturbed = content(fill(tmp_path / "undisturbed", schema))
    for attempt in range(5):
        path, barrier = tmp_path / str(attempt), Barrier(4)

        def write(image: int, path: Path = path, barrier: Barrier = barrier) -> None:
            writer = StoreWriter(path, schema)
            barrier.wait()
            writer.commit(image, noise_values(schema, image, CODES), {})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert content(path) == undisturbed
    assert not list(tmp_path.rglob("*.partial"))


def test_processes_that_make_one_store_at_once_share_it(tmp_path, monkeypatch, version):
    monkeypatch.undo()  # they do not see what is patched here
    monkeypatch.setattr(sys.modules[__name__], "PIXEL", make_schema("pixel", version=version))
    code = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path; from stores import *; "
        "sys.stdin.read(1); fill(Path(sys.argv[1]), make_schema('pixel', version=int(sys.argv[3])), "
        "images=[int(sys.argv[2])])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "shared")]
    processes = [
        subprocess.Popen([*command, str(image), str(version)], stdin=subprocess.PIPE, cwd=Path(__file__).parents[2])
        for image in range(3)
    ]
    for process in processes:
        process.communicate(b"!")
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert content(tmp_path / "shared") == content(fill(tmp_path / "undisturbed", PIXEL))
    assert not list(tmp_path.rglob("*.partial"))


def test_another_run_that_was_first_is_not_overwritten(tmp_path):
    late = StoreWriter(tmp_path / "store", replace(PIXEL, network="erfnet"))
    fill(tmp_path / "store", PIXEL, images=[0])
    before = content(tmp_path / "store")
    with pytest.raises(PipeError, match="holds the logits of another run: network"):
        late.commit(0, noise_values(PIXEL, 0, CODES), {})
    assert content(tmp_path) == {f"store/{name}": data for name, data in before.items()}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_drive_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch, code):
    def fsync(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    sync_folder(tmp_path)
