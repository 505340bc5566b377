"""Zips of stores, honest and forged."""

import io
import struct
import zipfile
from pathlib import Path


def recompressed(source: Path, target: Path, method: int) -> Path:
    """Copy a zip member by member, each compressed by another method."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return target


def with_member(source: Path, target: Path, name: str, data: bytes = b"more") -> Path:
    """Copy a zip and add a member, whatever its name."""
    target.write_bytes(source.read_bytes())
    with zipfile.ZipFile(target, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        archive.writestr(info, data)
    return target


def in_directory(data: bytes, name: str) -> int:
    """Where the entry of a member begins in the central directory."""
    encoded = name.encode()
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(encoded))
    assert data[start + 46 :].startswith(encoded)
    return start


def patched(source: Path, target: Path, name: str, offset: int, form: str, *values: int) -> Path:
    """Copy a zip and write numbers into the central directory's entry of a member."""
    data = bytearray(source.read_bytes())
    struct.pack_into(form, data, in_directory(bytes(data), name) + offset, *values)
    target.write_bytes(data)
    return target


def content_of(path: Path) -> dict[str, bytes]:
    """Every member of a zip by its name, as another program reads it."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}
