"""JSON as the format has it: UTF-8, each name once, finite numbers, and no more of it than a store has reason to."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from logitpipe.cache.errors import IntegrityError
from logitpipe.cache.format.keys import METADATA

MAX_JSON_BYTES = 32 << 20
"""Of one JSON file but that of the names; in version 1 the group's `zarr.json` holds these too."""

MAX_NAMES_BYTES = 256 << 20
"""Of the file of names: a million long ones fit."""


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
    if len(data) > most:
        raise ValueError(f"{len(data)} bytes, and {most} are the most")
    return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two equal names they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names something twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def names_bytes(names: Sequence[str]) -> bytes:
    """Return the bytes of the file of image names: always the same for the same names."""
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
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(f"the names of the images do not have the digest that {METADATA} has")
    try:
        return tuple(loads(data, MAX_NAMES_BYTES))
    except (ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(f"cannot be parsed ({error})") from error
