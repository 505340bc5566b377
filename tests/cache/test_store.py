"""Reading: what was committed or an error that names image and file, and nothing between."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conftest import refused
from stores import LABEL_SIZE, fill, make_schema, noise_values

from logitpipe.cache import IntegrityError, PipeError, Schema, Store, StoreWriter, open_store
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.format import version1
from logitpipe.cache.format.schema import canonical, fingerprint
from logitpipe.cache.reading.store import image_bytes, raw_bytes, readers, stored_bytes

CODES = (0, 1, 255)
CHUNK = "logits/c/1/0/2/0"
KINDS = [(kind, precision) for kind in ("pixel", "mask") for precision in ("float16", "float32")]


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch):
    """Cut the logits of an image, 8 rows, into three chunks, the last at the edge; do not wait for the disk."""
    monkeypatch.setattr(version1, "rows_per_chunk", lambda *_: 3)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(fill(tmp_path / "store", make_schema("pixel")))


def cropped(schema: Schema, image: int) -> dict[str, np.ndarray]:
    """Values of one image whose mask is smaller the higher its index."""
    values = noise_values(schema, image, CODES)
    return values | {"labels": values["labels"][: LABEL_SIZE[0] - image, : LABEL_SIZE[1] - 2 * image]}


def raises(error: type[Exception], message: str) -> pytest.RaisesExc:
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def forge(store: Store, image: int, change: Callable[[dict], object]) -> None:
    """Change a completion record and give it the digest that it should have."""
    file = store.path / "records" / f"{image}.json"
    document = json.loads(file.read_bytes())
    change(document)
    del document["sha256"]
    document["sha256"] = hashlib.sha256(canonical(document)).hexdigest()
    file.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize(("kind", "precision"), KINDS)
def test_what_is_read_is_what_was_committed(tmp_path, kind, precision):
    schema = make_schema(kind, precision)
    writer = StoreWriter(tmp_path / "store", schema)
    for image in range(3):
        writer.commit(image, cropped(schema, image), {"image": "5" * 64})
    store = open_store(tmp_path / "store")
    for image in range(3):
        values = cropped(schema, image)
        for name in values.keys() - {"labels"}:
            found = store.read(name, image)
            assert found.dtype == values[name].dtype
            assert np.array_equal(found, values[name])
        assert np.array_equal(store.labels(image), values["labels"])
        assert store.record(image).sources == {"image": "5" * 64}


def test_labels_are_padded_with_255_to_the_largest_mask(tmp_path):
    schema = make_schema("pixel")
    StoreWriter(tmp_path / "store", schema).commit(2, cropped(schema, 2), {})
    store = open_store(tmp_path / "store")
    padded = store.read("labels", 2)
    assert padded.shape == LABEL_SIZE
    assert store.read("label_size", 2).tolist() == [10, 12]
    assert (padded[10:] == 255).all()
    assert (padded[:, 12:] == 255).all()


def test_reading_with_a_record_at_hand_is_the_same(store):
    record = store.record(1)
    (store.path / "records/1.json").unlink()
    assert np.array_equal(store.read("logits", 1, record), noise_values(store.schema, 1, CODES)["logits"])


def test_an_image_without_a_record_is_not_in_the_store(store):
    (store.path / "records/1.json").unlink()
    assert (store.completed(), store.missing()) == ([0, 2], [1])
    line = f"{store.path}: image 'b.png': not in the store; run the same `pipe infer` again to add it"
    for attempt in (store.record, store.labels, partial(store.read, "logits")):
        with refused(line):
            attempt(1)


def test_an_incomplete_store_names_the_first_images_that_it_lacks(tmp_path):
    schema = make_schema("pixel", images=[f"{i}.png" for i in range(6)])
    store = open_store(fill(tmp_path / "store", schema, images=[1]))
    advice = "run the same `pipe infer` again to finish it, or take what is there with --allow-incomplete"
    with refused(f"{store.path}: 5 of 6 images are missing (0.png, 2.png, 3.png, ...); {advice}"):
        store.require_complete()
    fill(store.path, schema, images=[0, 2, 3, 4])
    with refused(f"{store.path}: 1 of 6 images are missing (5.png); {advice}"):
        store.require_complete()
    fill(store.path, schema, images=[5])
    store.require_complete()


@pytest.mark.parametrize("name", ["3.json", "-1.json", "01.json", "٢.json", "1.json.00.partial", "x.json", "1"])
def test_only_a_record_by_its_exact_name_completes_an_image(store, name):
    shutil.move(store.path / "records/1.json", store.path / "records" / name)
    assert store.completed() == [0, 2]


def test_a_missing_chunk_is_an_error_and_not_a_fill_value(store):
    (store.path / CHUNK).unlink()
    with raises(IntegrityError, f"{store.path}: image 'b.png': {CHUNK}: the chunk is missing"):
        store.read("logits", 1)
    store.read("logits", 0)


def test_a_chunk_of_another_image_is_recognised(store):
    shutil.copy(store.path / CHUNK.replace("/1/", "/0/", 1), store.path / CHUNK)
    other, own = (store.record(image).arrays["logits"].chunks[f"c/{image}/0/2/0"] for image in (0, 1))
    with raises(
        IntegrityError, f"{store.path}: image 'b.png': {CHUNK}: checksum {own} was committed, {other} was found"
    ):
        store.read("logits", 1)


def test_a_chunk_of_another_store_is_recognised(store, tmp_path):
    other = open_store(fill(tmp_path / "other", replace(store.schema, network="erfnet")))
    values = noise_values(store.schema, 7, CODES)
    StoreWriter(other.path, other.schema).commit(1, values, {})
    shutil.copy(other.path / CHUNK, store.path / CHUNK)
    with pytest.raises(IntegrityError, match=f"image 'b.png': {CHUNK}: checksum .* was committed, .* was found$"):
        store.read("logits", 1)


@pytest.mark.parametrize("array", ["logits", "labels", "label_size", "preview"])
def test_a_flipped_bit_in_any_array_is_found(store, array):
    chunk = next(file for file in sorted((store.path / array / "c/1").rglob("*")) if file.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    chunk.write_bytes(data)
    key = chunk.relative_to(store.path).as_posix()
    with pytest.raises(IntegrityError, match=f"image 'b.png': {key}: checksum .* is stored, but the bytes give"):
        store.read(array, 1)


@pytest.mark.parametrize("size", [0, 3, 30])
def test_a_truncated_chunk_is_found(store, size):
    chunk = store.path / CHUNK
    chunk.write_bytes(chunk.read_bytes()[:size])
    with pytest.raises(IntegrityError, match=f"image 'b.png': {CHUNK}: checksum .* was committed, .* was found$"):
        store.read("logits", 1)


def test_a_file_that_cannot_be_read_is_no_missing_chunk(store):
    (store.path / CHUNK).unlink()
    (store.path / CHUNK).mkdir()
    with pytest.raises(PipeError, match=f"^{re.escape(str(store.path / CHUNK))}: cannot be read") as caught:
        store.read("logits", 1)
    assert not isinstance(caught.value, IntegrityError)


def test_every_bit_of_a_record_counts_or_means_nothing(store):
    file = store.path / "records/1.json"
    data, record = file.read_bytes(), store.record(1)
    for bit in range(0, 8 * len(data), 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            assert store.record(1) == record
        except IntegrityError as error:
            assert str(error).startswith(f"{store.path}: image 'b.png': the completion record is damaged (")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", "[" * 100_000, '{"sha256": ' * 100_000, "\ufeff{}", "{", '{"sha256": 1}']
)
def test_what_is_no_record_is_damage(store, text):
    (store.path / "records/1.json").write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"image 'b\.png': the completion record is damaged"):
        store.record(1)


def test_a_record_of_another_image_is_recognised(store):
    shutil.copy(store.path / "records/0.json", store.path / "records/1.json")
    with raises(IntegrityError, f"{store.path}: image 'b.png': the completion record is that of 'a.png'"):
        store.read("logits", 1)


def test_a_record_of_another_store_is_recognised(store, tmp_path):
    other = fill(tmp_path / "other", replace(store.schema, network="erfnet"))
    shutil.copy(other / "records/1.json", store.path / "records/1.json")
    with raises(IntegrityError, f"{store.path}: image 'b.png': the completion record belongs to another store"):
        store.read("logits", 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(more=1),
        lambda record: record.pop("sources"),
        lambda record: record.update(arrays=[]),
        lambda record: record["arrays"].update(logits=None),
        lambda record: record["arrays"]["logits"].update(chunks=5),
        lambda record: record["arrays"]["logits"].update(chunks=["c/1/0/0/0"]),
        lambda record: record["arrays"]["logits"].pop("sha256"),
    ],
)
def test_a_record_of_another_form_is_damage_even_with_a_digest(store, change):
    forge(store, 1, change)
    with pytest.raises(IntegrityError, match=r"image 'b\.png': the completion record is damaged"):
        store.read("logits", 1)


def test_a_record_that_leaves_something_out_is_an_error(store):
    forge(store, 1, lambda record: record["arrays"]["logits"]["chunks"].pop("c/1/0/2/0"))
    with pytest.raises(IntegrityError, match=f"image 'b.png': {CHUNK}: checksum None was committed, .* was found$"):
        store.read("logits", 1)
    forge(store, 1, lambda record: record["arrays"].pop("logits"))
    with raises(IntegrityError, f"{store.path}: image 'b.png': its record lacks the array 'logits'"):
        store.read("logits", 1)


@pytest.mark.parametrize("size", [(0, 5), (13, 5), (5, 17), (-1, 5)])
def test_a_mask_size_that_does_not_fit_is_an_error(store, monkeypatch, size):
    monkeypatch.setattr(store, "_read", lambda *_: np.array(size, np.int32))
    with pytest.raises(IntegrityError) as caught:
        store.labels(1)
    assert (caught.value.image, caught.value.file) == ("b.png", "label_size/c/1")
    assert caught.value.fault == f"a mask of {size[0]}x{size[1]} does not fit the store's 12x16"


def test_what_is_no_store_is_refused(tmp_path):
    for path, found in ((tmp_path, "there is no zarr.json"), (tmp_path / "nothing", "there is nothing at this path")):
        with refused(f"{path}: expected a logit store, but {found}; `pipe infer` makes one"):
            open_store(path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"attributes": ' * 100_000])
def test_metadata_that_cannot_be_parsed_is_damage(store, data):
    (store.path / "zarr.json").write_bytes(data)
    with pytest.raises(IntegrityError, match=f"^{re.escape(str(store.path))}: zarr.json: cannot be parsed"):
        open_store(store.path)


@pytest.mark.parametrize("depth", [100, 300, 500, 800])
def test_deep_facts_come_back_or_are_damage(store, depth):
    facts = json.loads('{"a": ' * depth + "1" + "}" * depth)
    attributes = store.schema.attributes() | {"facts": facts}
    del attributes["fingerprint"]
    attributes["fingerprint"] = fingerprint(attributes)
    metadata = json.dumps(store.schema.metadata() | {"attributes": attributes})
    (store.path / "zarr.json").write_text(metadata, encoding="utf-8")
    try:
        assert open_store(store.path).schema.facts == facts
    except IntegrityError as error:
        assert "zarr.json: cannot be parsed (maximum recursion depth exceeded" in str(error)


def test_every_bit_of_the_metadata_counts_or_means_nothing(store):
    file = store.path / "zarr.json"
    data = file.read_bytes()
    for bit in range(0, 8 * len(data), 97):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            assert open_store(store.path).schema == store.schema
        except PipeError as error:
            assert str(error).startswith(f"{store.path}: ")


def test_the_sizes_of_a_store_are_those_of_its_images(store):
    files = [file for file in store.path.rglob("c/**/*") if file.is_file()]
    assert stored_bytes(store) == sum(file.stat().st_size for file in files)
    assert raw_bytes(store) == 3 * store.schema.image_bytes()
    (store.path / "records/1.json").unlink()
    assert raw_bytes(store) == 2 * store.schema.image_bytes()


def test_small_images_are_read_by_one_thread_and_those_of_a_server_by_many(store, monkeypatch):
    far = store.through(Folder("https://example.org/store"))
    assert (readers(store, 4), readers(far, 4), readers(far, 40)) == (1, 16, 40)
    monkeypatch.setattr("logitpipe.cache.reading.store.SMALL_IMAGE_BYTES", image_bytes(store))
    monkeypatch.setattr("logitpipe.cache.reading.store.READ_AHEAD_BYTES", 5 * image_bytes(store))
    assert (readers(store, 4), readers(far, 4), readers(far, 40)) == (4, 5, 40)
