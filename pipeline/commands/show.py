"""`pipe show`: what is in a store, and how complete it is."""

import json
from collections.abc import Iterator, Mapping
from math import prod
from textwrap import wrap
from typing import Any

import click

from logitpipe.cache.files.places import Place
from logitpipe.cache.format.schema import AMP_CHANGE, ArraySpec
from logitpipe.cache.reading.store import Store, array_bytes, open_store
from logitpipe.console.messages import word_if_slow
from logitpipe.console.options import stores_argument
from logitpipe.console.text import aligned, byte_size, listed, printable
from logitpipe.stores.data import right_data

SCHEMA_VERSION = 1
"""Of the JSON object."""

WIDTH = 100
KEY_WIDTH = 15
"""Columns of text, and of what stands before it."""


@click.command()
@stores_argument()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def show(stores: tuple[Place, ...], as_json: bool) -> None:
    """Show what is in stores, and how complete they are.

    It reads metadata, and masks only of small stores of earlier releases. Whether the data is sound, `pipe verify`
    tells.

    \b
    Examples:
      pipe show enet.zarr
      pipe show stores --json
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    # All stores before the first line: half of a JSON object, or of an answer, would be worse than an error.
    documents = [describe_store(open_store(path)) for path in stores]
    if as_json:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "stores": documents}, indent=1))
    else:
        click.echo("\n\n".join("\n".join(_lines(document)) for document in documents))


def describe_store(store: Store) -> dict[str, Any]:
    """Return the attributes of a store, its arrays with their sizes in bytes, and the images that it lacks."""
    with word_if_slow(f"asking for the images of {store.path}"):
        completed = store.completed()
    arrays = {name: _describe_array(store, name, spec, completed) for name, spec in store.arrays.items()}
    sizes = [array["stored_bytes"] for array in arrays.values()]
    return {
        "store": str(store.path),
        **store.schema.attributes(),
        "images_done": len(completed),
        "images_total": len(store.schema.images),
        "images_missing": [store.schema.images[image] for image in store.missing()],
        "right_data": right_data(store),
        "arrays": arrays,
        "stored_bytes": None if None in sizes else sum(sizes),
        "decoded_bytes": sum(array["decoded_bytes"] for array in arrays.values()),
    }


def _describe_array(store: Store, name: str, spec: ArraySpec, images: list[int]) -> dict[str, Any]:
    values = len(images) * prod(spec.image_shape)
    return {
        "dims": list(spec.dims),
        "shape": list(spec.shape),
        "chunks": list(spec.chunks),
        "dtype": spec.dtype.name,
        "values": values,
        "stored_bytes": array_bytes(store, name, images),
        "decoded_bytes": values * spec.dtype.itemsize,
    }


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield printable(f"{document['store']}: {document['images_done']} of {document['images_total']} images")
    for key, value in _facts(document):
        first, *rest = wrap(printable(value), WIDTH - KEY_WIDTH) or ["-"]
        yield f"{key:<{KEY_WIDTH}}{first}"
        yield from (" " * KEY_WIDTH + line for line in rest)
    yield ""
    yield from _array_table(document["arrays"])


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if missing := document["images_missing"]:
        yield "missing", listed(missing)
    yield "network", f"{document['network']}, a {document['kind']} network"
    yield "facts", _pairs(document["facts"])
    if change := document["software"].get(AMP_CHANGE):
        yield "amp changes", str(change)
    digest = document["weights_sha256"]
    yield "weights", f"sha256 {digest}" if digest else "unknown: the store was not made by `pipe infer`"
    yield "data set", _dataset(document)
    if codes := document.get("label_codes"):
        yield "label codes", codes
    if sentence := document["right_data"]:
        yield "right data", sentence
    yield "classes", f"{len(document['classes'])}: {', '.join(document['classes'])}"
    yield "void class", _void(document)
    yield "input", f"{_by(document['input_size'])} pixels"
    if resize := document["preprocessing"].get("resize"):
        yield "resize", resize
    if (windows := document.get("windows", 1)) > 1:
        yield "windows", f"up to {windows} in an image"
    if at := document.get("sigmoid_at"):
        yield "sigmoid at", _SIGMOID_AT[at] if isinstance(at, str) else f"{_by(at)}{_RESAMPLED}"
    yield "masks", f"up to {_by(document['label_shape'])} pixels"
    yield "preprocessing", _pairs({key: value for key, value in document["preprocessing"].items() if key != "resize"})
    yield "precision", document["precision"]
    yield "size", _size(document)
    yield "software", _pairs({name: text for name, text in document["software"].items() if name != AMP_CHANGE})
    yield "format", f"version {document['format_version']}"
    yield "fingerprint", document["fingerprint"]


def _array_table(arrays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = ["array", "dimensions", "shape", "chunk", "dtype", "on disk", "bytes/value"]
    rows = [
        [
            name,
            ", ".join(array["dims"]),
            _by(array["shape"]),
            _by(array["chunks"]),
            array["dtype"],
            "-" if array["stored_bytes"] is None else byte_size(array["stored_bytes"]),
            f"{array['stored_bytes'] / array['values']:.2f}" if array["values"] and array["stored_bytes"] else "-",
        ]
        for name, array in arrays.items()
    ]
    return aligned([head, *rows], right=(5, 6))


def _dataset(document: Mapping[str, Any]) -> str:
    """Return the name of a data set, how its files lay, and which of its pictures were taken."""
    parts = [f"layout {document['layout']}"] if "layout" in document else []
    parts += [document["selection"]] if document.get("selection") else []
    parts += [f"the first {document['limit']}"] if document.get("limit") else []
    return ", ".join([document["dataset"], *parts])


_RESAMPLED = ", to which mask logits are resampled"
_SIGMOID_AT = {
    "masks": "the mask logits' own size",
    "window": f"the size of a window{_RESAMPLED}",
    "picture": f"the size of the picture{_RESAMPLED}",
}


def _void(document: Mapping[str, Any]) -> str:
    void = document["void_class"]
    return "none" if void is None else f"{document['classes'][void]} (channel {void})"


def _size(document: Mapping[str, Any]) -> str:
    stored, decoded = document["stored_bytes"], document["decoded_bytes"]
    if stored is None:
        return f"{byte_size(decoded)} decoded; a web server does not say how much it holds"
    ratio = f", {decoded / stored:.2f} to 1" if stored else ""
    return f"{byte_size(stored)} on disk, {byte_size(decoded)} decoded{ratio}"


def _pairs(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _by(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))
