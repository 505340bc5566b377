"""The files behind a URL: objects of a bucket, or what a web server hands out; obstore does the talking.

Every request is safe to repeat, and is repeated after a refused or broken connection, a time-out and an answer
that says "not now" (5xx, 429), with growing waits, for `PATIENCE` seconds. Then it is an error: what cannot be read
is never taken for absent.
"""

import re
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import from_url

from logitpipe.cache.errors import IntegrityError, PipeError, UnreachableError
from logitpipe.cache.files.archive import Archive
from logitpipe.cache.files.causes import cause_of, first_line
from logitpipe.cache.files.folder import require_size
from logitpipe.cache.files.places import Files
from logitpipe.cache.format.documents import MAX_JSON_BYTES

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

PATIENCE = 20.0
"""Seconds after which no request is repeated; a request under way may still run until its own time-out."""

CONNECTIONS = 16
"""How many objects are read at the same time: what takes long is waiting for each answer to begin."""

QUESTIONS = 32
"""How many files a web server is asked for at the same time where only their sizes are wanted."""

GZIP = b"\x1f\x8b"
"""First bytes of gzip, which a web server may send for a JSON document; no JSON begins so."""

NOT_ABSENT = re.compile("NoSuchBucket|status code: 405")
"""Errors that obstore raises as FileNotFoundError although they do not mean that the file is absent."""

NO_HEAD = re.compile("405 Method Not Allowed|501 Not Implemented")
"""Answers of a server that serves files but does not support HEAD requests."""

CLIENT: "ClientConfig" = {
    "allow_http": True,  # for whoever writes http://, in the URL or as the endpoint of a bucket
    "connect_timeout": "5s",
    "read_timeout": "10s",
    "timeout": "60s",
}
RETRY: "RetryConfig" = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=PATIENCE),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
}

Answer = TypeVar("Answer")


class Remote:
    """Objects by key below a URL.

    Parameters
    ----------
    url : where the keys begin, without a slash at the end
    """

    def __init__(self, url: str) -> None:
        self.root = url
        try:
            self.objects: ObjectStore = from_url(url, client_options=CLIENT, retry_config=RETRY)
        except (BaseError, ValueError) as error:
            raise PipeError(f"{url}: such a URL leads nowhere ({first_line(error)})") from error

    def read(self, key: str) -> bytes | None:
        """Return the bytes of an object, or None if there is none.

        Raises
        ------
        UnreachableError
            The server cannot be reached, refuses, or breaks off again and again.
        IntegrityError
            It has a larger file than a store has.
        """
        return self.ask(key, lambda: self._bytes(key))

    def _bytes(self, key: str) -> bytes:
        # `get` tells the size before the bytes are fetched, so a file that is too large is refused without room for
        # it.
        answer = self.objects.get(key)
        require_size(self.root, key, answer.meta["size"])
        data = bytes(answer.bytes())
        return self._unpacked(key, data) if key.endswith(".json") and data.startswith(GZIP) else data

    def _unpacked(self, key: str, data: bytes) -> bytes:
        """Decompress a JSON document that was stored or sent as gzip."""
        try:
            # One byte more than allowed is enough to see that there are too many; a compression bomb never unfolds
            # further.
            plain = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, MAX_JSON_BYTES + 1)
        except zlib.error as error:
            raise IntegrityError(f"cannot be unpacked ({error})", self.root, file=key) from error
        require_size(self.root, key, len(plain))
        return plain

    def read_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of several objects, asked for at the same time; raises as `read` does."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(self.read, keys))

    def size(self, key: str) -> int | None:
        """Return the number of bytes of an object, or None if there is none; raises as `read` does."""
        try:
            return self.ask(key, lambda: self.objects.head(key)["size"])
        except UnreachableError as error:
            if not NO_HEAD.search(str(error)):
                raise
            # The size stands before the bytes, which are not asked for.
            return self.ask(key, lambda: self.objects.get(key).meta["size"])

    def ask(self, key: str, question: Callable[[], Answer]) -> Answer | None:
        """Return the answer to a question about an object, or None if there is no such object.

        obstore repeats what fails before the answer begins. An answer that breaks off is asked for again here.
        """
        started = time.monotonic()
        while True:
            try:
                return question()
            except (FileNotFoundError, BaseError) as error:
                account = str(error)
                # Only a real 404 means absent. A missing bucket or a 405 arrives as FileNotFoundError too, and
                # reading these as absent would make a complete store look empty.
                if isinstance(error, FileNotFoundError) and not NOT_ABSENT.search(account):
                    return None
                if "body error" not in account or time.monotonic() - started > PATIENCE:
                    cause = cause_of(account, urlsplit(self.root).scheme)
                    raise UnreachableError(f"{self.root}/{key}: {cause}") from error
                time.sleep(1)


