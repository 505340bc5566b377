"""Where a store is written: how it is made there, how its images are kept for one writer, how its bytes are put.

The commit of an image is the same everywhere (commit.py); what differs between a folder and a bucket is here.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.files.opening import need_cloud
from logitpipe.cache.files.places import Files, Place, is_url
from logitpipe.cache.files.steps import step
from logitpipe.cache.format import Schema, records
from logitpipe.cache.format.chunks import CHUNKS
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.reading.store import Store
from logitpipe.cache.writing.create import create_store, lock_all, require_free, require_removable, sweep_beside
from logitpipe.cache.writing.lock import PATIENCE, Lock


class Writable(Files, Protocol):
    """Files that can also be written."""

    def publish(self, key: str, data: bytes) -> None:
        """Put `data` under `key`, durably: after a crash the key holds all of it or what it held before."""

    def publish_all(self, files: Iterable[tuple[str, Sequence[bytes]]]) -> None:
        """Put bytes, each in pieces, under several keys, as `publish` does; all are durable when this returns."""

    def remove(self, key: str) -> None:
        """Remove what is under `key`, if there is anything, durably."""


class Claim(Protocol):
    """Sole use of some images, as far as the site can give that."""

    @property
    def effective(self) -> bool:
        """False where it keeps only this process's own threads out, as the drive cannot lock files."""

    def release(self) -> None:
        """Let others have the images; a second call does nothing."""


Sole = TypeVar("Sole", bound=Claim)


class Site(Protocol[Sole]):
    """A place that a store is written to."""

    @property
    def files(self) -> Writable:
        """The store's files."""

    def prepare(self, overwrite: bool) -> None:
        """Remove what dead writers left; refuse a place where no store can be made, or none be replaced.

        Raises
        ------
        PipeError
            Something else lies there, or someone writes the store that is to be replaced.
        """

    def occupied(self) -> bool:
        """Return whether a store is there."""

    def create(self, schema: Schema, images: Collection[int], overwrite: bool) -> Sole | None:
        """Make a store without images, in place of what store there is; None where another writer was first."""

    def claim(self, images: Collection[int]) -> Sole:
        """Keep others from writing these images.

        Raises
        ------
        BusyError
            Someone else is writing one of them.
        """

    def guarded(self, claim: Sole) -> bool:
        """Return whether the store that the claim is on still lies there."""

    def sweep(self, store: Store, images: Collection[int], claim: Sole) -> None:
        """Remove what interrupted commits of these images left."""


def open_site(place: Place) -> Site[Any]:
    """Return a place to write a store to: a folder, or a URL of s3://.

    Raises
    ------
    PipeError
        A URL that cannot be written to, or the extra `[cloud]` is not installed.
    """
    if not is_url(place):
        return FolderSite(Path(place))
    with need_cloud(str(place)):
        from logitpipe.cache.writing.bucket_site import BucketSite
    return BucketSite(str(place))


class FolderSite:
    """A store's folder: built beside its place, its images locked.

    Parameters
    ----------
    path : where the store is or will be
    """

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, Folder(path)

    def prepare(self, overwrite: bool) -> None:
        """See `Site`."""
        # Before anything is refused: what dead writers left beside the place is swept in every run.
        sweep_beside(self.path)
        if overwrite and require_removable(self.path):
            # Only a test that nobody writes it: refuse now, and not after the first image was computed.
            lock_all(self.path, "removed").release()
        elif not overwrite and not self.occupied():
            require_free(self.path)

    def occupied(self) -> bool:
        """See `Site`."""
        return (self.path / METADATA).exists()

    def create(self, schema: Schema, images: Collection[int], overwrite: bool) -> Lock | None:
        """See `Site`."""
        return create_store(self.path, schema, images, overwrite)

    def claim(self, images: Collection[int]) -> Lock:
        """See `Site`."""
        try:
            return Lock(self.path, images, PATIENCE)
        except OSError as error:
            raise PipeError(f"{self.path}: the store cannot be written ({error.strerror})") from error

    def guarded(self, claim: Lock) -> bool:
        """See `Site`."""
        return claim.guards(self.path)

    def sweep(self, store: Store, images: Collection[int], claim: Lock) -> None:
        """Remove half-written files of these images, unless the file system cannot tell that nobody writes them."""
        if not claim.effective:
            return
        own = {str(image) for image in images}
        left = [file for file in self.files.partials(records.FOLDER) if file.name.split(".")[0] in own]
        for array, spec in store.arrays.items():
            if spec.separator == "/":
                left += (file for image in own for file in self.files.partials(f"{array}/{CHUNKS}/{image}"))
            else:  # the chunks of all images lie in one folder, as c.IMAGE...
                left += (file for file in self.files.partials(array) if file.name.split(".")[1] in own)
        for file in left:
            step("sweep.file", file)
            file.unlink(missing_ok=True)
