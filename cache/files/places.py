"""Where a store may lie, and what each place must be able to do: a folder, a zip file, a bucket, a web server."""

from collections.abc import Collection, Iterable, Sequence, Set
from pathlib import Path
from typing import Protocol

from logitpipe.cache.errors import UsageError

Place = Path | str
"""A path, or the text of a URL; a path would swallow one of the URL's slashes."""


class Files(Protocol):
    """Bytes by `/`-separated key, as a store is read from them; all of it may be called from any thread."""

    @property
    def root(self) -> Place:
        """Where the keys begin, for messages."""

    def read(self, key: str) -> bytes | None:
        """Return the bytes under `key`, or None if there are none.

        Raises
        ------
        PipeError
            There may be some, but they cannot be read.
        """

    def read_all(self, keys: Sequence[str]) -> Iterable[bytes | None]:
        """Return what `read` gives for each of the keys, in their order: at once where waiting is what takes long."""

    def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """Return the number of bytes under each of the keys that exist."""

    def listed(self, folder: str) -> Set[str] | None:
        """Return the keys of the files directly in a folder; None where nothing can be listed."""

    def all_keys(self) -> Iterable[str]:
        """Return every key there is, in any order; none where the place cannot be listed."""


def is_url(place: Place) -> bool:
    """Return whether a place is a URL."""
    return isinstance(place, str) and "://" in place


def as_place(text: str) -> Place:
    """Return the place that a text names; UsageError where it is empty, which a path would take for this folder."""
    if not text:
        raise UsageError("expected the path or the URL of a store, and found an empty text")
    return text if is_url(text) else Path(text)


def below(place: Place, name: str) -> Place:
    """Return the place of that name in a folder."""
    return place / name if isinstance(place, Path) else f"{place.rstrip('/')}/{name}"
