"""Completion records: an image is in the store if its record is; the record has the digests of its chunks."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from logitpipe.cache.errors import IntegrityError
from logitpipe.cache.format.documents import loads
from logitpipe.cache.format.schema import canonical

FOLDER = "records"


@dataclass(frozen=True)
class ArrayRecord:
    """One image's part of one array.

    Parameters
    ----------
    sha256 : digest of the raw values, little-endian, in C order; None in version 2, where that of each chunk suffices
    chunks : what `codec.committed_digest` says of each chunk, by its key below the array
    """

    sha256: str | None
    chunks: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """What was committed for one image.

    Parameters
    ----------
    image : index in the store
    name : the image's name
    fingerprint : of the store that the image was computed for
    sources : SHA-256 of the picture's and the mask's file
    arrays : digests by array name
    """

    image: int
    name: str
    fingerprint: str
    sources: Mapping[str, str]
    arrays: Mapping[str, ArrayRecord]

    def to_bytes(self) -> bytes:
        """JSON that carries its own digest."""
        document = asdict(self)
        for array in document["arrays"].values():
            if array["sha256"] is None:
                # Version 2 has no such field. Left as null it would be part of the digest and of the file.
                del array["sha256"]
        # Without it a flipped letter in a digest would put the blame on a sound chunk.
        digest = hashlib.sha256(canonical(document)).hexdigest()
        # Indented for people: whoever looks into a store by hand begins with a record.
        return json.dumps(document | {"sha256": digest}, indent=1).encode()


def key(image: int) -> str:
    """Key of an image's record, made of its index: a name is data, may be anything, and names no file."""
    return f"{FOLDER}/{image}.json"


def image_of(path: str) -> int | None:
    """Return the image whose record lies under a key; None for a key of anything else."""
    number = path.removeprefix(f"{FOLDER}/").removesuffix(".json")[:20]
    # Made into a key again, as int() reads more spellings of a number than keys have.
    return int(number) if number.isdecimal() and key(int(number)) == path else None


def parse(data: bytes) -> Record:
    """Read a record back, believing nothing.

    Raises
    ------
    IntegrityError
        The bytes are not a record whose digest matches.
    """
    try:
        document: dict[str, Any] = loads(data)
        # The digest covers the document without itself.
        digest = document.pop("sha256")
        if hashlib.sha256(canonical(document)).hexdigest() != digest:
            raise ValueError("its digest does not match")
        arrays = {name: ArrayRecord(**{"sha256": None, **fields}) for name, fields in document.pop("arrays").items()}
        record = Record(arrays=arrays, **document)
        # A digest only proves that the record is what its author wrote, not that its author was honest.
        _check_types(record)
        return record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"the completion record is damaged ({error})") from error


def _check_types(record: Record) -> None:
    """Refuse what JSON may hold and a dataclass does not check."""
    arrays = record.arrays.values()
    objects = [record.sources, *(array.chunks for array in arrays)]
    if type(record.image) is not int or not all(isinstance(texts, dict) for texts in objects):
        raise TypeError("its image is no integer, or its sources or chunks are no object")
    texts = [record.name, record.fingerprint, *(array.sha256 for array in arrays if array.sha256 is not None)]
    if not all(isinstance(text, str) for text in [*texts, *(text for inner in objects for text in inner.values())]):
        raise TypeError("its names and digests must be text")


def digest(values: np.ndarray) -> str:
    """SHA-256 of the raw values, little-endian, in C order."""
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return hashlib.sha256(plain.data).hexdigest()
