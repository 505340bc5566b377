"""Readers of stores that were written from cache/README.md and docs/format-2.md, and know nothing else."""

import hashlib
import json
import struct
from itertools import product
from math import ceil
from pathlib import Path

import google_crc32c
import numpy as np
import xxhash
from numcodecs import blosc


def read_as_documented(store: Path, name: str, image: int) -> np.ndarray:
    """Read one image's part of an array as cache/README.md says."""

    def canonical_sha256(document: dict) -> str:
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    attributes = json.loads((store / "zarr.json").read_bytes())["attributes"]
    fingerprint = attributes.pop("fingerprint")
    assert canonical_sha256(attributes) == fingerprint
    record = json.loads((store / "records" / f"{image}.json").read_bytes())
    assert canonical_sha256({k: v for k, v in record.items() if k != "sha256"}) == record["sha256"]
    assert record["fingerprint"] == fingerprint
    assert (record["image"], record["name"]) == (image, attributes["images"][image])

    metadata = json.loads((store / name / "zarr.json").read_bytes())
    shape, chunks = metadata["shape"][1:], metadata["chunk_grid"]["configuration"]["chunk_shape"][1:]
    dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    out = np.empty([ceil(n / c) * c for n, c in zip(shape, chunks, strict=True)], dtype)
    for cell in product(*(range(ceil(n / c)) for n, c in zip(shape, chunks, strict=True))):
        key = "/".join(["c", str(image), *map(str, cell)])
        data = (store / name / key).read_bytes()
        (checksum,) = struct.unpack("<I", data[-4:])
        assert google_crc32c.value(data[:-4]) == checksum == int(record["arrays"][name]["chunks"][key], 16)
        where = tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, chunks, strict=True))
        out[where] = np.frombuffer(blosc.decompress(data[:-4]), dtype).reshape(chunks)
    values = out[tuple(map(slice, shape))]
    assert hashlib.sha256(values.tobytes()).hexdigest() == record["arrays"][name]["sha256"]
    return values


def read_version_2(store: Path, name: str, image: int) -> np.ndarray:
    """Read one image's own part of an array as docs/format-2.md says, and cache/README.md where that refers to it."""

    def canonical_sha256(document: dict) -> str:
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    attributes = json.loads((store / "zarr.json").read_bytes())["attributes"]
    fingerprint = attributes.pop("fingerprint")
    assert (attributes["format_version"], canonical_sha256(attributes)) == (2, fingerprint)
    names = (store / "images.json").read_bytes()
    assert hashlib.sha256(names).hexdigest() == attributes["images_sha256"]
    record = json.loads((store / "records" / f"{image}.json").read_bytes())
    assert canonical_sha256({k: v for k, v in record.items() if k != "sha256"}) == record["sha256"]
    assert record["fingerprint"] == fingerprint
    assert (record["image"], record["name"]) == (image, json.loads(names)[image])

    def read(array: str, extent: list[int] | None) -> np.ndarray:
        metadata = json.loads((store / array / "zarr.json").read_bytes())
        extent = metadata["shape"][1:] if extent is None else extent
        chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"][1:]
        dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
        out = np.empty([ceil(n / c) * c for n, c in zip(extent, chunks, strict=True)], dtype)
        cells = list(product(*(range(ceil(n / c)) for n, c in zip(extent, chunks, strict=True))))
        keys = [".".join(["c", str(image), *map(str, cell)]) for cell in cells]
        assert set(keys) == record["arrays"][array]["chunks"].keys()
        for key, cell in zip(keys, cells, strict=True):
            data = (store / array / key).read_bytes()
            assert google_crc32c.value(data[:-4]) == struct.unpack("<I", data[-4:])[0]
            decoded = blosc.decompress(data[:-4])
            assert xxhash.xxh3_128_hexdigest(decoded) == record["arrays"][array]["chunks"][key]
            where = tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, chunks, strict=True))
            out[where] = np.frombuffer(decoded, dtype).reshape(chunks)
        return out[tuple(map(slice, extent))]

    sizes, boxes = read("geometry", None), read("window_box", None)
    channels, windows = attributes["logits_shape"][0], int(boxes.any(axis=1).sum())
    own = {
        "logits": [channels, *sizes[3]],
        "mask_logits": [windows, channels, *sizes[3]],
        "class_logits": [windows, channels, len(attributes["classes"]) + 1],
        "labels": [*sizes[4]],
        "preview": [*sizes[5], 3],
    }
    return read(name, own.get(name))
