"""Pack a store into one zip: every image is verified, bytes stay as they are, equal stores give equal zips."""

import os
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from logitpipe.cache.errors import IncompleteError, IntegrityError
from logitpipe.cache.files.folder import beside, sync_folder
from logitpipe.cache.files.places import Files
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.reading.store import Store
from logitpipe.cache.reading.verify import Damage, check_image, check_metadata

UNIX = 3
"""System that a zip says it was made on: the same everywhere, as equal stores give equal zips."""


def metadata_members(store: Store) -> dict[str, bytes]:
    """Return what describes a store, by key.

    Raises
    ------
    IntegrityError
        The metadata is damaged.
    """
    kept = _Kept(store.files)
    _require_sound(store, check_metadata(store.through(kept)))
    for key in (*store.schema.documents(), METADATA):
        kept.read(key)
    return kept.found


def image_members(store: Store, image: int) -> dict[str, bytes]:
    """Return the chunks and, last, the record of a committed image by their keys; these very bytes were verified.

    Raises
    ------
    IntegrityError
        The image is damaged; the message names it.
    IncompleteError
        It is not in the store.
    """
    kept = _Kept(store.files)
    check = check_image(store.through(kept), image)
    _require_sound(store, check.damages)
    if not check.committed:
        raise IncompleteError(f"{store.path}: image {check.name!r} was taken away while the store was packed")
    # `check_image` reads the record first. In the zip it comes last, as everywhere.
    record, *chunks = kept.found.items()
    return dict([*chunks, record])


def write_zip(path: Path, members: Iterable[Mapping[str, bytes]]) -> int:
    """Write a zip at `path` and return its size; after any failure nothing is there.

    Dates and rights are the same for all, so that the zip depends on the members and their order alone.

    Raises
    ------
    FileExistsError
        Something lies at `path`.
    """
    with _new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for group in members:
            for key, data in group.items():
                # ZipInfo's default date is 1980-01-01, and system and rights are set, so that nothing of the
                # machine gets into the zip.
                info = zipfile.ZipInfo(key)
                info.create_system, info.external_attr = UNIX, 0o644 << 16
                archive.writestr(info, data)
    return path.stat().st_size


class _Kept:
    """Files that remember all bytes read from them: what was verified is what is packed."""

    def __init__(self, files: Files) -> None:
        self.root, self._files = files.root, files
        self.found: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        data = self._files.read(key)
        if data is not None:
            self.found[key] = data
        return data

    def read_all(self, keys: Sequence[str]) -> Iterable[bytes | None]:
        return map(self.read, keys)

    def sizes(self, keys: Collection[str]) -> dict[str, int]:
        return self._files.sizes(keys)

    def listed(self, folder: str) -> Set[str] | None:
        return self._files.listed(folder)

    def all_keys(self) -> Iterable[str]:
        return self._files.all_keys()


def _require_sound(store: Store, damages: list[Damage]) -> None:
    if damages:
        first = damages[0]
        raise IntegrityError(f"{first.kind}, so the store was not packed", store.path, first.image, first.file)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that comes to lie at `path`, whole and durable, when the block ends without an error."""
    if path.exists():
        raise FileExistsError(f"{path} exists")
    partial = beside(path)
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            # Bytes are durable before the name is: after a crash the name never stands for half a zip.
            os.fsync(file.fileno())
        if path.exists():  # another command has made it meanwhile
            raise FileExistsError(f"{path} exists")
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
