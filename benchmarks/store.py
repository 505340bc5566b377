"""The store: what a commit and a verified read cost, and what of it the checks cost."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import made
from benchmarks.sheet import Sheet
from benchmarks.timing import median, ratio, take_turns
from cache import open_store
from cache.codec import Encoded, decode, encode
from cache.commit import StoreWriter
from cache.store import Store
from cache.tiles import image_chunks

IMAGES = 4
ROUNDS = 7


def values_of(store: Store) -> list[dict[str, np.ndarray]]:
    """Return all arrays of all images."""
    names = [name for name in store.arrays if name != "label_size"]
    whole = [{name: store.read(name, image) for name in names} for image in store.completed()]
    return [values | {"labels": store.labels(image)} for image, values in enumerate(whole)]


def plain_write(folder: Path, store: Store, values: list[dict[str, np.ndarray]]) -> None:
    """Compress and write the same chunks: no sync, no reading back, no digest, no record."""
    for image, arrays in enumerate(values):
        for name, array in arrays.items():
            spec = store.arrays[name]
            if array.shape != spec.image_shape:
                continue
            for key, extent in image_chunks(image, spec.shape, spec.chunks):
                part = array[extent]
                missing = [(0, full - size) for full, size in zip(spec.chunks[1:], part.shape, strict=True)]
                path = folder / name / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode(np.ascontiguousarray(np.pad(part, missing))).data)


def plain_read(store: Store) -> None:
    """Read and decompress the same chunks of logits without looking at record or checksum."""
    spec = store.arrays["logits"]
    for image in store.completed():
        out = np.empty(spec.image_shape, spec.dtype)
        for key, extent in image_chunks(image, spec.shape, spec.chunks):
            part = out[extent]
            encoded = Encoded(Path(store.path, "logits", key).read_bytes())
            part[...] = decode(encoded, spec.chunks[1:], spec.dtype)[tuple(map(slice, part.shape))]


def zarr_read(path: Path) -> Callable[[], None]:
    """Read the logits with zarr-python."""
    import zarr

    array = zarr.open_group(path, mode="r")["logits"]

    def run() -> None:
        for image in range(IMAGES):
            array[image]  # type: ignore[index]

    return run


def measure_commit(sheet: Sheet, folder: Path, source: Store) -> None:
    """Commit images to a fresh store, beside the same bytes written without care."""
    values, names = values_of(source), iter(range(10**6))

    def commit() -> None:
        writer = StoreWriter(folder / f"{next(names)}.zarr", source.schema)
        for image, arrays in enumerate(values):
            writer.commit(image, arrays, {})

    ways = {"commit": commit, "written without care": lambda: plain_write(folder / str(next(names)), source, values)}
    _report(sheet, "Writing", ways, source)


def measure_read(sheet: Sheet, source: Store) -> None:
    """Read the logits of all images, one thread."""

    def verified() -> None:
        for image in source.completed():
            source.read("logits", image)

    ways = {
        "verified read": verified,
        "unverified": lambda: plain_read(source),
        "zarr-python": zarr_read(Path(source.path)),
    }
    _report(sheet, "Reading logits", ways, source)


def _report(sheet: Sheet, title: str, ways: dict[str, Callable[[], None]], source: Store) -> None:
    seconds, first = take_turns(ways, ROUNDS), next(iter(ways))
    megabytes = IMAGES * np.prod(source.arrays["logits"].image_shape) * 2 / 1e6
    lines = [
        [name, median(seconds, name) / IMAGES * 1e3, megabytes / median(seconds, name), ratio(seconds, name, first)]
        for name in ways
    ]
    size = "x".join(map(str, source.schema.logits_shape))
    header = ("", "ms per image", "MB of float16 logits per second", f"over {first}")
    sheet.table(f"{title}: {IMAGES} images of {size}, {threading.active_count()} thread", header, lines)


def main() -> None:
    """Measure, print and save."""
    sheet = Sheet("store")
    with tempfile.TemporaryDirectory() as name:
        source = open_store(made.pixel_store(Path(name) / "source.zarr", IMAGES))
        measure_commit(sheet, Path(name), source)
        measure_read(sheet, source)
    sheet.save()


if __name__ == "__main__":
    main()