class Bucket(Remote):
    """Objects of a bucket, which can be listed; nothing in its URL is decoded: `%20` is three characters."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # `from_url` decodes the path; quoted first, it comes out as it was written, as keys do.
        super().__init__(f"{parts.scheme}://{parts.netloc}{quote(parts.path)}")
        self.root = url

    def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """Return the number of bytes of those of the objects that exist, by listing the folders they are in."""
        folders = {key[: max(0, key.find("/"))] for key in keys}
        listed = {key: size for folder in folders for key, size in self._list(folder)}
        return {key: listed[key] for key in keys if key in listed}

    def listed(self, folder: str) -> set[str]:
        """Return the keys of the objects directly in a folder."""
        return {key for key, _ in self._list(folder) if key.rpartition("/")[0] == folder}

    def all_keys(self) -> Iterable[str]:
        """Return the keys of all objects."""
        return [key for key, _ in self._list("")]

    def _list(self, folder: str) -> list[tuple[str, int]]:
        def question() -> list[tuple[str, int]]:
            return [(meta["path"], meta["size"]) for page in self.objects.list(folder or None) for meta in page]

        # Pages are fetched inside the question: a listing that breaks off half-way is asked for again as a whole,
        # as a part of it would look like missing images.
        return self.ask(folder, question) or []


class Web(Remote):
    """Files of a web server, which cannot be listed: each is asked for."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._known: dict[str, int] = {}

    def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """Return the number of bytes of those of the files that exist; what was there is not asked for again."""
        unknown = [key for key in keys if key not in self._known]
        with ThreadPoolExecutor(QUESTIONS) as pool:
            found = zip(unknown, pool.map(self.size, unknown), strict=True)
            self._known |= {key: size for key, size in found if size is not None}
        return {key: self._known[key] for key in keys if key in self._known}

    def listed(self, _folder: str) -> None:
        """Return None, as nothing can be listed."""

    def all_keys(self) -> Iterable[str]:
        """Return nothing, as nothing can be listed."""
        return ()


KINDS: "dict[str, type[Bucket] | type[Web]]" = {"s3": Bucket, "gs": Bucket, "http": Web, "https": Web}


def open_url(url: str) -> Files:
    """Return the files below a URL; below one that ends in `.zip`, the members of that zip.

    Raises
    ------
    PipeError
        The URL is of an unknown kind or has parts that have no meaning here, or the zip cannot be read.
    """
    require_plain(url)
    kind, plain = KINDS[urlsplit(url).scheme], url.rstrip("/")
    if not plain.endswith(".zip"):
        return kind(plain)
    # The zip is an object of the folder above it; its members are ranges of that one object.
    folder, _, name = plain.rpartition("/")
    return _open_zip(kind(folder), name)


def require_plain(url: str) -> None:
    """Refuse a URL of an unknown kind, or with parts that have no meaning here."""
    parts = urlsplit(url)
    if parts.scheme not in KINDS:
        raise PipeError(f"{url}: a store has a path or a URL of {', '.join(f'{kind}://' for kind in KINDS)}")
    if parts.query or parts.fragment or "@" in parts.netloc:  # secrets, and results name the store
        raise PipeError(
            f"{parts.scheme}://{parts.hostname}: a URL with a password, `?` or `#` in it is not read", "download"
        )
    if not parts.netloc:
        raise PipeError(f"{url}: the URL names no host and no bucket")


def _open_zip(files: "Bucket | Web", name: str) -> Archive:
    def fetch(start: int, stop: int) -> bytes:
        """Return a range of the zip's bytes."""
        data = files.ask(name, lambda: bytes(files.objects.get_range(name, start=start, end=stop)))
        # The zip was there when its size was asked for: None here is a removal in between, not an absent member.
        if data is None:
            raise UnreachableError(f"{files.root}/{name}: the zip is gone")
        return data

    size = files.size(name)
    if size is None:
        raise PipeError(f"{files.root}/{name}: expected a logit store, but there is no such file")
    return Archive(f"{files.root}/{name}", size, fetch)
