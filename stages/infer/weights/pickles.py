"""What a pickle would make, found by taking it apart without making any of it.

torch reads checkpoints with ``weights_only=True``, which runs no code, but lets a pickle of a few bytes ask for
gigabytes and answers what it refuses in words of its own. So every pickle is looked through before torch sees it.
"""

import io
import pickle
from collections.abc import Sized

MOST_BYTES = 1 << 20
"""A pickle of tensors holds their names and shapes: 43 kB for EoMT of 24 blocks, 131 kB with its optimizer."""

MOST_COPIED = 1 << 20
"""Items that calls may copy. Lists come into being item by item, but a call can copy a long one in a few bytes."""

STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
DTYPES = ("float16", "bfloat16", "float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")

HARMLESS = {
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "_codecs.encode",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    *(f"torch.{name}Storage" for name in STORAGES),
    *(f"torch.{name}" for name in DTYPES),
}
"""What checkpoints with dense tensors name; torch would also make sparse, quantised and other tensors."""


def foreign_objects(file: io.BytesIO, count: int = 1) -> list[str]:
    """Return the names of all Python objects in consecutive pickles that are not among the harmless ones.

    Parameters
    ----------
    file : at the first pickle; left behind the last
    count : of pickles

    Raises
    ------
    Exception
        Of any kind: the bytes are no pickles, or copy more than a checkpoint has reason to.
    """
    found: dict[str, None] = {}
    for _ in range(count):
        inventory = _Inventory(file)
        try:
            inventory.load()
        except Exception:
            if not inventory.named.keys() <= HARMLESS:  # it was named, and that it also failed adds nothing
                return [name for name in found | inventory.named if name not in HARMLESS]
            raise
        found |= inventory.named
    return [name for name in found if name not in HARMLESS]


class _Inert(dict[object, object]):
    """Stands for any object: it takes items and state, and does nothing with them."""

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


class _Inventory(pickle._Unpickler):
    """An unpickler that notes names and makes nothing.

    Python's own, as the one in C makes room for as many memos as a pickle promises.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.named: dict[str, None] = {}
        self.copied = 0

    def find_class(self, module: str, name: str) -> object:
        """Note a name; whatever is made by it is inert."""
        self.named[f"{module.replace('__builtin__', 'builtins')}.{name}"] = None  # protocol 2 has Python 2's name
        return self._made

    def persistent_load(self, pid: object) -> object:  # noqa: ARG002 (a storage, which lies elsewhere)
        """Stand in for a storage."""
        return _Inert()

    def _made(self, *arguments: object) -> _Inert:
        self.copied += sum(len(argument) for argument in arguments if isinstance(argument, Sized))
        if self.copied > MOST_COPIED:
            raise pickle.UnpicklingError("its calls copy more than tensors need")
        return _Inert()
