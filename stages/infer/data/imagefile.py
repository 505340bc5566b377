"""One image file: its size from the header, its pixels from the bytes, and errors that name the file."""

import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.plainfile import why_unreadable

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")
"""What is decoded, whatever a file's name says; of the rest that Pillow knows, some even start other programs."""

MOST_BYTES = 1 << 30
"""Of an image file: the most pixels that Pillow decodes take less, however they are stored."""

HEAD_BYTES = 4096
"""How much of a file is read for its header: what stands before pixels or frame is seldom longer."""

NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""For a pipe that has taken a file's place since it was listed; Windows knows text files."""

ORIENTATION = 0x0112
"""EXIF's tag for how a camera was held."""

_PNG = b"\x89PNG\r\n\x1a\n"
_HARMLESS = frozenset(b"PLTE tRNS gAMA cHRM sRGB pHYs sBIT bKGD tIME hIST tEXt".split())
"""Chunks of a PNG that need no second look before its pixels begin."""


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say.

    Parameters
    ----------
    size : height and width
    orientation : EXIF's, 1 where the file has none
    """

    size: tuple[int, int]
    orientation: int = 1


def read_header(path: Path) -> Header:
    """Return what the header says, without decoding any pixel.

    Of a PNG and a JPEG without peculiarities the first bytes are enough, at a fifth of what Pillow takes; any other
    file is opened by Pillow. May be called by several threads, within `quiet_about_bombs`.

    Raises
    ------
    PipeError
        The file cannot be read, is no image, or has more pixels than Pillow's limit.
    """
    # A data set may have 100,000 files, and each is asked before the first image is computed.
    if header := _at_a_glance(path):
        return header
    if reason := why_unreadable(path, MOST_BYTES):
        raise PipeError(f"{path}: cannot be read ({reason})")
    with naming(path):
        if path.suffix.lower() == ".npy":
            return Header(_array_size(path))
        header = _by_pillow(path)
        if Image.MAX_IMAGE_PIXELS and header.size[0] * header.size[1] > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
    return header


@contextmanager
def quiet_about_bombs() -> Iterator[None]:
    """Keep Pillow's warning about enormous images down while headers are read: they are refused in any case.

    Filters belong to the process, so one thread sets them around all that read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode(data: bytes, path: Path) -> Image.Image:
    """Decode all pixels of an image file.

    Parameters
    ----------
    data : the bytes of the file
    path : where they are from, for the error

    Raises
    ------
    PipeError
        The bytes are no image, are cut short, hold more pixels than Pillow's limit, or several pictures.
    """
    with naming(path):
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError  # up to twice as many Pillow only warns
        _require_still(image, path)
        image.load()
    return image


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file; a PipeError that names it where they cannot be read."""
    if reason := why_unreadable(path, MOST_BYTES):
        raise PipeError(f"{path}: cannot be read ({reason})")
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipeError(f"{path}: cannot be read ({error.strerror})") from error


def read_stamped(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a file and, as it was before they were read, its `file_stamp`."""
    stamp = file_stamp(path)
    return read_bytes(path), stamp


def file_stamp(path: Path) -> str:
    """Return size and time of the last change of a file, as text: while they stay, its content is taken to stay."""
    try:
        status = path.stat()
    except OSError as error:
        raise PipeError(f"{path}: cannot be read ({error.strerror})") from error
    return f"{status.st_size} bytes, {status.st_mtime_ns} ns"


def _at_a_glance(path: Path) -> Header | None:
    """Return the header of an ordinary file from its first bytes; None for any other, which takes a closer look."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_WAITING)
        try:
            status = os.fstat(descriptor)
            # On the open descriptor: the file may have been replaced by a pipe since the folder was listed.
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                return None
            head = os.read(descriptor, HEAD_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    size = _png_size(head) or _jpeg_size(head)
    if size is None or (Image.MAX_IMAGE_PIXELS and size[0] * size[1] > Image.MAX_IMAGE_PIXELS):
        return None
    return Header(size)


def _png_size(head: bytes) -> tuple[int, int] | None:
    """Return height and width of a PNG whose chunks up to its pixels are harmless, else None."""
    if head[:8] != _PNG or head[12:16] != b"IHDR":
        return None
    place = 33  # behind the header's own chunk
    while place + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, place)
        if kind == b"IDAT":
            width, height = struct.unpack_from(">II", head, 16)
            return (height, width) if width and height else None
        # eXIf, acTL and the like change what the picture is: these go to Pillow.
        if kind not in _HARMLESS:
            return None
        place += 12 + length
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return height and width of a JPEG without EXIF whose frame begins within its first bytes, else None."""
    if head[:3] != b"\xff\xd8\xff":
        return None
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4], "big")
        # Baseline, extended and progressive frames; others are rare enough for Pillow.
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = struct.unpack_from(">HH", head, place + 5)
            return (height, width) if width and height else None
        # APP0, and tables and comments up to the frame; APP1 may hold an orientation, APP2 further pictures.
        if marker not in (0xE0, 0xDB, 0xC4, 0xFE, 0xDD):
            return None
        place += 2 + length
    return None


def _by_pillow(path: Path) -> Header:
    with Image.open(path, formats=FORMATS) as image:
        # `getexif` parses more of the file, so it is called only where there is something to find.
        has_exif = "exif" in image.info or image.format in ("TIFF", "MPO")
        orientation = image.getexif().get(ORIENTATION, 1) if has_exif else 1
        return Header((image.height, image.width), orientation if isinstance(orientation, int) else 1)


def _array_size(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if len(shape) != 2 or dtype.kind not in "bui":
        raise PipeError(f"{path}: a mask must be an array of integers (height, width), found {dtype} {shape}")
    return shape


def _require_still(image: Image.Image, path: Path) -> None:
    """Refuse an animation, of which nobody said which picture is meant; cameras put a preview behind a JPEG."""
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise PipeError(f"{path}: expected one picture, this file is an animation; save one picture of it")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with an image into a PipeError that names its file."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PipeError(
            f"{path}: an image may have at most {Image.MAX_IMAGE_PIXELS} pixels, and this one has more", "max-pixels"
        ) from error
    except UnidentifiedImageError as error:
        raise PipeError(
            f"{path}: expected an image ({', '.join(FORMATS)}), and this file is none; take it out or fetch it anew"
        ) from error
    except PipeError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        if isinstance(error, OSError) and error.errno:
            raise PipeError(f"{path}: cannot be read ({error.strerror})") from error
        raise PipeError(
            f"{path}: expected an image that decodes to its end ({error}); fetch the file anew"
        ) from error
