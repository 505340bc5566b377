"""Damaged metadata belongs to all images: it is written anew by one process, while nobody writes the store."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import content, fails, refused
from held import command

from logitpipe.cache.format.keys import LOCK
from logitpipe.cache.writing import create, repair
from logitpipe.cache.writing.lock import Lock
from logitpipe.cache.writing.repair import mend_arrays, mend_group
from tests.children import infer_words, linger, living
from tests.stores import fill, make_schema

NAMES = ("a.png", "b.png", "c.png", "d.png")
PIXEL = make_schema("pixel", images=NAMES)

MENDERS: dict[str, Callable] = {
    "zarr.json": lambda path: mend_group(path, PIXEL),
    "logits/zarr.json": mend_arrays,
}
METADATA = pytest.mark.parametrize("file", MENDERS)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait for who writes the store, nor for the disk."""
    monkeypatch.setattr(create, "PATIENCE", 0)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def busy(path: Path, pid: int) -> str:
    return (
        f"{path}: another process, pid {pid}, is writing this store, so it was not mended; "
        "wait for it or stop it, and call this command again"
    )


@pytest.mark.slow
@METADATA
def test_a_store_that_someone_writes_is_not_mended(tmp_path, file):
    path = fill(tmp_path / "store", PIXEL, images=[1, 3])
    whole = content(path)
    with living(tmp_path, linger, path, NAMES, [0, 2]) as pid:
        (path / file).write_bytes(b"{")
        before = content(path)
        with refused(busy(path, pid)):
            MENDERS[file](path)
        assert content(path) == before
    assert [damage.file for damage in MENDERS[file](path)] == [file]
    assert {name: content(path)[name] for name in whole} == whole
    assert not (path / LOCK).exists()


@METADATA
def test_a_sound_store_is_not_locked(tmp_path, file):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    with living(tmp_path, linger, path, NAMES, [0]):
        assert MENDERS[file](path) == []


@METADATA
def test_what_another_mended_meanwhile_is_left(tmp_path, monkeypatch, file):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    whole = content(path)
    (path / file).unlink()

    def lock_late(store: Path, aim: str) -> Lock:
        (path / file).write_bytes(whole[file])
        monkeypatch.setattr(repair.Folder, "publish", None)
        return create.lock_all(store, aim)

    monkeypatch.setattr(repair, "lock_all", lock_late)
    assert MENDERS[file](path) == []
    assert content(path) == whole


@METADATA
def test_what_a_killed_repair_left_is_swept(tmp_path, file):
    path = fill(tmp_path / "store", PIXEL, images=[3])
    whole = content(path)
    (path / file).rename(path / f"{file}.{'0' * 32}.partial")
    MENDERS[file](path)
    assert content(path) == whole


@contextmanager
def repairing(words: list[str]) -> Iterator[int]:
    """Let another process hold still just before it writes metadata anew; kill it in the end."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process.pid
        finally:
            process.kill()


@pytest.mark.slow
@METADATA
def test_of_two_repairs_the_second_is_refused(run, tmp_path, data_root, file):
    run()
    path = tmp_path / "store"
    whole = content(path)
    (path / file).unlink()
    words = command("logitpipe.cache.files.folder:Folder.publish", 1, *infer_words(tmp_path, data_root, "--repair"))
    with repairing(words) as pid:
        fails(run("--repair"), f"pipe: {busy(path, pid)}")
        assert {name: data for name, data in content(path).items() if name != LOCK} == {
            name: data for name, data in whole.items() if name != file
        }
    assert run("--repair").exit_code == 0
    assert content(path) == whole
