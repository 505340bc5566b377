"""Format version 2: images of several sizes and windows, padding that is not stored, names in a file of their own."""

import json
import shutil
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
from conftest import content
from stores import fill, make_schema, noise_values
from test_store import forge
from test_verify import sign_again

from logitpipe.cache import IntegrityError, StoreWriter, open_dataset, open_store
from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.codec import encode, xxh3
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.records import ArrayRecord
from logitpipe.cache.format.schema import fingerprint
from logitpipe.cache.reading.verify import check_image, check_metadata, stray_files
from logitpipe.cache.writing.pack import image_members, metadata_members, write_zip
from logitpipe.cache.writing.repair import mend_group

PIXEL, MASK = make_schema("pixel", version=2), make_schema("mask", version=2)
WIDE = replace(MASK, windows=3, images=("one.png", "three.png", "blind.png"))
BOX = (0, 0, 8, 12)


def geometry(**sizes: Any) -> Geometry:
    plain = {"picture": (12, 16), "resized": (8, 12), "padded": (8, 12), "logits": (8, 12), "labels": (12, 16)}
    return Geometry(**plain | {"preview": (4, 6), "windows": (BOX,)} | sizes)


def values_of(schema: version2.Schema, of: Geometry, seed: int) -> dict[str, np.ndarray]:
    """Noise of the sizes that a geometry says."""
    noise = np.random.default_rng(seed)
    values = {}
    for name, spec in schema.arrays().items():
        if name not in ("geometry", "window_box"):
            values[name] = (3 * noise.standard_normal(schema.extent(name, of))).astype(spec.dtype)
    return values


