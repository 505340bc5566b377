"""A disk that becomes full: a line that says how much is missing, a store to go on with, and nothing half-written."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import content, fails
from held import command
from stores import fill, make_schema, noise_values

from logitpipe.cache import StoreWriter, open_store
from logitpipe.cache.reading.store import stored_bytes
from logitpipe.cache.writing.space import free_bytes, most_image_bytes, occupied_bytes
from logitpipe.cli import cli
from logitpipe.stages.infer import resume
from logitpipe.stages.infer import run as infer_run
from logitpipe.stores import room

NAMES = ("0.png", "1.png", "2.png", "3.png", "10.png")


def pipe(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Give a function that makes a disk of a size, or changes its size, and returns where it is."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str) -> Path:
        options = f"size={size}" if not place.is_mount() else f"remount,size={size}"
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        result = subprocess.run(words, check=False, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"no disk can be mounted here: {result.stderr.strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize("size", ["96k", "128k", "144k"])
def test_a_full_disk_ends_the_run_which_goes_on_after_room_is_made(run, tmp_path, monkeypatch, disk, size):
    run(out="undisturbed")
    monkeypatch.setattr(infer_run, "background_threads", lambda _device: 1)  # which image fails is foreseen
    store = disk(size) / "store"
    result = run(out="disk/store")
    assert (result.exit_code, result.stdout) == (1, "")
    done = open_store(store).completed()
    assert 0 < len(done) < 5
    name, left = re.escape(NAMES[len(done)]), 5 - len(done)
    each = most_image_bytes(open_store(store).schema) / 1e6
    assert re.fullmatch(
        rf"pipe: {store}: image '{name}' cannot be written \(No space left on device\): \d\.\d MB are free, an image "
        rf"takes up to {each:.1f} MB, and the {left} that are left up to {left * each:.1f} MB; "
        r"make room, or choose another --out; then the same command again goes on where it stopped",
        result.stderr.splitlines()[-1],
    )
    assert re.match(
        rf"{store.parent}: 5 images may need \d+\.\d kB, should they not compress, and \d+\.\d kB are free; "
        "a full disk ends the run, and it goes on after room is made",
        result.stderr.splitlines()[1],
    )
    assert not list(store.parent.rglob("*.partial"))
    verified = pipe("verify", store)
    assert verified.exit_code == 3
    assert f": sound; missing: {left} of 5 images" in verified.stdout
    disk("4m")
    assert run(out="disk/store").exit_code == 0
    assert content(store) == content(tmp_path / "undisturbed")


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_is_full_before_there_is_a_store_stays_empty(run, tmp_path, disk):
    run(out="undisturbed")
    for size in ("4k", "8k", "16k", "24k", "32k"):
        disk(size)
        result = run(out="disk/store")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "image '0.png' cannot be written (No space left on device): 0.0 MB are free" in result.stderr
        assert [path for path in (tmp_path / "disk").iterdir() if path.name != "store"] == []
    disk("4m")
    assert run(out="disk/store").exit_code == 0
    assert content(tmp_path / "disk" / "store") == content(tmp_path / "undisturbed")


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_an_overwriting_run_goes_on_without_the_flag(run, tmp_path, disk):
    disk("128k")
    assert run("--limit", "1", out="disk/store").exit_code == 0
    result = run("--overwrite", out="disk/store")
    assert result.stderr.endswith("; then the same command, without --overwrite, goes on where it stopped\n")
    done = len(open_store(tmp_path / "disk" / "store").completed())
    disk("4m")
    assert f"({5 - done} new, {done} already there)" in run(out="disk/store").stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits on files are set otherwise there")
@pytest.mark.parametrize("limit", [100, 4000])
def test_a_limit_on_files_ends_the_run_which_goes_on_without_it(run, tmp_path, data_root, limit):
    import resource

    run(out="undisturbed")
    store = tmp_path / "store"
    words = ["infer", "--network", "enet", "--weights", tmp_path / "weights.pth", "--dataset", "Tiny"]
    result = subprocess.run(
        command("logitpipe.cache.writing.space:free_bytes", 0, *words, "--data-root", data_root, "--out", store),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith(
        f"pipe: {store}: image '0.png' cannot be written (File too large): "
    )
    assert not list(tmp_path.rglob("*.partial"))
    assert run().exit_code == 0
    assert content(store) == content(tmp_path / "undisturbed")


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize("size", ["4k", "12k", "32k"])
def test_results_that_find_no_room_are_whole_or_absent(tmp_path, disk, size):
    store = fill(tmp_path / "store.zarr", make_schema("pixel"))
    whole = tmp_path / "whole"
    assert pipe("score", store, "--out", whole).exit_code == 0
    out = disk(size)
    result = pipe("score", store, "--out", out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"pipe: --out {out}: the results cannot be written (No space left on device)"
    )
    assert not list(out.rglob("*.partial"))
    for file in out.iterdir():
        assert file.name == "settings.json" or file.read_bytes() == (whole / file.name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_pictures_that_find_no_room_are_whole_or_absent(tmp_path, disk):
    store = fill(tmp_path / "store.zarr", make_schema("pixel"))
    whole = tmp_path / "whole"
    assert pipe("maps", store, "--method", "msp", "--out", whole).exit_code == 0
    size = max(file.stat().st_size for file in whole.iterdir())
    out = disk(f"{(size // 4096 + 2) * 4}k")
    result = pipe("maps", store, "--method", "msp", "--out", out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"pipe: --out {out}: ")
    assert "cannot be written (No space left on device)" in result.stderr
    assert {file.name: file.read_bytes() for file in out.iterdir()}.items() <= {
        file.name: file.read_bytes() for file in whole.iterdir()
    }.items()


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (errno.EACCES, "(Permission denied); set that right, or choose another --out; then the same command again "),
        (errno.ENOSPC, "(No space left on device): 1.2 MB are free, an image takes up to 0.1 MB, and the 4 that are "
         "left up to 0.4 MB; make room, or choose another --out; then the same command again "),
        (errno.EDQUOT, "(Disk quota exceeded): 1.2 MB are free, an image takes up to 0.1 MB, and the 4 that are "
         "left up to 0.4 MB; make room, or choose another --out; then the same command again "),
    ],
)  # fmt: skip
def test_what_cannot_be_written_says_why(run, tmp_path, monkeypatch, code, line):
    monkeypatch.setattr(resume, "free_bytes", lambda _path: 1_200_000)
    commit, calls = StoreWriter.commit, count(1)

    def failing(self: StoreWriter, *args: object) -> None:
        if next(calls) == 2:
            raise OSError(code, os.strerror(code))
        commit(self, *args)

    monkeypatch.setattr(StoreWriter, "commit", failing)
    monkeypatch.setattr(infer_run, "background_threads", lambda _device: 1)
    fails(
        run(),
        f"pipe: {tmp_path / 'store'}: image '1.png' cannot be written {line}goes on where it stopped",
    )


def test_a_disk_with_room_enough_is_not_mentioned(run):
    assert "are free" not in run().stderr


@pytest.mark.parametrize(("flags", "images"), [((), 5), (("--shard", "0/2"), 3), (("--limit", "2"), 2)])
def test_a_disk_with_little_room_is_pointed_out(run, tmp_path, monkeypatch, flags, images):
    monkeypatch.setattr(room, "free_bytes", lambda _path: 12_345)
    result = run(*flags)
    assert result.exit_code == 0
    each = most_image_bytes(open_store(tmp_path / "store").schema)
    assert result.stderr.splitlines()[1] == (
        f"{tmp_path}: {images} images may need {images * each / 1000:.1f} kB, should they not compress, and 12.3 kB "
        "are free; a full disk ends the run, and it goes on after room is made"
    )
    assert "are free" not in run(*flags).stderr  # nothing is missing any more
    assert ("are free" in run(*flags, "--overwrite").stderr) == ("--shard" not in flags)


def test_what_an_overwriting_run_gives_up_counts_as_free(run, tmp_path, monkeypatch):
    run()
    store = open_store(tmp_path / "store")
    needed = 5 * most_image_bytes(store.schema)
    free = needed - occupied_bytes(store.path)
    for little in (0, 1):
        monkeypatch.setattr(room, "free_bytes", lambda _path, little=little: free - little)
        assert ("are free" in run("--overwrite").stderr) == bool(little)


@pytest.mark.parametrize("kind", ["pixel", "mask"])
@pytest.mark.parametrize("shape", [(5, 8, 12), (5, 701, 512)])
def test_no_image_takes_up_more_than_the_most(tmp_path, kind, shape):
    """Bytes that no codec makes smaller; what the file system gives to files and folders is counted."""
    schema = replace(make_schema(kind, "float32", images=["ü" * 200 + ".png"]), logits_shape=shape)
    noise = np.random.default_rng(0)
    values = noise_values(schema, 0, (0, 1))
    for name, array in values.items():
        random = np.frombuffer(noise.bytes(array.nbytes), array.dtype).reshape(array.shape)
        values[name] = np.where(np.isfinite(random), random, 1).astype(array.dtype)
    StoreWriter(tmp_path / "store", schema).commit(0, values, {"image_sha256": "0" * 64, "mask_sha256": "0" * 64})
    paths = [*(tmp_path / "store").glob("*/c/0"), *(tmp_path / "store").glob("*/c/0/**/*")]
    paths.append(tmp_path / "store" / "records" / "0.json")
    assert len(paths) > 10
    assert sum(max(4096, 512 * path.stat().st_blocks) for path in paths) <= most_image_bytes(schema)
    assert stored_bytes(open_store(tmp_path / "store")) > 0.9 * schema.image_bytes()


def test_the_most_is_little_more_than_the_values(tmp_path):
    schema = replace(
        make_schema("pixel"), input_size=(512, 1024), logits_shape=(5, 512, 1024), label_shape=(720, 1280)
    )
    assert schema.image_bytes() < most_image_bytes(schema) < 1.03 * schema.image_bytes()
    assert free_bytes(tmp_path / "not" / "there") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.01)
