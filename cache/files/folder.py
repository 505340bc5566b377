"""Files of a store in a folder: reading tells absence from failure, and a crash leaves no half-written file."""

import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.files.steps import step
from logitpipe.cache.format.documents import MAX_JSON_BYTES, MAX_NAMES_BYTES
from logitpipe.cache.format.keys import IMAGES

PARTIAL = ".partial"
"""Ending of a file or folder that is being written; whatever still has it after a crash is swept."""

MAX_FILE_BYTES = (2 << 30) + (1 << 10)
"""No file of a store is larger: a chunk decodes to less than 2 GiB, and its codec adds a few bytes."""

MOST_STEM_BYTES = 200
"""Longest file name, in bytes, that is kept in a `.partial` name; most systems allow 255 bytes with the ending."""

WRITTEN_BYTES = 1 << 18
"""Bytes of one write call; with several megabytes in one call Linux takes three times as long to find the pages."""

NO_FOLDER_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
"""Error numbers from systems that can sync files but not folders."""


class Folder:
    """The files below a folder, by `/`-separated key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str) -> bytes | None:
        """Return the bytes under `key`, or None if there are none.

        Raises
        ------
        PipeError
            The file exists and cannot be read.
        IntegrityError
            What lies there is no file, or a larger one than a store has.
        """
        path = self.root / key
        try:
            # Before the file is opened: opening a pipe would wait for its writer, for ever.
            _require_file(self.root, key, path.stat())
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PipeError(f"{path}: cannot be read ({error.strerror})") from error

    def read_all(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the bytes under each of the keys, or None where there are none; raises as `read` does."""
        return map(self.read, keys)

    def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """Return the number of bytes under each of the keys that exist."""
        paths = {key: self.root / key for key in keys}
        return {key: path.stat().st_size for key, path in paths.items() if path.is_file()}

    def listed(self, folder: str) -> set[str]:
        """Return the keys of the files directly in a folder, without looking at each: a million take a second."""
        try:
            with os.scandir(self.root / folder) as entries:
                return {f"{folder}/{entry.name}" for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            raise PipeError(f"{self.root / folder}: cannot be read ({error.strerror})") from error

    def all_keys(self) -> Iterator[str]:
        """Yield the key of every file."""
        return (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if not path.is_dir())

    def publish(self, key: str, data: bytes) -> None:
        """Write `data` under `key` so that after a crash the key holds all of it or what it held before."""
        self.publish_all([(key, [data])])

    def publish_all(self, files: Iterable[tuple[str, Sequence[bytes]]]) -> None:
        """Write bytes under several keys, all durable when this returns; a key holds all of its own or what it held.

        The bytes of each come in pieces, as to join them would copy them. Files of other names are written and
        synced, renamed over their keys, and then each folder is synced once.
        """
        written: dict[str, Path] = {}
        try:
            for key, pieces in files:
                make_folders((self.root / key).parent)
                written[key] = beside(self.root / key)
                _write(written[key], key, pieces)
            # All bytes are durable by now: of an image that is cut short nothing was replaced before.
            for key, partial in written.items():
                step("file.rename", key)
                partial.replace(self.root / key)
        # BaseException: Ctrl-C must leave no half-written files either.
        except BaseException:
            for partial in written.values():
                partial.unlink(missing_ok=True)
            raise
        # After all renames, once for each folder: one sync makes all renames in a folder durable.
        for folder in dict.fromkeys(partial.parent for partial in written.values()):
            sync_folder(folder)

    def remove(self, key: str) -> None:
        """Remove the file under `key`, if there is one, and make that durable."""
        path = self.root / key
        if path.exists():
            step("file.remove", key)
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def partials(self, key: str) -> list[Path]:
        """Return the files that interrupted writes left in the folder `key` and below it."""
        return list((self.root / key).rglob(f"*{PARTIAL}"))


def _write(path: Path, key: str, pieces: Sequence[bytes]) -> None:
    """Write a new file durably; `key` is what it will be renamed to."""
    step("file.create", key)
    # Never an existing file: the name is random, so a file under it would be another writer's.
    with path.open("xb") as file:
        step("file.write", key)
        for data in pieces:
            for start in range(0, len(data), WRITTEN_BYTES):
                file.write(memoryview(data)[start : start + WRITTEN_BYTES])
        file.flush()
        step("file.sync", key)
        # The bytes before the name: a rename that outlives a crash must not lead to a file that is empty.
        os.fsync(file.fileno())


def beside(path: Path) -> Path:
    """Return a fresh name in the same folder, so that a rename between the two is one atomic step."""
    return path.with_name(f"{partial_stem(path.name)}.{uuid.uuid4().hex}{PARTIAL}")


def partial_stem(name: str) -> str:
    """Return what the name of a file begins with while it is written: itself, or a digest if it is long."""
    held = os.fsencode(name)
    return name if len(held) <= MOST_STEM_BYTES else hashlib.sha256(held).hexdigest()


def require_size(root: object, key: str, size: int) -> None:
    """Refuse a file that is larger than any of a store, before room is made for it.

    Parameters
    ----------
    root : path or URL of the store
    key, size : of the file

    Raises
    ------
    IntegrityError
        It has more bytes.
    """
    most = MAX_NAMES_BYTES if key == IMAGES else MAX_JSON_BYTES if key.endswith(".json") else MAX_FILE_BYTES
    if size > most:
        raise IntegrityError(f"cannot be read ({size} bytes, and {most} are the most)", root, file=key)


def _require_file(root: Path, key: str, status: os.stat_result) -> None:
    """Refuse devices, pipes and sockets, which never end or block the reader, and files that are too large."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise IntegrityError("cannot be read (a device, pipe or socket and no file)", root, file=key)
    require_size(root, key, status.st_size)


def make_folders(path: Path) -> None:
    """Create a folder and its missing ancestors, each durable before the next."""
    if not path.is_dir():
        # The ancestors first: a folder is durable only when the entry in its parent is.
        make_folders(path.parent)
        make_folder(path)


def make_folder(path: Path) -> None:
    """Create a folder in one that exists, and make it durable."""
    if not path.is_dir():
        step("folder.make", path)
        # Another process may have made it since the line above looked.
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder durable, where the system can: Windows and some network drives cannot."""
    if os.name == "nt":
        return
    step("folder.sync", path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
