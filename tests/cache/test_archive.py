"""A store in a zip: the same values as from the folder, from any thread; and zips that mean harm."""

import os
import random
import shutil
import tracemalloc
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from conftest import content, refused
from stores import fill, make_schema, noise_values
from zarr.storage import ZipStore
from zips import patched, recompressed, with_member

from logitpipe.cache import IntegrityError, PipeError, open_dataset, open_store
from logitpipe.cache.files import archive as files_archive
from logitpipe.cache.format import version1
from logitpipe.cache.reading.verify import check_image, check_metadata, stray_files
from logitpipe.cache.writing.pack import image_members, metadata_members, write_zip

CODES = (0, 1, 255)
CHUNK = "logits/c/1/0/2/0"


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch):
    """Cut the logits of an image into three chunks; do not wait for the disk."""
    monkeypatch.setattr(version1, "rows_per_chunk", lambda *_: 3)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(params=["pixel", "mask"])
def folder(request, tmp_path) -> Path:
    return fill(tmp_path / "enet.zarr", make_schema(request.param))


def packed(folder: Path) -> Path:
    """The zip of a store of three images."""
    store, target = open_store(folder), folder.with_name("store.zip")
    write_zip(target, [metadata_members(store), *(image_members(store, image) for image in store.completed())])
    return target


@pytest.fixture
def honest(tmp_path) -> Path:
    return packed(fill(tmp_path / "enet.zarr", make_schema("pixel")))


def test_a_zip_holds_the_files_of_the_folder_and_reads_as_it(folder):
    in_folder, in_zip = open_store(folder), open_store(packed(folder))
    assert in_zip.schema == in_folder.schema
    assert sorted(in_zip.files.all_keys()) == sorted(in_folder.files.all_keys()) == sorted(content(folder))
    assert in_zip.files.sizes(content(folder)) == {key: len(data) for key, data in content(folder).items()}
    assert {key: in_zip.files.read(key) for key in content(folder)} == content(folder)
    for image in range(3):
        assert in_zip.record(image) == in_folder.record(image)
        assert np.array_equal(in_zip.labels(image), in_folder.labels(image))
        for name in in_folder.arrays:
            assert np.array_equal(in_zip.read(name, image), in_folder.read(name, image))
        assert check_image(in_zip, image) == check_image(in_folder, image)
    assert (check_metadata(in_zip), stray_files(in_zip)) == ([], [])


def test_what_is_not_in_the_zip_is_absent(honest):
    files = open_store(honest).files
    assert files.read("records/3.json") is None
    assert files.sizes(["records/2.json", "records/3.json"]).keys() == {"records/2.json"}


def test_many_threads_read_one_zip(honest):
    store = open_store(honest)
    expected = [noise_values(store.schema, image, CODES)["logits"] for image in range(3)]
    with ThreadPoolExecutor(8) as pool:
        for image, found in enumerate(pool.map(lambda i: store.read("logits", i % 3), range(120))):
            assert np.array_equal(found, expected[image % 3])


@pytest.mark.slow
def test_zarr_python_and_xarray_read_the_zip(folder):
    path = packed(folder)
    opened = open_dataset(path)
    assert opened.equals(open_dataset(folder))
    with ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        dataset = xarray.open_zarr(store)
        for name in open_store(folder).arrays:
            expected = zarr.open_group(str(folder), mode="r")[name][:]
            np.testing.assert_array_equal(group[name][:], expected)
            np.testing.assert_array_equal(dataset[name], expected)
            np.testing.assert_array_equal(opened[name], expected)


