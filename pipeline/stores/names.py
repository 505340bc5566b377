"""Stores and images as people name them: a folder stands for the stores in it, `0` for the image `0.png`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.places import Place
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.reading.store import Store
from logitpipe.console.text import listed, printable


def stores_in(places: Sequence[Place]) -> tuple[Place, ...]:
    """Return places of stores; a folder that is none, but holds some, is replaced by these, by their names."""
    return tuple(store for place in places for store in _stores_of(place))


def find_image(store: Store, name: str) -> int:
    """Return the index of the image of a name, which may lack its folder and its ending where one image alone fits.

    Raises
    ------
    UsageError
        There is no such image, or several fit.
    """
    names = store.schema.images
    # The full name first: it always means itself, whatever else ends alike.
    if name in names:
        return names.index(name)
    fitting = [index for index, each in enumerate(names) if name in _short(each)]
    if len(fitting) == 1:
        return fitting[0]
    several = ", ".join(names[index] for index in fitting[:3])
    found = f"several images of {store.path} may be meant by {name!r}: {several}"
    none = f"there is no image {name!r} in {store.path}; there are {listed(names)}"
    raise UsageError(printable(found if fitting else none), option="images")


def find_images(store: Store, names: str) -> list[int]:
    """Return the indices of the images in a comma list, or of the one image of that name, comma included.

    Raises
    ------
    UsageError
        The store has no image of a name, or several.
    """
    wanted = [names] if names in store.schema.images else names.split(",")
    return list(dict.fromkeys(find_image(store, name) for name in wanted))


def _short(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    return str(path.with_suffix("")), path.name, path.stem


def _stores_of(place: Place) -> Iterator[Place]:
    # Every store has the array `labels`: where only that has metadata, the place is a store that has lost its own.
    if not isinstance(place, Path) or any(map(os.path.lexists, (place / METADATA, place / "labels" / METADATA))):
        yield place
        return
    # By name, so that tables of two runs over a folder stand in one order.
    inside = sorted(place.iterdir()) if place.is_dir() else []
    inside = [each for each in inside if each.suffix == ".zip" or os.path.lexists(each / METADATA)]
    # Without any, the folder itself goes on, to be told that it is no store.
    yield from inside or [place]
