"""Safe reader of pickles: it makes dense tensors and plain values, and a name in place of everything else.

A pickle is a program that calls whatever it names. Here every name leads to one of the few functions of `BUILDERS`
or to an inert `Foreign`, so nothing that a file asks for is imported, constructed or called. A network or a
training's settings that lie beside the weights therefore do no harm and are simply not there. The numbers of a tensor
lie elsewhere in its file and are read later, for those tensors that are wanted.
"""

import io
import pickle
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any

import torch

MOST_BYTES = 1 << 20
"""A pickle of tensors holds their names and shapes: 43 kB for EoMT of 24 blocks, 131 kB with its optimizer."""

MOST_COPIED = 1 << 20
"""Items that calls may copy. Lists come into being item by item, but a call can copy a long one in a few bytes."""

STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
"""Kinds of numbers in which dense tensors are stored."""

ORDINARY = {
    "collections.Counter",
    "builtins.set",
    "_codecs.encode",
    "torch.device",
    *(str(dtype) for dtype in STORAGES.values()),
}
"""Objects that are common in checkpoints and not needed: they are not made, and no note is given."""


class Foreign:
    """Placeholder for an object that is not made; it ignores items, state and calls."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def _forget(self, *_: object) -> None:
        """Take anything and do nothing."""

    def __call__(self, *_: object) -> "Foreign":
        """Be what a call of it would have made: a method of an object that is not made, for one."""
        return self

    __setstate__ = __setitem__ = append = extend = add = _forget


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in a row, which lie in the file under a key."""

    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor whose numbers have not been read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Dictionary(dict[object, object]):
    """A dict that forgets attributes, such as a state dict's `_metadata`: they could shadow its methods.

    Keys other than text and numbers are forgotten too: to hash a tuple in a tuple in a tuple ... ends the process.
    """

    def __setstate__(self, state: object) -> None:
        """Forget the state."""

    def __setitem__(self, key: object, value: object) -> None:
        """Keep what has a plain key."""
        if type(key) in (str, int, float, bool):
            super().__setitem__(key, value)


def _dictionary(items: dict[object, object] | Iterable[tuple[object, object]] = ()) -> Dictionary:
    made = Dictionary()
    for key, value in items.items() if isinstance(items, dict) else items:
        made[key] = value
    return made


def _tensor(storage: object, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object) -> object:
    # A storage that was not made is a `Foreign`; handed on, its name tells what the entry was.
    return StoredTensor(storage, offset, shape, stride) if isinstance(storage, Storage) else storage


def _first(first: object, *_: object) -> object:
    return first


BUILDERS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _dictionary,
    "torch.Size": lambda *sides: tuple(*sides),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
}
"""The only names whose calls make something. Sparse, quantised and other tensors are not among them."""


@dataclass(frozen=True)
class Contents:
    """What consecutive pickles hold.

    Parameters
    ----------
    values : one for each pickle, of dict, list, tuple, numbers, text, `StoredTensor` and `Foreign`
    objects : names of what was not made, each once, without the `ORDINARY` ones
    storages : key -> storage, of all that are mentioned
    """

    values: list[Any]
    objects: list[str]
    storages: dict[str, Storage]


def read_pickles(file: io.BytesIO, count: int = 1) -> Contents:
    """Read consecutive pickles.

    Parameters
    ----------
    file : at the first pickle; left behind the last
    count : of pickles

    Raises
    ------
    Exception
        Of any kind: the bytes are no pickles, or copy more than a checkpoint has reason to.
    """
    values, names, storages = [], dict[str, None](), dict[str, Storage]()
    for _ in range(count):
        reader = _Reader(file)
        values.append(reader.load())
        names |= reader.named
        storages |= reader.storages
    known = BUILDERS.keys() | STORAGES.keys() | ORDINARY
    return Contents(values, [name for name in names if name not in known], storages)


class _Global:
    """A name in a pickle; calling it makes what `BUILDERS` makes, else nothing."""

    __slots__ = ("name", "reader")

    def __init__(self, name: str, reader: "_Reader") -> None:
        self.name, self.reader = name, reader

    def __call__(self, *arguments: object) -> object:
        # Counted over the whole pickle: many small copies are as bad as one large one.
        self.reader.copied += sum(len(argument) for argument in arguments if isinstance(argument, Sized))
        if self.reader.copied > MOST_COPIED:
            raise pickle.UnpicklingError("its calls copy more than tensors need")
        # The one place where a name in a pickle becomes a call; a name that is not in the dict becomes inert.
        build = BUILDERS.get(self.name)
        return build(*arguments) if build else Foreign(self.name)

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


UNUSED = (
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
)


class _Reader(pickle._Unpickler):
    """An unpickler that imports nothing.

    Python's own, as the one in C makes room for as many memos as a pickle promises.
    """

    # torch.save writes none of these: buffers make room for what a pickle promises, extensions are names by number,
    # sets hash whatever is put into them.
    dispatch = {  # noqa: RUF012 (as its base class has it)
        code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in UNUSED
    }

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.named: dict[str, None] = {}
        self.storages: dict[str, Storage] = {}
        self.copied = 0

    def find_class(self, module: str, name: str) -> object:
        """Note a name, instead of importing it."""
        full = f"{module.replace('__builtin__', 'builtins')}.{name}"  # protocol 2 has Python 2's name
        self.named[full] = None
        return _Global(full, self)

    def persistent_load(self, pid: Any) -> object:  # noqa: ANN401 (whatever a pickle holds)
        """Note where a storage lies, of its kind, key and count; a class, which old files name so, is itself."""
        if pid[0] == "module":
            return pid[1]
        kind, key, count, view = pid[1].name, pid[2], pid[4], pid[5] if len(pid) > 5 else None
        # A view is a part of another storage, in old files alone; its numbers lie elsewhere, so it is not read.
        if kind not in STORAGES or view is not None:
            return Foreign(kind)
        self.storages[str(key)] = storage = Storage(STORAGES[kind], str(key), int(count))
        return storage

    def load_empty_dictionary(self) -> None:
        """Make a dict of ours."""
        self.append(Dictionary())  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        """Make a dict of ours from keys and values in turn."""
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append(_dictionary(zip(items[::2], items[1::2], strict=True)))  # type: ignore[attr-defined]

    def load_newobj(self) -> None:
        """Call the class, where pickle would call its `__new__`."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        arguments = stack.pop()
        # The class is a `_Global` here, whose call is checked. Its `__new__` would not be.
        stack[-1] = stack[-1](*arguments)

    def load_newobj_ex(self) -> None:
        """Call the class without the keywords, which nothing here takes."""
        self.stack.pop()  # type: ignore[attr-defined]
        self.load_newobj()

    # The base class finds its handlers in this table and not by method name: overriding the methods alone changes
    # nothing.
    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary  # type: ignore[assignment]
    dispatch[pickle.DICT[0]] = load_dict  # type: ignore[assignment]
    dispatch[pickle.NEWOBJ[0]] = load_newobj  # type: ignore[assignment]
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex  # type: ignore[assignment]
