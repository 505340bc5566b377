"""`pipe pack`: one zip, whole or not there, of a sound store; and every reading command on it."""

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import content, fails
from stores import fill, make_schema
from zips import content_of

from logitpipe.cache import open_store
from logitpipe.cache.format import version2
from logitpipe.cache.writing import pack
from logitpipe.cli import cli
from logitpipe.console.advice import DAMAGED_ADVICE
from logitpipe.stores.packing import default_zip


def call(command: str, *words: object) -> Result:
    return CliRunner().invoke(cli, [command, *map(str, words)])


@pytest.fixture(params=["pixel", "mask"])
def store(request, tmp_path) -> Path:
    return fill(tmp_path / "enet.zarr", make_schema(request.param))


@pytest.fixture
def zipped(store) -> Path:
    assert call("pack", store).exit_code == 0
    return store.with_name("enet.zarr.zip")


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "enet.zarr")


def test_the_zip_lies_beside_the_store_and_is_its_files(store):
    result = call("pack", store)
    assert (result.exit_code, result.stdout) == (0, f"{store}.zip\n")
    assert result.stderr.splitlines()[-1].startswith("Tiny: 3 images, ")
    assert content_of(Path(f"{store}.zip")) == content(store)
    assert left_behind(store.parent) == ["enet.zarr.zip"]


def test_the_order_of_members_is_that_of_a_commit(zipped):
    names = list(content_of(zipped))
    arrays = list(open_store(zipped).arrays)
    assert names[: len(arrays) + 1] == [*(f"{array}/zarr.json" for array in arrays), "zarr.json"]
    assert [name for name in names if name.startswith("records/")] == [f"records/{i}.json" for i in range(3)]
    for image in range(3):
        record = names.index(f"records/{image}.json")
        assert {names.index(name) < record for name in names if f"/c/{image}/" in f"{name}/"} == {True}


def test_what_describes_all_images_is_made_once_and_not_for_each(tmp_path, monkeypatch):
    """It names every image: made for each of them, packing would take the square of their number."""
    asked: dict[int, int] = {}
    for count in (2, 9):
        names = [f"{i}.png" for i in range(count)]
        store = fill(tmp_path / f"{count}.zarr", make_schema("pixel", images=names, version=2))
        calls, attributes = [], version2.Schema.attributes
        with monkeypatch.context() as patch:
            patch.setattr(version2.Schema, "attributes", lambda self: calls.append(1) or attributes(self))  # noqa: B023
            assert call("pack", store).exit_code == 0
        asked[count] = len(calls)
    assert asked[2] == asked[9] > 0


def test_equal_stores_give_equal_zips(store, tmp_path):
    copy = tmp_path / "elsewhere" / "other.zarr"
    shutil.copytree(store, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))
    (copy / "notes.txt").write_text("not part of the store", encoding="utf-8")
    (copy / "records" / "1.json.0.partial").touch()
    assert call("pack", store, "--out", tmp_path / "a.zip").exit_code == 0
    assert call("pack", copy, "--out", tmp_path / "b.zip").exit_code == 0
    assert call("pack", tmp_path / "a.zip", "--out", tmp_path / "c.zip").exit_code == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.zip", "b.zip", "c.zip"))
    assert a == b == c
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        facts = {(info.date_time, info.create_system, info.external_attr >> 16) for info in archive.infolist()}
    assert facts == {((1980, 1, 1, 0, 0, 0), 3, 0o644)}


@pytest.mark.parametrize("flags", [["--json"], ["--json", "--exact"], ["--json", "--protocol", "legacy"]])
def test_the_figures_from_the_zip_are_those_from_the_folder(store, zipped, flags):
    temperatures = ["--temperatures", "0.1,1,3"]
    from_folder, from_zip = (call("score", path, *temperatures, *flags) for path in (store, zipped))
    assert from_folder.exit_code == from_zip.exit_code == 0
    rows, others = (json.loads(result.stdout)["results"] for result in (from_folder, from_zip))
    assert {row.pop("store") for row in rows} == {str(store)}
    assert {row.pop("store") for row in others} == {str(zipped)}
    assert len(rows) > 5
    assert rows == others


