"""From a place to its files: a folder, a zip file, a bucket, a web server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.archive import open_archive
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.files.places import Files, Place, is_url


def open_files(place: Place) -> Files:
    """Return the files of a place, whichever kind it is.

    Raises
    ------
    PipeError
        A zip file or URL that no store can be read from, or the extra `[cloud]` is not installed.
    """
    if is_url(place):
        # Imported here: obstore is an extra, and a store on disk is read without it.
        with need_cloud(str(place)):
            from logitpipe.cache.files.remote import open_url
        return open_url(str(place))
    path = Path(place)
    return open_archive(path) if path.is_file() else Folder(path)


@contextmanager
def need_cloud(url: str) -> Iterator[None]:
    """Say what is lacking where an import of the extra `[cloud]` fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PipeError(f"{url}: URLs need obstore, which is not installed", "install", extra="'.[cloud]'") from error
