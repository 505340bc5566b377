"""A store read by who does not know it: zarr-python, xarray, tensorstore, and a reader written from the README."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
from documented import read_as_documented
from stores import fill, make_schema, noise_values
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from logitpipe.cache import Store, open_dataset, open_store
from logitpipe.cache.format.codec import decode, encode
from logitpipe.cache.format.schema import ArraySpec, Kind, Precision

CODES = (0, 1, 255)
SHAPE = (5, 701, 640)
"""Of logits: enough for several chunks, the last of which reaches past the edge."""
KINDS = [(kind, precision) for kind in ("pixel", "mask") for precision in ("float16", "float32")]
README = Path(__file__).parents[2] / "cache" / "README.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def store(request, tmp_path_factory) -> Store:
    """Two of three images."""
    schema = replace(make_schema(*request.param), logits_shape=SHAPE)
    return open_store(fill(tmp_path_factory.mktemp("stores") / "enet.zarr", schema, images=[0, 1]))


@cache
def committed(kind: Kind, precision: Precision, image: int) -> dict[str, np.ndarray]:
    return noise_values(replace(make_schema(kind, precision), logits_shape=SHAPE), image, CODES)


def expected(store: Store, name: str) -> np.ndarray:
    """An array as it was committed, fill values where the third image is missing."""
    images = [committed(store.schema.kind, store.schema.precision, image) for image in (0, 1)]
    size = np.array(images[0]["labels"].shape, np.int32)
    spec = store.arrays[name]
    missing = np.full(spec.image_shape, np.nan if spec.dtype.kind == "f" else spec.fill_value(), spec.dtype)
    return np.stack([*((image | {"label_size": size})[name] for image in images), missing])


def test_the_logits_lie_in_several_chunks_with_an_edge(store):
    name = "logits" if store.schema.kind == "pixel" else "mask_logits"
    rows, height = store.arrays[name].chunks[2], store.arrays[name].shape[2]
    assert rows < height
    assert height % rows != 0


def test_zarr_python_reads_a_store(store):
    group = zarr.open_group(str(store.path), mode="r")
    assert dict(group.attrs) == store.schema.attributes()
    assert sorted(group.array_keys()) == sorted(store.arrays)
    for name, spec in store.arrays.items():
        array = group[name]
        assert (array.metadata.dimension_names, array.shape, array.chunks) == (spec.dims, spec.shape, spec.chunks)
        assert array.dtype == spec.dtype
        np.testing.assert_array_equal(array[:], expected(store, name))


@pytest.mark.slow
def test_zarr_python_without_consolidated_metadata_knows_no_folder_of_records(store):
    group = zarr.open_group(str(store.path), mode="r", use_consolidated=False)
    for name in store.arrays:
        np.testing.assert_array_equal(group[name][:2], expected(store, name)[:2])
    with pytest.warns(
        ZarrUserWarning, match="^Object at records is not recognized as a component of a Zarr hierarchy"
    ):
        assert sorted(group.array_keys()) == sorted(store.arrays)


def test_xarray_reads_a_store(store):
    dataset = xarray.open_zarr(store.path)
    assert dataset.attrs == store.schema.attributes()
    assert set(dataset.variables) == set(store.arrays)
    for name, spec in store.arrays.items():
        assert (dataset[name].dims, dataset[name].dtype) == (spec.dims, spec.dtype)
        np.testing.assert_array_equal(dataset[name], expected(store, name))


def test_open_dataset_names_images_and_classes(store):
    dataset = open_dataset(store.path)
    assert dataset["image"].values.tolist() == ["a.png", "b.png", "c.png"]
    name = "logits" if store.schema.kind == "pixel" else "class_logits"
    np.testing.assert_array_equal(dataset[name].sel(image="b.png"), expected(store, name)[1])
    if store.schema.kind == "pixel":
        np.testing.assert_array_equal(dataset["logits"].sel({"class": "void"}), expected(store, "logits")[:, 4])


def test_tensorstore_reads_a_store(store):
    for name, spec in store.arrays.items():
        kvstore = {"driver": "file", "path": f"{store.path / name}/"}
        array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
        assert (array.domain.labels, array.shape, array.dtype.numpy_dtype) == (spec.dims, spec.shape, spec.dtype)
        np.testing.assert_array_equal(array.read().result(), expected(store, name))


def zarr_made(folder: Path, spec: ArraySpec) -> zarr.Array:
    """The array that zarr-python makes of the same facts."""
    return zarr.create_array(
        folder,
        shape=spec.shape,
        chunks=spec.chunks,
        dtype=spec.dtype,
        fill_value=np.nan if spec.dtype.kind == "f" else spec.fill_value(),
        dimension_names=spec.dims,
        serializer=BytesCodec(endian="little" if spec.dtype.itemsize > 1 else None),
        compressors=[
            BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=spec.dtype.itemsize),
            Crc32cCodec(),
        ],
    )


def test_the_metadata_is_what_zarr_python_writes(store, tmp_path):
    for name, spec in store.arrays.items():
        zarr_made(tmp_path / name, spec)
        written = json.loads((tmp_path / name / "zarr.json").read_bytes())
        assert written.pop("storage_transformers") == []
        assert json.loads((store.path / name / "zarr.json").read_bytes()) == written


def test_the_metadata_is_what_tensorstore_writes(store, tmp_path):
    for name, spec in store.arrays.items():
        kvstore = {"driver": "file", "path": f"{tmp_path / name}/"}
        metadata = spec.metadata()
        tensorstore.open({"driver": "zarr3", "kvstore": kvstore, "metadata": metadata}, create=True).result()
        written = json.loads((tmp_path / name / "zarr.json").read_bytes())
        # It leaves out what is empty or the default.
        implied = {"attributes": {}, "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}}
        assert written.pop("chunk_key_encoding") == {"name": "default"}
        assert written | implied == metadata


def test_zarr_python_and_the_codec_agree_on_one_chunk(tmp_path):
    spec = make_schema("pixel").arrays()["logits"]
    values = noise_values(make_schema("pixel"), 0, CODES)["logits"]
    array = zarr_made(tmp_path / "array", spec)
    array[0] = values
    chunk = tmp_path / "array/c/0/0/0/0"
    assert np.array_equal(decode(chunk.read_bytes(), values.shape, values.dtype), values)
    chunk.write_bytes(encode(values + 1).to_bytes())
    assert np.array_equal(array[0], values + 1)


def test_a_reader_written_from_the_readme_reads_a_store(store):
    for name in store.arrays:
        np.testing.assert_array_equal(read_as_documented(store.path, name, 1), expected(store, name)[1])


def test_the_snippets_of_the_readme_run(tmp_path, monkeypatch):
    fill(tmp_path / "enet.zarr", replace(make_schema("pixel"), logits_shape=SHAPE))
    monkeypatch.chdir(tmp_path)
    for snippet in SNIPPETS:
        names: dict[str, np.ndarray] = {}
        exec(snippet, names)
        assert np.array_equal(names["logits"], committed("pixel", "float16", 0)["logits"]), snippet


def test_the_readme_shows_each_reader():
    assert [snippet.split()[1] for snippet in SNIPPETS] == ["zarr", "xarray", "tensorstore", "pathlib"]


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_the_readme_names_every_attribute_and_array(kind):
    text, schema = README.read_text(encoding="utf-8"), make_schema(kind)
    for name in (*schema.attributes(), *schema.arrays()):
        assert f"| `{name}` |" in text
