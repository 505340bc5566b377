"""The files in a zip: members stored as they are, hence ranges of its bytes, each read without the rest.

Nothing is ever unpacked: names are keys, and no byte is decompressed. What such a zip cannot honestly contain
is refused when it is opened.
"""

import io
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.files.folder import require_size
from logitpipe.cache.format.keys import METADATA

HEADER = struct.Struct("<4s22xHH")
"""Local header before a member's bytes: a signature and, at its end, the lengths of the name and the extra field."""

SIGNATURE = b"PK\x03\x04"
ENCRYPTED = 1
"""Bit of a member's flags."""

MOST_EXTRA_BYTES = 0xFFFF
"""Of a local header's extra field, whose length has two bytes."""

MOST_DIRECTORY_BYTES = 64 << 20
"""Hundreds of thousands of members. A directory that takes more is not worth the memory."""

Fetch = Callable[[int, int], bytes]
"""Returns the bytes from a start to a stop, fewer where the file ends."""

UNREADABLE = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, EOFError)
"""What `zipfile` raises on bytes that are no zip, or a damaged one."""


@dataclass(frozen=True)
class Member:
    """Where a member lies: its header begins at `start`, its `size` bytes end at or before `stop`."""

    name: bytes
    start: int
    stop: int
    size: int


class Archive:
    """The members of a zip file by their names.

    Parameters
    ----------
    root : the zip's path or URL
    size : its number of bytes
    fetch : reads a range of them; may be called from any thread

    Raises
    ------
    PipeError
        It is no zip, or one that holds what a store's zip does not.
    IntegrityError
        It is cut off, or its directory contradicts itself.
    """

    def __init__(self, root: Path | str, size: int, fetch: Fetch) -> None:
        self.root, self._size, self._fetch = root, size, fetch
        try:
            with zipfile.ZipFile(_Window(size, fetch)) as directory:
                self._members = _below_folder(self._checked(directory.infolist(), directory.start_dir))
        except UNREADABLE as error:
            raise self._unreadable(error) from error

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a member, or None if there is no such member.

        Raises
        ------
        PipeError
            The zip cannot be read any more.
        IntegrityError
            The zip has another member, or nothing, where its directory promises this one, or a larger one than a
            store has.
        """
        member = self._members.get(key)
        if member is None:
            return None
        require_size(self.root, key, member.size)
        # One request gets header and bytes. The local header's extra field may differ from the directory's and has
        # an unknown length, so the range allows for the longest; what is too much is cut off below.
        block = self._fetch(member.start, min(member.stop, _reach(member) + 2 * MOST_EXTRA_BYTES))
        signature, name_length, extra_length = HEADER.unpack_from(block.ljust(HEADER.size, b"\0"))
        # `ljust` above: a zip that was cut off after it was opened gives fewer bytes than a header has, and that
        # must become the error below and not a struct.error.
        name_end = HEADER.size + name_length
        data = block[name_end + extra_length :][: member.size]
        if (signature, block[HEADER.size : name_end], len(data)) != (SIGNATURE, member.name, member.size):
            raise IntegrityError("the zip does not hold it where its directory says", self.root, file=key)
        return data

    def read_all(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the bytes under each of the keys, or None where there are none; raises as `read` does."""
        return map(self.read, keys)

    def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """Return the number of bytes of each of the members that exist."""
        return {key: self._members[key].size for key in keys if key in self._members}

    def listed(self, folder: str) -> set[str]:
        """Return the names of the members directly in a folder."""
        return {name for name in self._members if name.rpartition("/")[0] == folder}

    def all_keys(self) -> Iterable[str]:
        """Return the names of all members."""
        return self._members.keys()

    def _checked(self, infos: list[zipfile.ZipInfo], end: int) -> dict[str, Member]:
        """Return the members by name; folders, which some zip programs list, are left out."""
        # Two members of one name: readers differ in which of them they take, so neither is trusted.
        for name, count in Counter(info.filename for info in infos).items():
            if count > 1:
                raise IntegrityError(f"{name!r} is in the zip {count} times, and once was expected", self.root)
        infos = sorted((info for info in infos if not info.is_dir()), key=lambda info: info.header_offset)
        for info in infos:
            _require_plain(self.root, info)
        # Sorted by where they begin, each member must end before the next one begins (the last, before the
        # directory). Overlapping members would let a small zip promise any amount of data.
        stops = [stop for _, stop in pairwise([*(info.header_offset for info in infos), end])]
        members = {info.filename: _member(info, stop) for info, stop in zip(infos, stops, strict=True)}
        for name, member in members.items():
            if not 0 <= member.start <= _reach(member) <= member.stop:
                raise IntegrityError(f"{name!r} has no room for its {member.size} bytes in the zip", self.root)
        return members

    def _unreadable(self, error: Exception) -> PipeError:
        # A file that begins like a zip is a damaged zip; any other file was never one.
        if self._size >= len(SIGNATURE) and self._fetch(0, len(SIGNATURE)) == SIGNATURE:
            return IntegrityError(f"the zip is cut off or damaged ({error})", self.root)
        return PipeError(f"{self.root}: expected a logit store, but it is neither a folder nor a zip file")


