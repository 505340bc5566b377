"""Strict JSON of the format: UTF-8, each name once in an object, finite numbers, a limit on the size."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from logitpipe.cache.errors import IntegrityError
from logitpipe.cache.format.keys import METADATA

MAX_JSON_BYTES = 32 << 20
"""Limit of a JSON file other than `images.json`; in version 1 the group's `zarr.json` holds the names too."""

MAX_NAMES_BYTES = 256 << 20
"""Limit of `images.json`: a million long names fit."""


def loads(data: bytes, most: int = MAX_JSON_BYTES) -> Any:  # noqa: ANN401 - JSON is of any type
    """Parse JSON that another program must read in the same way.

    Parameters
    ----------
    data : its bytes
    most : how many there may be

    Raises
    ------
    ValueError
        It is no JSON, is too long, names something twice, or holds NaN or infinity.
    RecursionError
        It is nested too deeply.
    """
    # Before it is parsed, which takes several times as much memory.
    if len(data) > most:
        raise ValueError(f"{len(data)} bytes, and {most} are the most")
    return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a dict; refuse an object with two equal names, of which readers take different ones."""
    # A plain dict keeps the last of two; another reader may keep the first.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names something twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def names_bytes(names: Sequence[str]) -> bytes:
    """Return the bytes of the file of image names: always the same for the same names."""
    # A name on each line, for people who look into a store.
    return json.dumps(names, indent=0).encode()


def names_of(data: bytes | None, sha256: object) -> tuple[str, ...]:
    """Read the file of image names back.

    Parameters
    ----------
    data : what lies under its key; None if nothing does
    sha256 : of the file, as the group's attributes have it

    Raises
    ------
    IntegrityError
        It is missing, or not the file that belongs to the attributes.
    """
    if data is None:
        raise IntegrityError("the names of the images are missing")
    # Digest before parsing: foreign JSON of 256 MiB is never parsed.
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(f"the names of the images do not have the digest that {METADATA} has")
    try:
        return tuple(loads(data, MAX_NAMES_BYTES))
    except (ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(f"cannot be parsed ({error})") from error