def test_a_stored_zip_of_another_program_is_read_with_its_folders(honest, tmp_path):
    folder = tmp_path / "enet.zarr"
    with zipfile.ZipFile(tmp_path / "by_hand.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    store = open_store(tmp_path / "by_hand.zip")
    store.require_complete()
    assert np.array_equal(store.read("logits", 1), open_store(honest).read("logits", 1))
    assert stray_files(store) == []


def test_a_zip_behind_other_bytes_is_read(honest, tmp_path):
    moved = tmp_path / "moved.zip"
    moved.write_bytes(b"#!/bin/sh\n" + honest.read_bytes())
    assert np.array_equal(open_store(moved).read("logits", 1), open_store(honest).read("logits", 1))


def test_a_larger_zip_is_read_and_written_in_its_64_bit_form(tmp_path, monkeypatch):
    folder = fill(tmp_path / "enet.zarr", make_schema("pixel"))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5)
    large = packed(folder)
    assert b"PK\x06\x06" in large.read_bytes()  # the end record that only the 64-bit form has
    store = open_store(large)
    assert all(check_image(store, image).damages == [] for image in range(3))


@pytest.mark.parametrize(
    "name",
    ["../evil", "logits/../../evil", "/etc/evil", "a//b", "./zarr.json", "a\\..\\evil", "C:/evil", "a\0b", ".."],
)
def test_a_name_that_leads_elsewhere_is_refused(honest, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    path = with_member(honest, tmp_path / "evil.zip", name)
    with refused(f"{path}: {name!r} is no name that a store has; such a zip is not read"):
        open_store(path)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_a_name_that_is_there_twice_is_refused(honest, tmp_path):
    with warnings.catch_warnings(action="ignore"):  # zipfile warns of what is to be forged
        path = with_member(honest, tmp_path / "twice.zip", "records/1.json")
    with refused(f"{path}: 'records/1.json' is in the zip 2 times, and once was expected"):
        open_store(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_member_is_refused_and_never_unpacked(honest, tmp_path, method):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", method) as archive:
        archive.writestr("zarr.json", bytes(64 << 20))
    tracemalloc.start()
    with refused(
        f"{bomb}: 'zarr.json' is compressed once more, and must be stored as it is; make the zip with `pipe pack`"
    ):
        open_store(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    path = recompressed(honest, tmp_path / "deflated.zip", method)
    with pytest.raises(PipeError, match="is compressed once more"):
        open_store(path)


def test_an_encrypted_member_is_refused(honest, tmp_path):
    path = patched(honest, tmp_path / "secret.zip", CHUNK, 8, "<H", 1)
    with refused(f"{path}: {CHUNK!r} is encrypted, and a store is not; make the zip with `pipe pack`"):
        open_store(path)


@pytest.mark.parametrize("size", [1 << 20, (1 << 32) - 2])
def test_a_size_that_lies_is_refused_and_no_room_is_made_for_it(honest, tmp_path, size):
    path = patched(honest, tmp_path / "large.zip", CHUNK, 20, "<II", size, size)
    tracemalloc.start()
    with refused(f"{path}: {CHUNK!r} has no room for its {size} bytes in the zip"):
        open_store(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_two_sizes_are_refused(honest, tmp_path):
    length = len(open_store(honest).files.read(CHUNK))
    path = patched(honest, tmp_path / "two.zip", CHUNK, 24, "<I", length + 1)
    with refused(f"{path}: {CHUNK!r} has two sizes, {length} and {length + 1} bytes"):
        open_store(path)


def test_members_that_share_bytes_are_refused(honest, tmp_path):
    data = honest.read_bytes()
    first = data.index(CHUNK.encode()) - 30
    path = patched(honest, tmp_path / "shared.zip", CHUNK.replace("/2/", "/1/"), 42, "<I", first)
    with pytest.raises(IntegrityError, match=r"has no room for its \d+ bytes in the zip"):
        open_store(path)


def test_a_member_that_lies_elsewhere_is_found_when_it_is_read(honest, tmp_path):
    data = bytearray(honest.read_bytes())
    data[data.index(CHUNK.encode())] ^= 1  # the name in the member's own header
    path = tmp_path / "moved.zip"
    path.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        open_store(path).read("logits", 1)
    assert (caught.value.store, caught.value.file, caught.value.image) == (path, CHUNK, "b.png")
    assert caught.value.fault == "the zip does not hold it where its directory says"


def test_a_directory_too_large_for_memory_is_refused(honest, monkeypatch):
    monkeypatch.setattr(files_archive, "MOST_DIRECTORY_BYTES", 100)
    with refused(f"{honest}: the zip is cut off or damaged (its directory takes more than 100 bytes)"):
        open_store(honest)


@pytest.mark.parametrize("data", [b"", b"PK", b"text", b"\x1f\x8b" + bytes(500), bytes(5000)])
def test_what_is_no_zip_is_refused(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with refused(f"{path}: expected a logit store, but it is neither a folder nor a zip file"):
        open_store(path)


def test_a_zip_without_a_store_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with refused(f"{tmp_path}/other.zip: expected a logit store, but there is no zarr.json; `pipe infer` makes one"):
        open_store(tmp_path / "other.zip")


def test_a_zip_of_the_folder_itself_reads_as_one_of_its_files(folder):
    with zipfile.ZipFile(folder.with_name("folder.zip"), "w") as archive:
        archive.mkdir(folder.name)
        for key, data in content(folder).items():
            archive.writestr(f"{folder.name}/{key}", data)
    in_folder, in_zip = open_store(folder), open_store(folder.with_name("folder.zip"))
    assert in_zip.schema == in_folder.schema
    assert {key: in_zip.files.read(key) for key in content(folder)} == content(folder)
    assert [check_image(in_zip, image) for image in range(3)] == [check_image(in_folder, image) for image in range(3)]
    assert stray_files(in_zip) == []


def test_a_zip_of_several_stores_is_none(folder):
    with zipfile.ZipFile(folder.with_name("two.zip"), "w") as archive:
        for name in ("a.zarr", "b.zarr"):
            archive.write(folder / "zarr.json", f"{name}/zarr.json")
    with pytest.raises(PipeError, match=r"there is no zarr\.json"):
        open_store(folder.with_name("two.zip"))


def test_every_truncation_is_damage(honest, tmp_path):
    data, path = honest.read_bytes(), tmp_path / "short.zip"
    for size in [*range(4, len(data), 211), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(IntegrityError, match="the zip is cut off or damaged"):
            open_store(path)


def test_a_zip_that_goes_away_or_shrinks_is_an_error(honest):
    store, data = open_store(honest), honest.read_bytes()
    honest.write_bytes(data[:100])
    with pytest.raises(IntegrityError, match=r"logits/c/0/0/0/0: the zip does not hold it where its directory says"):
        store.read("logits", 0, open_store(honest.with_name("enet.zarr")).record(0))
    honest.unlink()
    with refused(f"{honest}: cannot be read (No such file or directory)"):
        store.record(0)


def test_a_flipped_bit_anywhere_is_an_error_or_changes_no_value(tmp_path):
    """Flips in the zip's own structure and in the store's files alike, 600 of them."""
    schema = make_schema("pixel", images=["a.png"])
    honest = packed(fill(tmp_path / "enet.zarr", schema))
    data, path, dice = honest.read_bytes(), tmp_path / "flipped.zip", random.Random(0)
    expected, refusals = noise_values(schema, 0, CODES), 0
    for _ in range(600):
        flipped = bytearray(data)
        flipped[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        try:
            store = open_store(path)
            assert store.schema == schema
            assert np.array_equal(store.read("logits", 0), expected["logits"])
            assert np.array_equal(store.labels(0), expected["labels"])
        except PipeError as error:
            assert str(error).startswith(str(path))
            refusals += 1
    assert refusals > 300


def test_no_descriptor_stays_open(honest):
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here")
    store = open_store(honest)
    store.read("logits", 0)
    shutil.copy(honest, honest.with_name("copy.zip"))
    assert str(honest) not in [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
