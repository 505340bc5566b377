"""Locks on images of a store: one byte of a lock file for each image; a lock ends with its process."""

import os
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from threading import Lock as Mutex

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import make_folder
from logitpipe.cache.files.steps import step
from logitpipe.cache.format.keys import LOCK
from logitpipe.cache.writing.bytelock import TakenError, holder, lock_bytes, unlock_bytes

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag that refuses a link as lock file; a foreign store with such a link could create a file elsewhere."""

EVERYTHING = range(1 << 30)
"""All images that a store could have: who holds them may move or remove it."""

PATIENCE = 1.0
"""Seconds to wait for a taken image: a killed process needs a moment to end, and the last one locks all bytes."""


class BusyError(PipeError):
    """Someone else holds an image.

    Parameters
    ----------
    owner : who, in words
    image : index of one such image
    """

    def __init__(self, owner: str, image: int) -> None:
        super().__init__(f"{owner} is writing image {image}")
        self.owner, self.image = owner, image


class _File:
    """A lock file, shared by all locks of this process.

    The system gives its locks to processes, not to threads, and takes all of them back when the process closes any
    descriptor of the file. So threads are kept apart here, and the file stays open until its last lock is released.
    """

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.held: list[range] = []

    def take(self, ranges: list[range]) -> bool:
        """Lock all of the ranges, or none and raise BusyError; return False where files cannot be locked."""
        for asked in ranges:
            # The system does not keep threads of one process apart, so this search does. `held` is sorted and its
            # ranges do not overlap: only the last that begins before `asked.stop` can reach into it.
            before = bisect_left(self.held, asked.stop, key=lambda held: held.start)  # these begin before its end
            if before and (last := self.held[before - 1]).stop > asked.start:
                raise BusyError("this process", max(asked.start, last.start))
        locked, done = True, list[range]()
        for asked in ranges:
            try:
                locked &= lock_bytes(self.descriptors[0], asked)
            except TakenError as error:
                # All or nothing: who waits while holding some images could block one who holds others.
                self._unlock(done)
                pid, image = holder(self.descriptors[0], asked)
                raise BusyError(f"another process, pid {pid}," if pid else "another process", image) from error
            done.append(asked)
        self.held = sorted(self.held + ranges, key=lambda held: held.start)
        return locked

    def give(self, ranges: list[range]) -> None:
        """Let go of ranges that were taken."""
        given = set(ranges)
        self.held = [held for held in self.held if held not in given]
        self._unlock(ranges)

    def close(self, path: Path) -> None:
        """Close it, and remove it if no other process has a lock on it; one that has it open will notice."""
        # Everything is locked before the file is removed: this fails while any other process holds an image. The
        # identity is compared since another file may lie at the path by now.
        with suppress(TakenError, OSError):
            if lock_bytes(self.descriptors[0], EVERYTHING) and _identity(path) == _identity(self.descriptors[0]):
                step("lock.remove", path)
                path.unlink()
        for descriptor in self.descriptors:
            os.close(descriptor)

    def _unlock(self, ranges: list[range]) -> None:
        for taken in ranges:
            unlock_bytes(self.descriptors[0], taken)


_files: dict[tuple[int, int], _File] = {}
_mutex = Mutex()


class Lock:
    """Sole use of some images of a store, until it is released or its process ends, in whatever way.

    Parameters
    ----------
    store : the store's folder
    images : indices of the images, at least one
    patience : seconds to wait for them

    Attributes
    ----------
    store : the folder, wherever it was moved
    effective : False where the file system cannot lock, so that the lock keeps only this process's threads out

    Raises
    ------
    BusyError
        Another process, or another lock of this one, has one of the images.
    FileNotFoundError
        There is no such folder.
    """

    def __init__(self, store: Path, images: Collection[int], patience: float) -> None:
        self.store, self.effective, self._held = store, False, False
        # EVERYTHING is a billion indices: as a range it is one lock, as a list it would fill memory.
        self._ranges = [EVERYTHING] if images is EVERYTHING else list(_runs(images))
        # At least one try, also without patience.
        deadline = time.monotonic() + patience
        while not self._acquired(last=time.monotonic() >= deadline):
            time.sleep(0.02)

    def release(self) -> None:
        """Let others have the images; the last to do so removes the lock file. A second call does nothing."""
        with _mutex:
            if self._held:
                self._held = False
                _files[self._file].give(self._ranges)
                self._close_if_idle()

    def guards(self, store: Path) -> bool:
        """Return whether this is the lock of what lies at `store` now: no longer, if that was moved or removed."""
        try:
            return self._held and _identity(store / LOCK) == self._file
        except (FileNotFoundError, NotADirectoryError):
            return False

    def move(self, target: Path) -> None:
        """Rename the store's folder. The lock goes along; not on Windows, which moves no folder with an open file."""
        if os.name == "nt":
            self.release()
        with _mutex:  # a thread about to open the file finds it here or there, and knows it for one of this process
            self.store.rename(target)
        self.store = target

    def _acquired(self, last: bool) -> bool:
        """Try once; that someone else has an image is an error when it is the last time."""
        make_folder((self.store / LOCK).parent)
        step("lock.take", self.store)
        with _mutex:
            self._file = _opened(self.store / LOCK)
            try:
                self.effective = _files[self._file].take(self._ranges)
                self._held = True
                if not self.guards(self.store):  # the last writer removed the file before it was locked here
                    self._held = False
                    _files[self._file].give(self._ranges)
            except BusyError:
                if last:
                    raise
            finally:
                self._close_if_idle()
        return self._held

    def _close_if_idle(self) -> None:
        if not _files[self._file].held:
            _files.pop(self._file).close(self.store / LOCK)


def _opened(path: Path) -> tuple[int, int]:
    """Open a lock file, unless this process has it open; return what it is known by."""
    # A second descriptor is not harmless: closing it would drop all locks that this process has on the file.
    if path.exists() and (known := _identity(path)) in _files:
        return known
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    # The file may have become another between `exists` and `open`; a descriptor of a known file is then kept with
    # the first one and closed with it.
    _files.setdefault(_identity(descriptor), _File()).descriptors.append(descriptor)
    return _identity(descriptor)


def _identity(file: Path | int) -> tuple[int, int]:
    """Return device and inode, which identify a file under any name."""
    status = file.stat() if isinstance(file, Path) else os.fstat(file)
    return status.st_dev, status.st_ino


def _runs(images: Collection[int]) -> Iterator[range]:
    """Yield runs of consecutive indices in ascending order: two processes collide at the lowest common image."""
    for _, run in groupby(enumerate(sorted(set(images))), key=lambda pair: pair[1] - pair[0]):
        indices = [image for _, image in run]
        yield range(indices[0], indices[-1] + 1)