def test_show_verify_and_maps_say_of_the_zip_what_they_say_of_the_folder(store, zipped, tmp_path):
    for command in ("show", "verify"):
        folder, archive = call(command, store), call(command, zipped)
        assert folder.exit_code == archive.exit_code == 0
        assert archive.stdout == folder.stdout.replace(str(store), str(zipped))
    for path, out in ((store, "a"), (zipped, "b")):
        assert call("maps", path, "--method", "msp", "--out", tmp_path / out).exit_code == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert len(content(tmp_path / "a")) == 3


def test_an_incomplete_store_is_packed_on_demand_only(tmp_path):
    store = fill(tmp_path / "enet.zarr", make_schema("pixel"), images=[0, 2])
    advice = "run the same `pipe infer` again to finish it, or take what is there with --allow-incomplete"
    fails(call("pack", store), f"pipe: {store}: 1 of 3 images are missing (b.png); {advice}", 3)
    assert left_behind(tmp_path) == []
    result = call("pack", store, "--allow-incomplete")
    assert (result.exit_code, result.stdout) == (3, f"{store}.zip\n")
    assert result.stderr.splitlines()[-1] == "pipe: 1 images were missing; the zip holds the others"
    assert content_of(Path(f"{store}.zip")) == content(store)
    assert open_store(Path(f"{store}.zip")).completed() == [0, 2]


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("preview/c/1/0/0/0", "image 'b.png': preview/c/1/0/0/0"),
        ("records/2.json", "image 'c.png': records/2.json"),
        ("labels/zarr.json", "labels/zarr.json"),
    ],
)
def test_a_damaged_store_is_not_packed(store, key, what):
    data = bytearray((store / key).read_bytes())
    data[len(data) // 2] ^= 1
    (store / key).write_bytes(data)
    result = call("pack", store)
    assert (result.exit_code, result.stdout) == (4, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"pipe: {store}: {what}: ")
    assert line.endswith(f", so the store was not packed; {DAMAGED_ADVICE}")
    assert left_behind(store.parent) == []


def test_a_missing_chunk_is_not_packed_around(store):
    (store / "preview/c/1/0/0/0").unlink()
    what = "image 'b.png': preview/c/1/0/0/0: the chunk is missing"
    advice = f"so the store was not packed; {DAMAGED_ADVICE}"
    fails(call("pack", store), f"pipe: {store}: {what}, {advice}", 4)
    assert left_behind(store.parent) == []


def test_an_existing_file_is_not_replaced(store, zipped):
    before = zipped.read_bytes()
    fails(call("pack", store), f"pipe: {zipped} exists; remove it, or name another file with --out")
    assert zipped.read_bytes() == before


def test_what_is_no_store_is_not_packed(tmp_path):
    line = f"pipe: {tmp_path}: expected a logit store, but there is no zarr.json; `pipe infer` makes one"
    fails(call("pack", tmp_path), line)


def test_a_folder_that_is_not_there_is_an_error(store, tmp_path):
    out = tmp_path / "nowhere" / "a.zip"
    fails(call("pack", store, "--out", out), f"pipe: {out}: the zip cannot be written (No such file or directory)")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_of_a_zip(store, monkeypatch, step):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
        fails(call("pack", store), f"pipe: {store}.zip: the zip cannot be written (No space left on device)")
    assert left_behind(store.parent) == []
    assert call("pack", store).exit_code == 0


def test_a_zip_is_durable_before_it_has_its_name(store, monkeypatch):
    done: list[str] = []
    fsync, replace, sync = os.fsync, Path.replace, pack.sync_folder
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    monkeypatch.setattr(pack, "sync_folder", lambda path: (done.append(f"sync {path.name}"), sync(path)))
    assert call("pack", store).exit_code == 0
    assert done == ["fsync", "replace", f"sync {store.parent.name}", "fsync"]  # the last one is that of the folder


@pytest.mark.parametrize(
    ("place", "name"),
    [(Path("a/enet.zarr"), "a/enet.zarr.zip"), ("s3://bucket/a/enet.zarr", "enet.zarr.zip"), ("gs://b/x/", "x.zip")],
)
def test_where_a_zip_goes(place, name):
    assert default_zip(place) == Path(name)


def test_the_zip_of_the_working_folder_lies_beside_it(store, monkeypatch):
    monkeypatch.chdir(store)
    assert call("pack", ".").stdout == f"{store}.zip\n"
