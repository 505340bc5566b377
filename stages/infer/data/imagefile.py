"""One image file: its size from the header, its pixels from the bytes, and errors that name the file."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.plainfile import why_unreadable

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")
"""What is decoded, whatever a file's name says; of the rest that Pillow knows, some even start other programs."""

MOST_BYTES = 1 << 30
"""Of an image file: the most pixels that Pillow decodes take less, however they are stored."""


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width from the header, without decoding any pixel.

    Not for threads: it turns Pillow's warning about enormous images into an error for the while.

    Raises
    ------
    PipeError
        The file cannot be read, is no image, or has more pixels than Pillow's limit.
    """
    _require_readable(path)
    with naming(path), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as image:
            return image.height, image.width


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
    _require_readable(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipeError(f"{path}: cannot be read ({error.strerror})") from error


def _require_readable(path: Path) -> None:
    if reason := why_unreadable(path, MOST_BYTES):
        raise PipeError(f"{path}: cannot be read ({reason})")


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
            f"{path}: an image may have at most {Image.MAX_IMAGE_PIXELS} pixels, and this one has more; "
            "reduce it, or take it out of the data set"
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
