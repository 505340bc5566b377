"""Reader of weight files from untrusted sources: it returns their content or a clear error."""

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.plainfile import why_unreadable
from logitpipe.stages.infer.weights.pickles import MOST_BYTES as MOST_PICKLE_BYTES
from logitpipe.stages.infer.weights.pickles import Storage, StoredTensor, read_pickles

MOST_BYTES = 16 << 30
"""Room for a vision transformer of a thousand million weights and its optimizer; beyond that memory is at risk."""

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number that opens what torch.save wrote before 1.6; four more pickles follow, then the numbers."""
# Magic number, protocol, system, content, and the keys of the storages.
LEGACY_PICKLES = 5
COUNT = struct.Struct("<q")

DEFAULT_PROTOCOL = b"\x80\x02"
"""Opens a pickle of protocol 2, the only one that torch itself reads with ``weights_only=True``."""

BytesOf = Callable[[Storage], bytearray]
"""From a storage that a pickle mentions to its bytes in the file."""


@dataclass(frozen=True)
class WeightFile:
    """A weight file that has been looked through; the numbers of tensors that torch.save wrote are still in it.

    Parameters
    ----------
    path : of the file
    content : dict, list, plain values, and `Tensor` or `StoredTensor` at the leaves
    objects : names of the Python objects beside them, which were not made
    form : which kind of file it is, for people
    storages : opens the file; gives a function from a storage to its bytes
    """

    path: Path
    content: object
    objects: Sequence[str]
    form: str
    storages: Callable[[], AbstractContextManager[BytesOf]]

    def load(self, entries: Mapping[str, Tensor | StoredTensor]) -> dict[str, Tensor]:
        """Return these tensors of the file's content; those that share numbers in the file share them in memory."""
        with _damage_told(self.path, self.form), self.storages() as bytes_of:
            read: dict[Storage, Tensor] = {}
            return {
                key: value if isinstance(value, Tensor) else _read_tensor(value, bytes_of, read)
                for key, value in entries.items()
            }


def _read_tensor(stored: StoredTensor, bytes_of: BytesOf, read: dict[Storage, Tensor]) -> Tensor:
    storage = stored.storage
    # Once for each storage: tied weights share numbers in the file, and go on sharing them in memory.
    if storage not in read:
        numbers = bytes_of(storage)
        # The count in the pickle is only a claim: without this, a shorter storage would pass as long as no tensor
        # reaches its end.
        if len(numbers) != storage.count * storage.dtype.itemsize:
            raise ValueError("a storage of another length than its pickle says")
        read[storage] = (
            torch.frombuffer(numbers, dtype=storage.dtype) if numbers else torch.empty(0, dtype=storage.dtype)
        )
    return torch.as_strided(read[storage], stored.shape, stored.stride, stored.offset)  # checks that all lies within


def read_weight_file(path: Path) -> WeightFile:
    """Look through a weight file; no code in it is ever run.

    Takes what ``torch.save`` wrote (read as `pickles` says) and safetensors, whatever the file's name says. A name
    that ends in ``.safetensors`` is a promise, though: such a file is never read as a pickle.

    Raises
    ------
    PipeError
        The file cannot be read, is damaged or is no weight file.
    """
    head = _head(path)
    form = _form(path, head)
    with _damage_told(path, form):
        return READERS[form](path)


@contextmanager
def _damage_told(path: Path, form: str) -> Iterator[None]:
    try:
        yield
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


def joint_sha256(paths: Sequence[Path]) -> str:
    """SHA-256 of one file; of several, that of their digests in order."""
    digests = [weights_sha256(path) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


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
    # The suffix first: who names a file .safetensors relies on no pickle being read, even if the content is one.
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"PK"):
        return "a zip archive"
    if head.startswith(LEGACY_START):
        return "pickles"
    raise _refusal(
        path, "a pickle that torch.save did not write" if head[:1] == b"\x80" else "it begins like neither"
    )


def _read_safetensors(path: Path) -> WeightFile:
    content = safetensors.torch.load_file(path)
    return WeightFile(path, content, (), "safetensors", lambda: nullcontext(lambda _: bytearray()))


