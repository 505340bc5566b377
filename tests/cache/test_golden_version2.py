"""Stores of format version 2 as it was first written, committed with the tests, and read for ever."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import content
from documented import read_version_2

from logitpipe.cache import Store, open_store
from logitpipe.cache.format.codec import xxh3
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.reading.verify import check_image, check_metadata, stray_files

V2 = Path(__file__).parents[1] / "data" / "v2"
EXPECTED = json.loads((V2 / "expected.json").read_text(encoding="utf-8"))
DIGEST_OF_ALL = "8939b6985a68a26d86418c62bdc6ce159fb60255d88425f27d0cef02cadd444f"
"""SHA-256 over the paths and bytes of all files: nobody makes these stores anew in passing."""


@pytest.fixture(params=EXPECTED)
def name(request) -> str:
    return request.param


@pytest.fixture
def store(name) -> Store:
    return open_store(V2 / name)


def test_the_files_are_those_of_old():
    everything = hashlib.sha256()
    for path, data in sorted(content(V2).items()):
        everything.update(f"{Path(path).as_posix()} {len(data)}\n".encode() + data)
    assert everything.hexdigest() == DIGEST_OF_ALL


def test_attributes_and_names_are_read(name, store):
    assert store.schema.attributes() == EXPECTED[name]["attributes"]
    assert list(store.schema.images) == EXPECTED[name]["images"]


def test_every_image_is_sound(store):
    assert store.completed() == [0, 1, 2]
    assert [check_image(store, image).damages for image in store.completed()] == [[], [], []]
    assert (check_metadata(store), stray_files(store)) == ([], [])


def test_sizes_windows_and_values_are_read(name, store):
    for image in range(3):
        expected = {
            key: tuple(map(tuple, value)) if key == "windows" else tuple(value)
            for key, value in EXPECTED[name]["geometries"][image].items()
        }
        assert store.image(image) == Geometry(**expected)
        for array, digest in EXPECTED[name]["xxh3_128"][image].items():
            if store.arrays[array].windowed:
                windows = range(len(expected["windows"]))
                values = np.stack([store.read(array, image, window=window) for window in windows])
            else:
                values = store.labels(image) if array == "labels" else store.read(array, image)
            assert xxh3(values) == digest


def test_what_the_page_says_is_enough(name):
    for image in range(3):
        for array, digest in EXPECTED[name]["xxh3_128"][image].items():
            assert xxh3(read_version_2(V2 / name, array, image)) == digest