def open_archive(path: Path) -> Archive:
    """Open a zip file on disk; no descriptor stays open.

    Raises
    ------
    PipeError, IntegrityError
        As `Archive` says, or the file cannot be read.
    """
    fetch = partial(_read_range, path)
    try:
        return Archive(path, path.stat().st_size, fetch)
    except OSError as error:
        raise PipeError(f"{path}: cannot be read ({error.strerror})") from error


def _read_range(path: Path, start: int, stop: int) -> bytes:
    """Read a range of a file that is opened for it: cheap beside the read, and threads share no position."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            return b"".join(_pieces(file, stop - start))
    except OSError as error:
        raise PipeError(f"{path}: cannot be read ({error.strerror})") from error


def _pieces(file: io.FileIO, count: int) -> Iterator[bytes]:
    while count > 0 and (piece := file.read(count)):
        yield piece
        count -= len(piece)


def _require_plain(root: Path | str, info: zipfile.ZipInfo) -> None:
    """Refuse a member that is no plain range of bytes under a plain name."""
    name = info.orig_filename  # another than `filename` where a NUL, a backslash or an extra field plays tricks
    if name != info.filename or re.search(r"[\\:]", name) or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise PipeError(f"{root}: {name!r} is no name that a store has; such a zip is not read")
    if info.flag_bits & ENCRYPTED:
        raise PipeError(f"{root}: {name!r} is encrypted, and a store is not", "pack-again")
    if info.compress_type != zipfile.ZIP_STORED:
        raise PipeError(f"{root}: {name!r} is compressed once more, and must be stored as it is", "pack-again")
    if info.compress_size != info.file_size:
        raise IntegrityError(f"{name!r} has two sizes, {info.compress_size} and {info.file_size} bytes", root)


def _below_folder(members: dict[str, Member]) -> dict[str, Member]:
    """Return the members by their names in a store, also from a zip of the store's folder instead of its files."""
    # A zip of the folder has one top folder with the group's metadata in it; anything else stays as it is, and is
    # refused later for lack of metadata.
    tops = {name.partition("/")[0] for name in members}
    if METADATA in members or len(tops) != 1 or f"{(top := tops.pop())}/{METADATA}" not in members:
        return members
    return {name.removeprefix(f"{top}/"): member for name, member in members.items()}


def _member(info: zipfile.ZipInfo, stop: int) -> Member:
    # Bit 11 of the flags: the name is UTF-8. Without it the zip specification says code page 437. The local header
    # has the name in the same bytes, and `read` compares them.
    encoding = "utf-8" if info.flag_bits & 0x800 else "cp437"
    return Member(info.orig_filename.encode(encoding), info.header_offset, stop, info.file_size)


def _reach(member: Member) -> int:
    """Return the first byte after a member whose local header has no extra field."""
    return member.start + HEADER.size + len(member.name) + member.size


class _Window(io.RawIOBase):
    """File object over ranges of bytes, from which `zipfile` reads the directory."""

    def __init__(self, size: int, fetch: Fetch) -> None:
        self._size, self._fetch, self._position = size, fetch, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, also beyond the end, as files can; ValueError before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        # `zipfile` looks for the directory backwards from the end; in a file too short it asks for a negative
        # place.
        if base + offset < 0:
            raise ValueError(f"byte {base + offset} does not exist")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; ValueError for more than a directory has reason to take."""
        stop = self._size if size < 0 else min(self._size, self._position + size)
        if stop - self._position > MOST_DIRECTORY_BYTES:
            raise ValueError(f"its directory takes more than {MOST_DIRECTORY_BYTES} bytes")
        data = self._fetch(self._position, stop) if stop > self._position else b""
        self._position += len(data)
        return data
