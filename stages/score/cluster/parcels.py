"""What travels between machines: a walk as one small parcel of bytes, and totals as compressed arrays."""

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from distributed import get_worker
from numcodecs import Blosc

from logitpipe.cache import IntegrityError, PipeError, Store, open_store
from logitpipe.cache.files.places import Place, as_place
from logitpipe.cache.format import Schema
from logitpipe.cache.reading.pinned import PinnedStore
from logitpipe.stages.score.cluster.environment import environment, unlike
from logitpipe.stages.score.labels.ground_truth import Truth
from logitpipe.stages.score.statistics import Statistic

_CODEC = Blosc("zstd", clevel=1, shuffle=Blosc.NOSHUFFLE)
"""Fast, and nearly as small as any."""

# By bits and not by bytes: counts of single images get 15 % smaller, those of all of them 2 % larger.
_ARRAY_CODEC = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
"""For arrays: a block's counts are mostly small numbers in wide types."""

PIECE_BYTES = 1 << 30
"""Bytes that are compressed at a time: blosc takes less than 2 GiB."""

KEPT_WALKS = 4
"""Walks that a worker keeps at hand; a run does one after the other."""


@dataclass(frozen=True)
class Parcel:
    """A walk as it travels: where the store is, and what is computed of each image.

    Parameters
    ----------
    place : absolute path or URL of the store, the same on every machine
    fingerprint : of the store; another one at the same path is refused
    run : name of the run: within it a worker reads a store as it was at first
    environment : of whoever packed it, see `environment`
    work : pickled (truth, statistic), in which the store and its schema are only named
    """

    place: str
    fingerprint: str
    run: str
    environment: tuple[tuple[str, str], ...]
    work: bytes


def pack_walk(truth: Truth, statistic: Statistic[Any], run: str) -> Parcel:
    """Return the parcel of a walk."""
    store, buffer = truth.store, io.BytesIO()
    _Packer(buffer, store).dump((truth, statistic))
    # zlib would be smaller; limits and wanted bins of many pairs are compressed well enough and at once.
    work = bytes(_CODEC.encode(buffer.getvalue()))
    return Parcel(absolute(store.path), store.fingerprint, run, tuple(environment().items()), work)


# By the parcel, which is hashable: each task brings it, and only the first of a walk opens the store.
@lru_cache(KEPT_WALKS)
def unpack_walk(parcel: Parcel) -> tuple[Truth, Statistic[Any]]:
    """Return what a parcel holds, over the store as this machine sees it.

    Raises
    ------
    PipeError
        Another version computes here, or another store lies at the place, or none.
    """
    if found := unlike(dict(parcel.environment), environment()):
        raise PipeError(f"this worker has {found}", "same-version")
    store = _opened(parcel.place, parcel.run)
    if store.fingerprint != parcel.fingerprint:
        raise PipeError(f"{parcel.place}: another store lies there than on the machine that scores", "shared-place")
    return _Unpacker(io.BytesIO(_CODEC.decode(parcel.work)), store).load()


@lru_cache(KEPT_WALKS)
def _opened(place: str, _run: str) -> Store:
    try:
        store = open_store(as_place(place))
    except IntegrityError:
        raise
    except PipeError as error:
        # The command has opened it: another disk is mounted there on this machine, or none.
        raise PipeError(f"{_who()} cannot open what the command has opened: {error}", "shared-place") from error
    return PinnedStore(store.files, store.schema)


def _who() -> str:
    try:
        return f"the worker {get_worker().address}"
    except ValueError:  # outside a task
        return "this process"


def absolute(place: Place) -> str:
    """Return a place as other machines find it."""
    return place if isinstance(place, str) else str(Path(place).absolute())


class _Packer(cloudpickle.Pickler):
    """Pickler that names what the other side has: a store has open files, and its schema up to 10**6 names."""

    def __init__(self, file: io.BytesIO, store: Store) -> None:
        super().__init__(file)
        self.store = store

    def persistent_id(self, value: object) -> object:
        if value is self.store:
            return "store"
        return "schema" if isinstance(value, Schema) else None


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, store: Store) -> None:
        super().__init__(file)
        self.store = store

    def persistent_load(self, name: Any) -> object:  # noqa: ANN401 - whatever `persistent_id` gave
        return self.store if name == "store" else self.store.schema


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays in as few bytes as is quick."""
    packed = {}
    for name, array in arrays.items():
        flat = np.ascontiguousarray(array).reshape(-1)
        step = max(1, PIECE_BYTES // flat.itemsize)
        pieces = [bytes(_ARRAY_CODEC.encode(flat[i : i + step])) for i in range(0, flat.size, step)]
        packed[name] = array.dtype.str, array.shape, pieces
    return pickle.dumps(packed)


def unpack_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays that `pack_arrays` was given."""
    return {
        name: np.frombuffer(b"".join(map(_ARRAY_CODEC.decode, pieces)), dtype).reshape(shape)
        for name, (dtype, shape, pieces) in pickle.loads(data).items()
    }


def records_digest(store: Store, images: tuple[int, ...]) -> str:
    """Return a digest of what some images of a store are: other bytes of any of them give another one."""
    digest = hashlib.sha256()
    for image in images:
        chunks = {name: dict(array.chunks) for name, array in store.record(image).arrays.items()}
        digest.update(repr((image, sorted(chunks.items()))).encode())
    return digest.hexdigest()
