"""Stores as they are given in Python: opened, by path or URL, or by the folder that holds them."""

from collections.abc import Sequence
from os import PathLike, fspath

from logitpipe.api.stores import LogitStore
from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.places import Place, as_place
from logitpipe.stores.names import stores_in

OneStore = str | PathLike[str] | LogitStore
"""A store, or its path or URL."""


def places_of(stores: OneStore | Sequence[OneStore]) -> tuple[Place, ...]:
    """Return the places of stores that were given as such, by their paths, or by the folder that holds them.

    Raises
    ------
    UsageError
        There is none.
    """
    each = [stores] if isinstance(stores, str | PathLike | LogitStore) else list(stores)
    if not each:
        raise UsageError("at least one store is expected", option="stores")
    return stores_in([as_place_of(store) for store in each])


def as_place_of(given: OneStore) -> Place:
    """Return the place of a store that was given as such or by its path."""
    return given.path if isinstance(given, LogitStore) else as_place(fspath(given))
