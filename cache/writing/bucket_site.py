"""A store in an S3 bucket: an object is put whole or not at all, and of several creators only one succeeds.

There are no locks. Two commands on one image compute it twice; its record comes last and names the chunks of one of
them, so that where their numbers differ the image is whole or found to be damaged, never a mixture.
"""

from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit

from obstore.exceptions import AlreadyExistsError

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.remote import Bucket, require_plain
from logitpipe.cache.format import Schema, records
from logitpipe.cache.format.keys import IMAGES, METADATA
from logitpipe.cache.format.schema import FORMAT, metadata_bytes
from logitpipe.cache.reading.store import Store, open_store


class Objects(Bucket):
    """Objects of a bucket that can also be put and deleted."""

    def publish(self, key: str, data: bytes) -> None:
        """Put an object; until that is done the key holds what it held."""
        self.ask(key, lambda: self.objects.put(key, data))

    def publish_all(self, files: Iterable[tuple[str, Sequence[bytes]]]) -> None:
        """Put several objects, one after the other."""
        for key, pieces in files:
            self.publish(key, b"".join(pieces))

    def publish_first(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one; return whether it was put."""

        def put() -> bool:
            """Return whether the key was free; the bucket decides, at once for all who ask."""
            try:
                self.objects.put(key, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

        return bool(self.ask(key, put))

    def remove(self, key: str) -> None:
        """Delete an object, if there is one."""
        self.remove_all([key])

    def remove_all(self, keys: Collection[str]) -> None:
        """Delete objects, those that there are."""
        if keys:
            self.ask("", lambda: self.objects.delete(list(keys)))


class NoLock:
    """NoLock: S3 offers no locks; this claim does nothing."""

    effective = True  # there is nothing to warn of that was expected to work

    def release(self) -> None:
        """Do nothing, as nothing is held."""


class BucketSite:
    """A store's folder in a bucket.

    Parameters
    ----------
    url : of it, s3://BUCKET/FOLDER

    Raises
    ------
    PipeError
        The URL is another.
    """

    def __init__(self, url: str) -> None:
        require_plain(url)
        self.url, parts = url.rstrip("/"), urlsplit(url)
        if parts.scheme != "s3" or not parts.path.strip("/") or self.url.endswith(".zip"):
            raise PipeError(f"{url}: a store is written to a folder or to s3://BUCKET/FOLDER, and not into a zip")
        self.files = Objects(self.url)

    def prepare(self, overwrite: bool) -> None:
        """Refuse a place where no store can be made, or what is no store and would be replaced."""
        if not self.occupied():
            self._require_free()
        elif overwrite:
            self._require_store()

    def occupied(self) -> bool:
        """Return whether a store is there."""
        return self.files.size(METADATA) is not None

    def create(self, schema: Schema, _images: Collection[int], overwrite: bool) -> NoLock | None:
        """Make a store without images; None where another writer was first.

        The group's metadata is put last, and by one creator only. The others write the arrays' metadata that belong
        to it, as they may have put their own there.
        """
        if overwrite and self.occupied():
            self._require_store()
            self._clear()
        self._describe_arrays(schema)
        # The only step that two creators race for: whose metadata is there has made the store.
        if self.files.publish_first(METADATA, metadata_bytes(schema.metadata())):
            return NoLock()
        # Another creator won. This process may have put its own arrays' metadata over the winner's a moment ago.
        self._describe_arrays(open_store(self.url).schema)
        return None

    def claim(self, _images: Collection[int]) -> NoLock:
        """Return a claim that does nothing, as S3 offers no locks."""
        return NoLock()

    def guarded(self, _claim: NoLock) -> bool:
        """Return whether the store still lies there."""
        return self.occupied()

    def sweep(self, _store: Store, _images: Collection[int], _claim: NoLock) -> None:
        """Do nothing, as no object is ever half-written."""

    def _describe_arrays(self, schema: Schema) -> None:
        for name, spec in schema.arrays().items():
            self.files.publish(f"{name}/{METADATA}", metadata_bytes(spec.metadata()))
        self.files.publish_all((key, [data]) for key, data in schema.documents().items())

    def _clear(self) -> None:
        """Delete a store in such an order that at every moment it is one, with ever fewer images, or none."""
        keys = set(self.files.all_keys()) - {METADATA}
        # Records first: an image without a record is absent, and one whose record outlives its chunks would be
        # damaged.
        marks = {key for key in keys if key.startswith(f"{records.FOLDER}/")}
        self.files.remove_all(marks)
        self.files.remove_all(keys - marks)
        self.files.remove(METADATA)

    def _require_store(self) -> None:
        if FORMAT.encode() not in (self.files.read(METADATA) or b""):
            raise PipeError(f"{self.url}: a logit store was expected and there is none, so it was not removed")

    def _require_free(self) -> None:
        """Refuse a folder with anything in it but what an interrupted creation leaves."""
        # Creation puts the arrays' metadata and the names before the group's: these alone may be left of one that
        # was cut short.
        keys = set(self.files.all_keys()) - {IMAGES}
        if any(not (key.count("/") == 1 and key.endswith(f"/{METADATA}")) for key in keys):
            raise PipeError(f"{self.url}: a store can only be made where nothing lies", "other-out")
