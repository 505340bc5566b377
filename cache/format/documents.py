"""JSON as the format has it: UTF-8, each name once, finite numbers, and no more of it than a store has reason to."""

import json
from typing import Any, NoReturn

MAX_JSON_BYTES = 32 << 20
"""Of one JSON file: the group's holds the names of all images, and a million of them fit."""


def loads(data: bytes) -> Any:  # noqa: ANN401 - JSON is of any type
    """Parse JSON that another program must read in the same way.

    Raises
    ------
    ValueError
        It is no JSON, is too long, names something twice, or holds NaN or infinity.
    RecursionError
        It is nested too deeply.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"{len(data)} bytes, and {MAX_JSON_BYTES} are the most")
    return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two equal names they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names something twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
