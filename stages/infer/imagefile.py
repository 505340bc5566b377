"""One image file: its size from the header, its pixels from the bytes, and errors that name the file."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cache.errors import PipeError


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width from the header, without decoding any pixel.

    Not for threads: it turns Pillow's warning about enormous images into an error for the while.

    Raises
    ------
    PipeError
        The file cannot be read, is no image, or has more pixels than Pillow's limit.
    """
    with naming(path), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
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
        The bytes are no image, are cut short, or hold more pixels than Pillow's limit.
    """
    with naming(path):
        image = Image.open(io.BytesIO(data))
        image.load()
    return image


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file; a PipeError that names it where they cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipeError(f"{path}: cannot be read ({error.strerror})") from error


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
        raise PipeError(f"{path}: expected an image, and this file is none; take it out or fetch it anew") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        raise PipeError(
            f"{path}: expected an image that decodes to its end ({error}); fetch the file anew"
        ) from error
