"""What a commit costs and where, in both format versions: hash, size of chunks, syncs, reading back.

    python -m benchmarks.commit STORE [--rounds 9]

STORE is one of a pixel network, such as `pipe infer --limit 1` makes; its first image is taken. The times are those
of the CPU in one thread, the least of the rounds, so that other processes on the machine count little.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from unittest import mock

import blake3
import google_crc32c
import numpy as np
import xxhash
from numcodecs import blosc

from logitpipe.cache import Schema, Store, StoreWriter, open_store
from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.chunks import rows_per_chunk
from logitpipe.cache.format.codec import decode, encode
from logitpipe.stages.memory import keep_freed_memory

MIB = 1 << 20
TARGETS = (4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB)


def least(run: Callable[[], object], rounds: int) -> float:
    """Return the least CPU time of a call in this thread, in milliseconds."""
    times = []
    for _ in range(rounds):
        started = time.thread_time()
        run()
        times.append(time.thread_time() - started)
    return 1e3 * min(times)


def hashes(values: np.ndarray, packed: bytes) -> Mapping[str, Callable[[], object]]:
    """Return what can tell an image's values from others, or its compressed bytes."""
    plain = values.reshape(-1).view(np.uint8).data
    return {
        "SHA-256 of the values": lambda: hashlib.sha256(plain).digest(),
        "SHA-256 of the compressed bytes": lambda: hashlib.sha256(packed).digest(),
        "BLAKE3 of the values": lambda: blake3.blake3(plain).digest(),
        "XXH3-128 of the values": lambda: xxhash.xxh3_128_digest(plain),
        "CRC-32C of the compressed bytes": lambda: google_crc32c.value(packed),
    }


def cut(values: np.ndarray, target: int) -> list[np.ndarray]:
    """Return an image (C, h, w) in chunks of rows of at most `target` bytes."""
    rows = rows_per_chunk(values.shape[1], values[:, :1].nbytes, target)
    return [np.ascontiguousarray(values[:, y : y + rows]) for y in range(0, values.shape[1], rows)]


def schemas(schema: Schema, count: int) -> Mapping[str, Schema]:
    """Return what a store of so many images like these is, in each format version."""
    of_run = ("kind", "network", "facts", "weights_sha256", "dataset", "classes", "void_class", "input_size")
    of_arrays = ("logits_shape", "precision", "label_shape", "software")
    common = {name: getattr(schema, name) for name in of_run + of_arrays}
    common["images"] = tuple(map(str, range(count)))
    height, width, _ = schema.preview_shape
    return {
        "version 1": version1.Schema(**common, preprocessing={}),
        "version 2": version2.Schema(
            **common,
            preprocessing={},
            layout="",
            label_codes=None,
            closed_set_codes=None,
            selection=None,
            limit=None,
            outlier_class=None,
            sigmoid_at=None,
            windows=1,
            preview_size=(height, width),
            chunk_rows=version2.chunk_rows(schema.logits_shape, schema.precision),
        ),
    }


@contextmanager
def counted_syncs() -> Iterator[list[int]]:
    """Give a list that gains an entry for each sync."""
    syncs, fsync = list[int](), os.fsync

    def counted(descriptor: int) -> None:
        syncs.append(descriptor)
        fsync(descriptor)

    with mock.patch("os.fsync", counted):
        yield syncs


def print_versions(schemas: Mapping[str, Schema], image: Mapping[str, np.ndarray], folder: Path, rounds: int) -> None:
    """Print what commits of an image and its reading cost in both format versions, which take turns."""
    with ExitStack() as claims:
        writers = {name: StoreWriter(folder / name, schema) for name, schema in schemas.items()}
        syncs, spent, read = {}, {name: list[float]() for name in writers}, {name: list[float]() for name in writers}
        for name, writer in writers.items():
            claims.enter_context(writer.claimed(range(rounds + 2)))
            writer.commit(0, image, {})  # which makes the store
            with counted_syncs() as syncs[name]:
                writer.commit(1, image, {})
        for i in range(2, rounds + 2):
            for name, writer in writers.items():
                spent[name].append(least(lambda writer=writer, i=i: writer.commit(i, image, {}), 1))  # type: ignore[misc]
    stores = {name: open_store(folder / name) for name in writers}
    for _ in range(rounds):
        for name, store in stores.items():
            read[name].append(least(lambda store=store: store.read("logits", 0), 1))  # type: ignore[misc]
    for name, n in ((name, len(syncs[name])) for name in writers):
        of_commit, of_reading = ((min(ms[name]), median(ms[name])) for ms in (spent, read))
        print(f"{name}: commit {of_commit[0]:5.1f} ms, median {of_commit[1]:5.1f}, {n} syncs")
        print(f"{name}: reading logits {of_reading[0]:5.1f} ms, median {of_reading[1]:5.1f}")


def first_image(store: Store) -> dict[str, np.ndarray]:
    """Return the arrays of the first image."""
    return {"labels": store.labels(0)} | {name: store.read(name, 0) for name in ("logits", "preview")}


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    keep_freed_memory()
    blosc.use_threads = False  # as in the threads that commit
    store, rounds = open_store(arguments.store), arguments.rounds
    image = first_image(store)
    values = image["logits"]
    print(f"logits {values.shape}, {values.dtype}, {values.nbytes / 1e6:.1f} MB; CPU ms, the least of {rounds}")
    for name, run in hashes(values, encode(values).to_bytes()).items():
        print(f"{name:32} {least(run, rounds):5.1f}")
    for target in TARGETS:
        chunks = cut(values, target)
        encoded = [encode(chunk) for chunk in chunks]
        pairs = list(zip([chunk.to_bytes() for chunk in encoded], chunks, strict=True))
        pack = least(lambda chunks=chunks: [encode(chunk) for chunk in chunks], rounds)  # type: ignore[misc]
        unpack = least(lambda pairs=pairs: [decode(e, c.shape, c.dtype) for e, c in pairs], rounds)  # type: ignore[misc]
        size = sum(chunk.size for chunk in encoded) / 1e6
        print(f"{target // MIB:2} MiB: {len(chunks)} chunks, {size:.1f} MB; encode {pack:5.1f}, decode {unpack:5.1f}")
    with tempfile.TemporaryDirectory(dir=arguments.store.parent) as folder:
        print_versions(schemas(store.schema, rounds + 2), image, Path(folder), rounds)


if __name__ == "__main__":
    main()
