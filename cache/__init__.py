"""The store of cached logits: what it is, how one image enters it, and how it is read back verified.

Nothing here knows networks or scores; `cache/README.md` describes the format for readers in other languages.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logitpipe.cache.errors import IncompleteError as IncompleteError
    from logitpipe.cache.errors import IntegrityError as IntegrityError
    from logitpipe.cache.errors import PipeError as PipeError
    from logitpipe.cache.errors import UsageError as UsageError
    from logitpipe.cache.format import Schema as Schema
    from logitpipe.cache.reading.dataset import open_dataset as open_dataset
    from logitpipe.cache.reading.store import Store as Store
    from logitpipe.cache.reading.store import open_store as open_store
    from logitpipe.cache.writing.commit import StoreWriter as StoreWriter

_HOMES = {
    "IncompleteError": "errors",
    "IntegrityError": "errors",
    "PipeError": "errors",
    "Schema": "format",
    "Store": "reading.store",
    "StoreWriter": "writing.commit",
    "UsageError": "errors",
    "open_dataset": "reading.dataset",
    "open_store": "reading.store",
}
"""Name -> module that holds it, loaded when first used: `pipe --help` needs the errors, but not numpy."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import what is exported when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'logitpipe.cache' has no attribute {name!r}")
    value = getattr(import_module(f"logitpipe.cache.{_HOMES[name]}"), name)
    globals()[name] = value  # the next one who asks finds it without coming here
    return value


def __dir__() -> list[str]:
    """Return what is exported, for completion."""
    return list(__all__)
