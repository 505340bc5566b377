"""Weight files: from bytes that nobody vouches for to what they hold, or an error in clear words."""

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors.torch
import torch

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.plainfile import why_unreadable
from logitpipe.stages.infer.weights import pickles

MOST_BYTES = 16 << 30
"""Room for a vision transformer of a thousand million weights and its optimizer; beyond that memory is at risk."""

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number that opens what torch.save wrote before 1.6; four more pickles follow, then the numbers."""
LEGACY_PICKLES = 5

DEFAULT_PROTOCOL = b"\x80\x02"
"""Opens a pickle of protocol 2, the only one that torch reads with ``weights_only=True``."""


def read_weight_file(path: Path) -> object:
    """Return what a weight file holds; no code in it is ever run.

    Takes what ``torch.save`` wrote (read with ``weights_only=True``, after its pickles were looked through) and
    safetensors, whatever the file's name says. A name that ends in ``.safetensors`` is a promise, though: such a
    file is never read as a pickle.

    Raises
    ------
    PipeError
        The file cannot be read, is damaged or no weight file, or holds Python objects other than dense tensors.
    """
    head = _head(path)
    form = _form(path, head)
    try:
        # What torch warns of here, such as an unusual pickle protocol, becomes an error anyway where it matters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return READERS[form](path)
    except PipeError:
        raise
    # Damaged bytes can make any parser raise anything at all, and every one of them means the same.
    except Exception as error:
        raise _refusal(path, f"{form} that cannot be read") from error


def weights_sha256(path: Path | str) -> str:
    """SHA-256 of the file's bytes, as 64 hexadecimal digits; PipeError where it cannot be read."""
    _require_readable(Path(path))
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error.strerror) from error


def _head(path: Path) -> bytes:
    """Return the first bytes, once they are not those that downloads leave in place of weights."""
    _require_readable(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    if not head:
        raise PipeError(f"A weight file must hold weights; {path} is empty. Download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise PipeError(f"A weight file must hold weights; {path} is a git-lfs pointer. Run `git lfs pull`.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise PipeError(f"A weight file must hold weights; {path} is a web page. Download the file itself.")
    return head


def _form(path: Path, head: bytes) -> str:
    """Tell the form by the content: safetensors open with the length of a JSON header in 8 bytes, then the header."""
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"PK"):
        return "a zip archive"
    if head.startswith(LEGACY_START):
        return "pickles"
    raise _refusal(
        path, "a pickle that torch.save did not write" if head[:1] == b"\x80" else "it begins like neither"
    )


def _read_zip(path: Path) -> object:
    for data in _zipped_pickles(path):
        _refuse_objects(path, data)
    return _load(path)


def _read_legacy(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(LEGACY_PICKLES * pickles.MOST_BYTES)
    _refuse_objects(path, start, LEGACY_PICKLES)
    return _load(path)


def _load(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


READERS: dict[str, Callable[[Path], object]] = {
    "safetensors": safetensors.torch.load_file,
    "a zip archive": _read_zip,
    "pickles": _read_legacy,
}


def _zipped_pickles(path: Path) -> Iterator[bytes]:
    """Yield every pickle of a zip whose members, unpacked, are no larger than the file: torch never packs them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise PipeError(
                f"A weight file must hold plain, dense tensors; {path} is TorchScript, which is code. "
                "Save the state dict alone: torch.save(model.state_dict(), path)."
            )
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise _refusal(path, "a zip archive whose members are compressed, or claim more bytes than it has")
        for member in members:
            if member.filename.lower().endswith(".pkl"):  # torch finds names whatever their case
                yield archive.read(member)


def _refuse_objects(path: Path, data: bytes, count: int = 1) -> None:
    if len(data) > count * pickles.MOST_BYTES:
        raise _refusal(path, f"a pickle of {len(data)} bytes, and {pickles.MOST_BYTES} are the most")
    if not data.startswith(DEFAULT_PROTOCOL):
        raise _refusal(path, "its pickle is not in torch.save's default protocol")
    if found := pickles.foreign_objects(io.BytesIO(data), count):
        raise PipeError(
            f"A weight file must hold plain, dense tensors; {path} also holds the Python object {found[0]}, and to "
            "load other kinds could run code. Save the state dict alone, where you trust the file: "
            "torch.save(model.state_dict(), path)."
        )


def _refusal(path: Path, reason: str) -> PipeError:
    return PipeError(
        f"A weight file must be what torch.save or safetensors wrote; {path} is not, or is cut short ({reason}). "
        "Download or copy it again, or save it anew: torch.save(model.state_dict(), path)."
    )


def _require_readable(path: Path) -> None:
    if reason := why_unreadable(path, MOST_BYTES):
        raise _unreadable(path, reason)


def _unreadable(path: Path | str, reason: str | None) -> PipeError:
    return PipeError(f"A weight file must be readable; {path}: {reason}. Check --weights.")
