"""A snapshot of a store: an image that changes after its record was read is an error."""

from collections.abc import Iterable

from logitpipe.cache.errors import IncompleteError, PipeError
from logitpipe.cache.files.places import Files, Place
from logitpipe.cache.format import Schema
from logitpipe.cache.format.records import Record
from logitpipe.cache.reading.store import Store, open_store


class PinnedStore(Store):
    """A store that keeps each completion record once it was read.

    All that is read of an image later must fit the record that was read first: where another process replaces the
    image in between, a chunk that differs is an error, and old labels never meet new logits.
    """

    def __init__(self, files: Files, schema: Schema) -> None:
        super().__init__(files, schema)
        self._records: dict[int, Record] = {}

    def record(self, image: int) -> Record:
        """Return the completion record of an image that was committed when the reading began.

        Raises
        ------
        PipeError
            The image is there no more.
        IntegrityError
            The record is damaged, or belongs to another image or store.
        """
        if image not in self._records:
            # `setdefault`: of two threads that read at once both keep the first one's record.
            self._records.setdefault(image, self._read_record(image))
        return self._records[image]

    def _read_record(self, image: int) -> Record:
        try:
            return super().record(image)
        except IncompleteError as error:
            raise PipeError(
                f"{self.path}: image {self.schema.images[image]!r} was there and is gone: another process removes or "
                "replaces the store",
                "wait-and-repeat",
            ) from error


def open_pinned(places: Iterable[Place]) -> list[Store]:
    """Open stores for a run, each once: one that is rewritten meanwhile ends in an error; raises as `open_store`.

    A store that is named twice would count twice, and its rows could not be told apart.
    """
    opened = [open_store(place) for place in dict.fromkeys(places)]
    return [PinnedStore(store.files, store.schema) for store in opened]