SMALL = geometry(picture=(9, 10), resized=(5, 7), padded=(6, 8), logits=(3, 4), labels=(9, 10), preview=(3, 4))
THREE = geometry(windows=(BOX, (0, 4, 8, 12), (0, 2, 7, 9)), logits=(4, 12))
BLIND = geometry(labels=(0, 0))
GEOMETRIES = (SMALL, THREE, BLIND)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A store of a mask network: one window, three windows, no mask; each of other sizes."""
    writer = StoreWriter(tmp_path / "store", WIDE)
    for image, each in enumerate(GEOMETRIES):
        writer.commit(image, values_of(WIDE, each, image), {}, each)
    return tmp_path / "store"


def files_of(path: Path, array: str) -> set[str]:
    return {file.name for file in (path / array).glob("c.*")}


def test_images_of_several_sizes_and_windows_come_back_as_they_were(wide):
    store = open_store(wide)
    for image, each in enumerate(GEOMETRIES):
        expected = values_of(WIDE, each, image)
        assert store.image(image) == each
        for window in range(len(each.windows)):
            for name in ("mask_logits", "class_logits"):
                assert np.array_equal(store.read(name, image, window=window), expected[name][window])
        assert np.array_equal(store.labels(image), expected["labels"])
        assert np.array_equal(store.read("preview", image), expected["preview"])
        with pytest.raises(IndexError, match=rf"^image {image} has {len(each.windows)} windows$"):
            store.read("mask_logits", image, window=len(each.windows))


def test_a_chunk_that_lies_in_padding_is_not_stored(wide):
    """Chunks have three rows; the images have 3 rows in one window, 4 rows in three, 8 rows in one."""
    assert files_of(wide, "mask_logits") == {
        "c.0.0.0.0.0",
        *(f"c.1.{window}.0.{rows}.0" for window in range(3) for rows in range(2)),
        *(f"c.2.0.0.{rows}.0" for rows in range(3)),
    }
    assert files_of(wide, "class_logits") == {"c.0.0.0.0", "c.1.0.0.0", "c.1.1.0.0", "c.1.2.0.0", "c.2.0.0.0"}
    assert files_of(wide, "labels") == {"c.0.0.0", "c.1.0.0"}
    store = open_store(wide)
    for image in range(3):
        assert check_image(store, image).damages == []
    assert (check_metadata(store), stray_files(store)) == ([], [])


def test_readers_of_zarr_see_fill_values_where_there_is_padding(wide):
    own = values_of(WIDE, SMALL, 0)["mask_logits"]
    group = zarr.open_group(wide, mode="r")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{wide}/mask_logits/"}}
    arrays = (group["mask_logits"], tensorstore.open(spec, read=True).result(), open_dataset(wide)["mask_logits"])
    for array in arrays:
        found = np.asarray(array[0])
        assert np.array_equal(found[0, :, :3, :4], own[0])
        assert np.isnan(found[0, :, 3:]).all()
        assert np.isnan(found[0, :, :, 4:]).all()
        assert np.isnan(found[1:]).all()
    assert (np.asarray(group["labels"][2]) == 255).all()
    assert xarray.open_zarr(wide)["geometry"].values[1].tolist() == [
        [12, 16],
        [8, 12],
        [8, 12],
        [4, 12],
        [12, 16],
        [4, 6],
    ]


def test_a_zip_of_it_reads_the_same(wide, tmp_path):
    store = open_store(wide)
    write_zip(tmp_path / "s.zip", [metadata_members(store), *(image_members(store, image) for image in range(3))])
    packed = open_store(tmp_path / "s.zip")
    assert packed.completed() == [0, 1, 2]
    assert set(packed.files.all_keys()) == content(wide).keys()
    assert np.array_equal(packed.read("mask_logits", 1, window=2), store.read("mask_logits", 1, window=2))


@pytest.mark.parametrize(
    ("sizes", "fault"),
    [
        ({"logits": (9, 12)}, "logits of 9x12 do not fit the store's 8x12"),
        ({"labels": (12, 17)}, "labels of 12x17 do not fit the store's 12x16"),
        ({"padded": (8, 13)}, "padded of 8x13 do not fit the store's 8x12"),
        ({"preview": (5, 6)}, "preview of 5x6 do not fit the store's 4x6"),
        ({"windows": (BOX,) * 4}, "4 windows do not fit the store's 3"),
    ],
)
def test_an_image_larger_than_the_largest_is_not_committed(wide, sizes, fault):
    before = content(wide)
    with pytest.raises(ValueError, match=f"^{fault}$"):
        StoreWriter(wide, WIDE).commit(0, values_of(WIDE, SMALL, 0), {}, geometry(**sizes))
    assert content(wide) == before


def put(store: Path, array: str, values: np.ndarray, key: str) -> None:
    """Put other values in the place of a chunk and commit them as if nothing were wrong."""
    (store / array / key).write_bytes(encode(values).to_bytes())
    sign_again(store, 0, **{array: ArrayRecord(None, {key: xxh3(values)})})


SIZES = [[12, 16], [8, 12], [8, 12], [8, 12], [12, 16], [4, 6]]
LIES: dict[str, list[Any]] = {
    "sizes must be positive": [
        [*SIZES[:3], [0, 12], *SIZES[4:]],
        [*SIZES[:4], [0, 16], SIZES[5]],
        [[-1, 2], *SIZES[1:]],
    ],
    "do not fit the store's": [[*SIZES[:3], [1 << 30, 12], *SIZES[4:]], [*SIZES[:4], [13, 16], SIZES[5]]],
}


@pytest.mark.parametrize(("fault", "sizes"), [(fault, sizes) for fault, lies in LIES.items() for sizes in lies])
def test_sizes_that_cannot_be_are_damage(tmp_path, fault, sizes):
    path = fill(tmp_path / "store", PIXEL)
    put(path, "geometry", np.array(sizes, np.int32), "c.0.0.0")
    with pytest.raises(IntegrityError) as caught:
        open_store(path).read("logits", 0)
    assert fault in caught.value.fault
    assert (caught.value.image, caught.value.file) == ("a.png", "geometry/c.0.0.0")
    [damage] = check_image(open_store(path), 0).damages
    assert (damage.file, damage.kind) == ("geometry/c.0.0.0", caught.value.fault)


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [4, 0, 2, 5], [-1, 0, 5, 5], [0, 0, 0, 0]])
def test_windows_that_cannot_be_are_damage(tmp_path, box):
    path = fill(tmp_path / "store", PIXEL)
    put(path, "window_box", np.array([box], np.int32), "c.0.0.0")
    with pytest.raises(IntegrityError, match="windows must cover some of the picture"):
        open_store(path).image(0)


def test_other_sizes_of_sound_bytes_do_not_hide_chunks(tmp_path):
    """Who makes an image smaller than its record says is found by the chunks that the record names."""
    path = fill(tmp_path / "store", PIXEL)
    put(path, "geometry", np.array([*SIZES[:3], [3, 12], *SIZES[4:]], np.int32), "c.0.0.0")
    [damage] = check_image(open_store(path), 0).damages
    assert damage.file == "records/0.json"


def test_a_chunk_with_the_checksum_of_other_values_is_found(tmp_path):
    """The checksum in a chunk is that of its own bytes: the record knows whose values they should be."""
    path = fill(tmp_path / "store", PIXEL)
    shutil.copy(path / "logits/c.1.0.0.0", path / "logits/c.0.0.0.0")
    with pytest.raises(IntegrityError, match=r"values of digest \w{32} were committed, of \w{32} were found$"):
        open_store(path).read("logits", 0)
    assert [damage.file for damage in check_image(open_store(path), 0).damages] == ["logits/c.0.0.0.0"]


def test_damaged_sizes_are_told_with_all_else_that_is_wrong(tmp_path):
    path = fill(tmp_path / "store", PIXEL)
    for key in ("geometry/c.0.0.0", "logits/c.0.0.2.0"):
        (path / key).write_bytes(b"?" * 40)
    check = check_image(open_store(path), 0)
    assert [damage.file for damage in check.damages] == ["logits/c.0.0.2.0", "geometry/c.0.0.0"]


def test_records_of_version_1_are_none(tmp_path):
    store = open_store(fill(tmp_path / "store", PIXEL))
    forge(store, 0, lambda record: record["arrays"]["logits"].update(sha256="0" * 64))
    with pytest.raises(IntegrityError, match="it is one of another format version"):
        store.record(0)


@pytest.mark.parametrize("damage", [b"", b"[]", b'["a.png", "b.png"]', None])
def test_names_that_are_not_those_of_the_store_are_found_and_mended(tmp_path, damage):
    path = fill(tmp_path / "store", PIXEL)
    whole, file = content(path), path / "images.json"
    file.unlink() if damage is None else file.write_bytes(damage)
    with pytest.raises(IntegrityError) as caught:
        open_store(path)
    assert (caught.value.store, caught.value.file) == (path, "images.json")
    assert [found.file for found in mend_group(path, PIXEL)] == ["images.json"]
    assert content(path) == whole


@pytest.mark.slow
def test_a_million_names_are_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    names = tuple(f"scene/{number:09}.png" for number in range(10**6))
    path = fill(tmp_path / "store", replace(PIXEL, images=names), images=[0, 999_999])
    assert (path / "zarr.json").stat().st_size < 20_000
    started = time.process_time()
    store = open_store(path)
    assert store.completed() == [0, 999_999]
    assert store.schema.images[-1] == "scene/000999999.png"
    assert time.process_time() - started < 5  # it takes 1


def test_facts_of_the_data_set_come_back(tmp_path):
    facts: dict[str, Any] = {
        "layout": "cityscapes",
        "label_codes": "normal=0-1,anomaly=2,void=255",
        "closed_set_codes": {"road": 7},
        "selection": "val/*",
        "limit": 7,
        "void_class": None,
        "outlier_class": 4,
        "preprocessing": {"resize": {"rule": "short", "size": 512}, "mean": [0.5, 0.5, 0.5], "range": [0, 1]},
    }
    path = fill(tmp_path / "store", replace(PIXEL, **facts))
    found = open_store(path).schema
    assert {name: getattr(found, name) for name in facts} == facts
    assert found == replace(PIXEL, **facts)


BAD: dict[str, list[Any]] = {
    "layout": [None, 1],
    "label_codes": [[], 3],
    "closed_set_codes": ["x"],
    "selection": [3],
    "limit": [0, -1, 1.5, "1"],
    "void_class": [5, -1, True],
    "outlier_class": [4, 5, 1.0],
    "sigmoid_at": ["masks", "elsewhere", [8, 12]],
    "windows": [0, 2, 1.0],
    "chunk_rows": [0, 9, None],
    "chunk_hash": ["sha256", None],
    "preview_size": [[4], [0, 6], "ab"],
    "input_size": [[1 << 40, 12, 1]],
    "logits_shape": [[4, 8, 12], [5, 1 << 30, 12]],
    "label_shape": [[0, 0], [1 << 16, 1 << 16]],
}


@pytest.mark.parametrize(("name", "lie"), [(name, lie) for name, lies in BAD.items() for lie in lies])
def test_a_lie_with_a_fingerprint_is_found(tmp_path, name, lie):
    path = fill(tmp_path / "store", PIXEL, images=[])
    StoreWriter(path, PIXEL).commit(0, noise_values(PIXEL, 0, (0, 1)), {})
    document = json.loads((path / "zarr.json").read_text())
    attributes = document["attributes"] | {name: lie}
    del attributes["fingerprint"]
    document["attributes"] = attributes | {"fingerprint": fingerprint(attributes)}
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="the attributes do not describe a store"):
        open_store(path)


def test_every_field_is_an_attribute_but_the_names(tmp_path):
    attributes = open_store(fill(tmp_path / "store", PIXEL, images=[0])).schema.attributes()
    extra = {"format", "format_version", "fingerprint", "image_count", "images_sha256"}
    assert attributes.keys() - extra == {field.name for field in fields(version2.Schema)} - {"images"}


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_a_store_of_version_1_is_gone_on_with(tmp_path, kind):
    earlier, now = make_schema(kind), make_schema(kind, version=2)
    assert isinstance(earlier, version1.Schema)
    undisturbed, path = fill(tmp_path / "undisturbed", earlier), fill(tmp_path / "store", earlier, images=[0])
    writer = StoreWriter(path, now, earlier=earlier)
    assert writer.schema == earlier
    for image in (1, 2):
        writer.commit(image, noise_values(now, image, (0, 1, 255)), {}, geometry(preview=(4, 6)))
    assert content(path) == content(undisturbed)
    assert StoreWriter(tmp_path / "new", now, earlier=earlier).schema == now


def test_a_store_that_is_cut_into_other_chunks_is_gone_on_with(tmp_path):
    undisturbed, path = fill(tmp_path / "undisturbed", PIXEL), fill(tmp_path / "store", PIXEL, images=[0])
    writer = StoreWriter(path, replace(PIXEL, chunk_rows=8))
    for image in (1, 2):
        writer.commit(image, noise_values(PIXEL, image, (0, 1, 255)), {})
    assert content(path) == content(undisturbed)


def test_the_metadata_of_a_store_that_is_cut_into_other_chunks_is_mended(tmp_path):
    path = fill(tmp_path / "store", PIXEL)
    whole = content(path)
    for damage in (b"", b"{"):
        (path / "zarr.json").write_bytes(damage)
        assert [found.file for found in mend_group(path, replace(PIXEL, chunk_rows=8))] == ["zarr.json"]
        assert content(path) == whole


def test_an_image_of_one_chunk_is_read_as_it_was_written(tmp_path):
    whole = replace(PIXEL, chunk_rows=8)
    store = open_store(fill(tmp_path / "store", whole))
    for image in range(3):
        expected = noise_values(whole, image, (0, 1, 255))["logits"]
        found = store.read("logits", image)
        assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())
        assert found.flags.writeable
        assert list(store.record(image).arrays["logits"].chunks) == [f"c.{image}.0.0.0"]
