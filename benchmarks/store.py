"""The store: what a commit and a verified read cost, and what the checks cost both commands."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numcodecs import blosc
from torch import Tensor, nn

from benchmarks import made
from benchmarks.sheet import Sheet
from benchmarks.timing import median, one_core, ratio, take_turns
from logitpipe.cache import open_store
from logitpipe.cache.format.chunks import image_chunks
from logitpipe.cache.format.codec import CHECKSUM_BYTES, COMPRESSOR, LEVEL
from logitpipe.cache.format.records import Record
from logitpipe.cache.reading.store import Store
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.networks.enet import ENet
from logitpipe.stages.infer.networks.erfnet import ERFNet
from logitpipe.stages.infer.networks.fold import fold_batch_norms
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.histograms import make_rows

IMAGES = 4
ROUNDS = 7
SWEEP = tuple(float(T) for T in np.linspace(0.5, 2.4, 20).round(3))


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
            for key, extent in image_chunks(image, spec.shape, spec.chunks, spec.separator):
                part = array[extent]
                missing = [(0, full - size) for full, size in zip(spec.chunks[1:], part.shape, strict=True)]
                path = folder / name / key
                path.parent.mkdir(parents=True, exist_ok=True)
                chunk = np.ascontiguousarray(np.pad(part, missing) if np.any(missing) else part)
                path.write_bytes(blosc.compress(chunk, COMPRESSOR.encode(), LEVEL, blosc.BITSHUFFLE))


class Unchecked(Store):
    """A store that is read without looking at records and checksums."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.files, store.schema)
        self.records = {image: store.record(image) for image in store.completed()}

    def record(self, image: int) -> Record:
        """Return a record that was read beforehand."""
        return self.records[image]

    def read(self, array: str, image: int, record: Record | None = None, window: int = 0) -> np.ndarray:  # noqa: ARG002
        """Read and decompress, no more."""
        spec = self.arrays[array]
        out = np.empty(spec.image_shape, spec.dtype)
        for key, extent in image_chunks(image, spec.shape, spec.chunks, spec.separator):
            part, plain = out[extent], np.empty(spec.chunks[1:], spec.dtype)
            blosc.decompress(Path(self.path, array, key).read_bytes()[:-CHECKSUM_BYTES], plain)
            part[...] = plain[tuple(map(slice, part.shape))]
        return out


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

    def read(store: Store) -> None:
        for image in source.completed():
            store.read("logits", image)

    ways: dict[str, Callable[[], None]] = {
        "verified read": partial(read, source),
        "unverified": partial(read, Unchecked(source)),
        "zarr-python": zarr_read(Path(source.path)),
    }
    _report(sheet, "Reading logits", ways, source)


def measure_score(sheet: Sheet, source: Store) -> None:
    """All that `pipe score` does with a store, at one temperature and at twenty."""
    unchecked, lines = Unchecked(source), []
    for temperatures in ((1.0,), SWEEP):
        plan = make_plan(source.schema, PROTOCOLS["standard"], None, temperatures)

        def score(store: Store, plan: Plan = plan) -> None:
            make_rows(store, plan, tally_store(store, plan, source.completed(), 1, lambda: None))

        with one_core():
            seconds = take_turns({"checked": partial(score, source), "unchecked": partial(score, unchecked)}, ROUNDS)
        times = (median(seconds, name) for name in seconds)
        lines.append([len(temperatures), *times, ratio(seconds, "checked", "unchecked")])
    header = ("temperatures", "checked, s", "records and checksums not looked at, s", "ratio")
    sheet.table(f"What the checks cost `pipe score`: all methods, {IMAGES} images, one core", header, lines)


def measure_infer(sheet: Sheet, folder: Path, source: Store) -> None:
    """A forward pass and a commit for each image, one after another, beside the same with careless writes."""
    torch.manual_seed(0)
    networks = {"enet": ENet(made.CLASSES + 1), "erfnet": ERFNet(made.CLASSES + 1)}
    values, names, lines = values_of(source), iter(range(10**6)), []
    images = torch.rand(1, 3, *made.PIXEL_SIZE).to(memory_format=torch.channels_last)
    for name, network in networks.items():
        fold_batch_norms(network.eval())
        module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def careful(module: nn.Module = module) -> None:
            writer = StoreWriter(folder / f"{next(names)}.zarr", source.schema)
            for image, arrays in enumerate(values):
                forward(module, images)
                writer.commit(image, arrays, {})

        def careless(module: nn.Module = module) -> None:
            for _ in values:
                forward(module, images)
            plain_write(folder / str(next(names)), source, values)

        seconds = take_turns({"careful": careful, "careless": careless}, ROUNDS)
        times = (median(seconds, name) / IMAGES for name in seconds)
        lines.append([name, *times, ratio(seconds, "careful", "careless")])
    header = ("network", "with commits, s per image", "written without care", "ratio")
    sheet.table("What the checks cost `pipe infer`: 512x1024, CPU, nothing overlapped", header, lines)


@torch.inference_mode()
def forward(module: nn.Module, images: Tensor) -> None:
    """Run a network once."""
    module(images)


def _report(sheet: Sheet, title: str, ways: dict[str, Callable[[], None]], source: Store) -> None:
    seconds, first = take_turns(ways, ROUNDS), next(iter(ways))
    megabytes = IMAGES * np.prod(source.arrays["logits"].image_shape) * 2 / 1e6
    lines = [
        [name, median(seconds, name) / IMAGES * 1e3, megabytes / median(seconds, name), ratio(seconds, name, first)]
        for name in ways
    ]
    size = "x".join(map(str, source.schema.logits_shape))
    header = ("", "ms per image", "MB of float16 logits per second", f"over {first}")
    sheet.table(f"{title}: {IMAGES} images of {size}", header, lines)


def main() -> None:
    """Measure, print and save."""
    sheet = Sheet("store")
    with tempfile.TemporaryDirectory() as name:
        source = open_store(made.pixel_store(Path(name) / "source.zarr", IMAGES))
        measure_commit(sheet, Path(name), source)
        measure_read(sheet, source)
        measure_score(sheet, source)
        measure_infer(sheet, Path(name), source)
    sheet.save()


if __name__ == "__main__":
    main()