def _read_zip(path: Path) -> WeightFile:
    with zipfile.ZipFile(path) as archive:
        data = _zipped_pickle(path, archive)
        root = archive.namelist()[0].partition("/")[0]
        order = f"{root}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise _refusal(path, "its numbers have their highest byte first")
    found = read_pickles(io.BytesIO(_checked_pickle(path, data)))

    @contextmanager
    def storages() -> Iterator[BytesOf]:
        with zipfile.ZipFile(path) as archive:
            yield lambda storage: bytearray(archive.read(f"{root}/data/{storage.key}"))

    return WeightFile(path, found.values[0], found.objects, "a zip archive", storages)


def _zipped_pickle(path: Path, archive: zipfile.ZipFile) -> bytes:
    """Return the one pickle of an archive whose members, unpacked, are no larger than it: torch never packs them."""
    members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise PipeError(
            f"A weight file must hold plain, dense tensors; {path} is TorchScript, which is code. "
            "Save the state dict alone: torch.save(model.state_dict(), path)."
        )
    # torch.save stores members uncompressed. A sum beyond the file's size means compression or lies: a zip bomb
    # ends here.
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _refusal(path, "a zip archive whose members are compressed, or claim more bytes than it has")
    names = [member.filename for member in members]
    pickled = [name for name in names if name.lower().endswith(".pkl")]
    if len(pickled) != 1 or len({name.partition("/")[0] for name in names}) != 1 or len(set(names)) != len(names):
        raise _refusal(path, "a zip archive with other members than torch.save writes")
    return archive.read(pickled[0])


def _read_legacy(path: Path) -> WeightFile:
    with path.open("rb") as file:
        start = _checked_pickle(path, file.read(LEGACY_PICKLES * MOST_PICKLE_BYTES), LEGACY_PICKLES)
    pickled = io.BytesIO(start)
    found = read_pickles(pickled, LEGACY_PICKLES)
    _, _, system, content, keys = found.values
    if not system.get("little_endian", True):
        raise _refusal(path, "its numbers have their highest byte first")
    # Behind the pickles each storage follows, in the order of the last pickle, with its count in front.
    places, place = dict[str, int](), pickled.tell()
    for key in keys:
        storage = found.storages[key]
        places[key] = place
        place += COUNT.size + storage.count * storage.dtype.itemsize
    # Before any storage is read: counts in the pickle are only claims.
    if place > path.stat().st_size:
        raise ValueError("storages of more bytes than the file has")

    @contextmanager
    def storages() -> Iterator[BytesOf]:
        """Open the file, and give what reads a storage of it."""

        def bytes_of(storage: Storage) -> bytearray:
            """Return the bytes of a storage; ValueError where the file has another count before them."""
            file.seek(places[storage.key])
            (count,) = COUNT.unpack(file.read(COUNT.size))
            if count != storage.count:
                raise ValueError("a storage of another length than its pickle says")
            return bytearray(file.read(count * storage.dtype.itemsize))

        with path.open("rb") as file:
            yield bytes_of

    return WeightFile(path, content, found.objects, "pickles", storages)


READERS: dict[str, Callable[[Path], WeightFile]] = {
    "safetensors": _read_safetensors,
    "a zip archive": _read_zip,
    "pickles": _read_legacy,
}


def _checked_pickle(path: Path, data: bytes, count: int = 1) -> bytes:
    if len(data) > count * MOST_PICKLE_BYTES:
        raise _refusal(path, f"a pickle of {len(data)} bytes, and {MOST_PICKLE_BYTES} are the most")
    if not data.startswith(DEFAULT_PROTOCOL):
        raise _refusal(path, "its pickle is not in torch.save's default protocol")
    return data


def _refusal(path: Path, reason: str) -> PipeError:
    return PipeError(
        f"A weight file must be what torch.save or safetensors wrote; {path} is not, or is cut short ({reason}). "
        "Download or copy it again, or save it anew: torch.save(model.state_dict(), path)."
    )


def _require_readable(path: Path) -> None:
    if reason := why_unreadable(path, MOST_BYTES):
        raise _unreadable(path, reason)


def _unreadable(path: Path | str, reason: str | None) -> PipeError:
    return PipeError(f"A weight file must be readable; {path}: {reason}", "check-weights")
