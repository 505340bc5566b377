"""Two who would write the same image: the second is told so, and never sooner or later than while the first lives."""

import errno
import fcntl
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from logitpipe.cache import PipeError, StoreWriter, open_store
from logitpipe.cache.format.keys import LOCK
from logitpipe.cache.writing import bytelock, create, site
from logitpipe.cache.writing import commit as commit_module
from logitpipe.cache.writing import lock as writing_lock
from logitpipe.cache.writing.create import remove_store, sweep_beside
from logitpipe.cache.writing.lock import EVERYTHING, BusyError, Lock, _runs
from logitpipe.stages.infer import run as infer_run
from tests.children import CODES, Watch, build, commit, finish, linger, living
from tests.conftest import content, fails, refused
from tests.stores import fill, make_schema, noise_values

NAMES = ("a.png", "b.png", "c.png", "d.png")
PIXEL = make_schema("pixel", images=NAMES)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait for who holds an image, nor for the disk."""
    for module in (site, create):
        monkeypatch.setattr(module, "PATIENCE", 0)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def taken_by(pid: int, path: Path, name: str) -> str:
    return (
        f"{path}: another process, pid {pid}, is writing image '{name}', which this command would write too; "
        "wait for it or stop it, and call this command again"
    )


def commit_one(writer: StoreWriter, image: int) -> None:
    writer.commit(image, noise_values(PIXEL, image, CODES), {})


def can_be_locked_elsewhere(path: Path, image: int, tmp_path: Path) -> bool:
    """Whether another process may write an image."""
    return finish(commit, path, NAMES, [image], watch=Watch(tmp_path / "log", tmp_path / "trace", patience=0)) == 0


@pytest.mark.slow
def test_an_image_has_one_writer_while_it_lives(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    with living(tmp_path, linger, path, NAMES, [0, 2]) as pid:
        writer, before = StoreWriter(path, PIXEL), content(path)
        with refused(taken_by(pid, path, "c.png")), writer.claimed([1, 2]):
            pytest.fail("the claim was given")
        with refused(taken_by(pid, path, "a.png")):
            commit_one(writer, 0)
        assert content(path) == before
        commit_one(writer, 1)
    with writer.claimed([0, 1, 2]):
        commit_one(writer, 2)
    assert open_store(path).completed() == [0, 1, 2, 3]
    assert not (path / LOCK).exists()


def test_a_store_that_another_made_meanwhile_is_its_own(tmp_path):
    path = tmp_path / "store"
    late = StoreWriter(path, PIXEL)
    with living(tmp_path, linger, path, NAMES, [0, 1]) as pid, late.claimed([1, 2]):
        before = content(path)
        with refused(taken_by(pid, path, "b.png")):
            commit_one(late, 1)
        assert content(path) == before
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("store")] == ["store"]


def test_the_command_line_says_so(run, tmp_path):
    run("--shard", "0/2")
    path = tmp_path / "store"
    before = content(path)
    lock = Lock(path, [1], patience=0)
    fails(
        run(),
        f"pipe: {path}: this process is writing image '1.png', which this command would write too; "
        "wait for it or stop it, and call this command again",
    )
    lock.release()
    assert content(path) == before
    assert run().exit_code == 0


def test_a_run_holds_all_its_images_from_the_start_and_no_other(run, tmp_path, monkeypatch):
    run("--shard", "0/3")
    path, compute, free = tmp_path / "store", infer_run.launch, []

    def compute_and_look(*arguments: object) -> object:
        for image in range(5):
            with suppress(BusyError):
                Lock(path, [image], patience=0).release()
                free.append(image)
        return compute(*arguments)

    monkeypatch.setattr(infer_run, "launch", compute_and_look)
    assert run("--shard", "1/3").exit_code == 0
    assert free == [0, 2, 3] * 2
    assert not (path / LOCK).exists()


def test_a_store_that_someone_writes_is_not_removed(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    waiting = StoreWriter(path, PIXEL, overwrite=True)
    with living(tmp_path, linger, path, NAMES, [0, 2]) as pid:
        before = content(tmp_path)
        for attempt in (
            lambda: remove_store(path),
            lambda: StoreWriter(path, PIXEL, overwrite=True),
            lambda: commit_one(waiting, 0),
        ):
            with refused(
                f"{path}: another process, pid {pid}, is writing this store, so it was not removed; "
                "wait for it or stop it, and call this command again"
            ):
                attempt()
        assert content(tmp_path) == before
    commit_one(waiting, 0)
    assert open_store(path).completed() == [0]


def test_the_end_of_one_lock_is_not_that_of_another(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    first, second = Lock(path, [0, 1], patience=0), Lock(path, [2], patience=0)
    with pytest.raises(BusyError, match=r"^this process is writing image 1$"):
        Lock(path, [3, 1], patience=0)
    second.release()
    second.release()
    assert not can_be_locked_elsewhere(path, 0, tmp_path)
    assert can_be_locked_elsewhere(path, 2, tmp_path)
    first.release()
    assert can_be_locked_elsewhere(path, 0, tmp_path)
    assert not (path / LOCK).exists()


def test_a_lock_is_waited_for(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    with living(tmp_path, linger, path, NAMES, [0]) as pid:
        begin = time.monotonic()
        with pytest.raises(BusyError, match=f"^another process, pid {pid}, is writing image 0$"):
            Lock(path, EVERYTHING, patience=0.3)
        assert time.monotonic() - begin > 0.25
        os.kill(pid, signal.SIGKILL)
        lock = Lock(path, EVERYTHING, patience=30)
    lock.release()


def test_a_lock_file_that_was_removed_before_it_was_locked_is_no_lock(tmp_path, monkeypatch):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    opened, calls = writing_lock._opened, []

    def opened_too_early(file: Path) -> tuple[int, int]:
        identity = opened(file)
        calls.append(identity)
        if len(calls) == 1:
            file.unlink()
            file.touch()
        return identity

    monkeypatch.setattr(writing_lock, "_opened", opened_too_early)
    lock = Lock(path, [0], patience=0)
    assert len(calls) == 2
    assert lock.guards(path)
    assert not can_be_locked_elsewhere(path, 0, tmp_path)
    lock.release()


def test_who_fails_to_get_all_images_holds_none(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    with living(tmp_path, linger, path, NAMES, [2]):
        other = Lock(path, [1], patience=0)  # keeps the file open, which would else end all locks
        with pytest.raises(BusyError):
            Lock(path, [0, 2], patience=0)
        assert can_be_locked_elsewhere(path, 0, tmp_path)
        other.release()


@pytest.mark.parametrize(
    ("held", "asked", "image"),
    [
        ([[5, 6]], [6, 7], 6),
        ([[5, 6]], [3, 4, 5], 5),
        ([[5, 6]], [7], None),
        ([[5, 6]], [4], None),
        ([[8], [0, 2]], [1, 2], 2),
        ([[0, 2], [8]], [1, 3, 7, 9], None),
        ([[5]], EVERYTHING, 5),
        ([EVERYTHING], [7], 7),
    ],
)
def test_within_a_process_too_an_image_has_one_lock(tmp_path, held, asked, image):
    locks = [Lock(tmp_path, images, patience=0) for images in held]
    if image is None:
        locks.append(Lock(tmp_path, asked, patience=0))
    else:
        with pytest.raises(BusyError) as refusal:
            Lock(tmp_path, asked, patience=0)
        assert (refusal.value.owner, refusal.value.image) == ("this process", image)
    for lock in locks:
        lock.release()
    assert writing_lock._files == {}


def test_runs():
    assert list(_runs([9, 3, 0, 2, 4])) == [range(1), range(2, 5), range(9, 10)]
    assert list(_runs([])) == []


@pytest.mark.parametrize("move", [shutil.rmtree, lambda path: path.rename(path.with_name("elsewhere"))])
def test_a_store_that_is_taken_away_while_it_is_written_is_an_error(tmp_path, move):
    path = tmp_path / "store"
    writer = StoreWriter(path, PIXEL)
    with writer.claimed([0, 1]):
        commit_one(writer, 0)
        move(path)
        with refused(
            f"{path}: the store was moved or removed while it was written; "
            "put it back, or remove what is left of it, and call this command again"
        ):
            commit_one(writer, 1)
        assert not path.exists()


def test_a_store_that_is_taken_away_in_the_midst_of_a_commit_is_an_error(tmp_path, monkeypatch):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    write = commit_module._write

    def write_and_move(*arguments: object) -> object:
        if not (moved := tmp_path / "elsewhere").exists():
            path.rename(moved)
        return write(*arguments)

    monkeypatch.setattr(commit_module, "_write", write_and_move)
    with pytest.raises(PipeError, match="the store was moved or removed while it was written"):
        commit_one(StoreWriter(path, PIXEL), 1)
    assert open_store(tmp_path / "elsewhere").completed() == [0]


def test_a_store_that_was_replaced_by_another_run_is_not_written(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    late = StoreWriter(path, PIXEL)
    other = make_schema("pixel", images=("x.png",))
    StoreWriter(path, other, overwrite=True).commit(0, noise_values(other, 0, CODES), {})
    before = content(path)
    with pytest.raises(PipeError, match="holds the logits of another run: images"):
        commit_one(late, 0)
    assert content(path) == before


def test_a_store_that_is_gone_is_an_error(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    late = StoreWriter(path, PIXEL)
    remove_store(path)
    with refused(f"{path}: the store cannot be written (No such file or directory)"):
        commit_one(late, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_left_is_swept_and_the_living_are_spared(tmp_path):
    path = tmp_path / "store"
    spared = [tmp_path / name for name in ("store.old.partial", f"store.{'0' * 32}", f"store2.{'0' * 32}.partial")]
    for folder in spared:
        folder.mkdir()
    with living(tmp_path, build, path):
        (built,) = (folder for folder in tmp_path.glob("store.*.partial") if folder not in spared)
        abandoned = path.with_name(f"store.{'1' * 32}.partial")
        (abandoned / "logits").mkdir(parents=True)
        sweep_beside(path)
        assert built.is_dir()
        assert not abandoned.exists()
    sweep_beside(path)
    assert not built.exists()
    assert all(folder.is_dir() for folder in spared)


def test_half_written_files_of_claimed_images_are_swept(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[1, 3])
    own = [path / "logits/c/1/0/0/0.00.partial", path / "records/1.json.00.partial"]
    others = [
        path / "logits/c/3/0/0/0.00.partial",
        path / "records/11.json.00.partial",
        path / "zarr.json.00.partial",
    ]
    for file in own + others:
        file.write_bytes(b"{")
    with StoreWriter(path, PIXEL).claimed([0, 1]):
        assert [file.exists() for file in own + others] == [False, False, True, True, True]


def test_a_folder_that_was_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    make, made = create.make_folder, []

    def make_and_lose(folder: Path) -> None:
        make(folder)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(create, "make_folder", make_and_lose)
    fill(tmp_path / "store", PIXEL, images=[0])
    assert len(made) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]


@pytest.mark.parametrize("code", bytelock.CANNOT_LOCK)
def test_a_drive_that_cannot_lock_is_written_and_not_swept(tmp_path, monkeypatch, capsys, code):
    def lockf(*_arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "lockf", lockf)
    abandoned = tmp_path / f"store.{'1' * 32}.partial"
    abandoned.mkdir()
    path = fill(tmp_path / "store", PIXEL, images=[0])
    half = path / "records/1.json.00.partial"
    half.touch()
    told: list[None] = []
    writer = StoreWriter(path, PIXEL, on_unlocked=lambda: told.append(None))
    commit_one(writer, 1)
    commit_one(writer, 2)
    assert len(told) == 1
    assert open_store(path).completed() == [0, 1, 2]
    assert abandoned.exists()
    assert half.exists()
    assert capsys.readouterr().err == ""  # a room that prints could not be used from a notebook


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path, monkeypatch):
    def lockf(*_arguments: object) -> None:
        raise OSError(errno.EIO, "the drive is on fire")

    path = fill(tmp_path / "store", PIXEL, images=[0])
    monkeypatch.setattr(fcntl, "lockf", lockf)
    with refused(f"{path}: the store cannot be written (the drive is on fire)"):
        commit_one(StoreWriter(path, PIXEL), 1)
    monkeypatch.undo()
    commit_one(StoreWriter(path, PIXEL), 1)


def test_an_owner_that_is_not_known_is_not_named(tmp_path, monkeypatch):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    monkeypatch.setattr(bytelock, "FLOCK", {})
    with (
        living(tmp_path, linger, path, NAMES, [0]),
        pytest.raises(BusyError, match=r"^another process is writing image 0$"),
    ):
        Lock(path, [0], patience=0)


def test_nothing_stays_open(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    before = len([*Path("/proc/self/fd").iterdir()])
    lock = Lock(path, [0], patience=0)
    for _ in range(3):
        with pytest.raises(BusyError):
            Lock(path, [0, 1], patience=0)
        Lock(path, [2], patience=0).release()
        assert len([*Path("/proc/self/fd").iterdir()]) == before + 1
    lock.release()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert writing_lock._files == {}
