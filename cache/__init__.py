"""The store of cached logits: what it is, how one image enters it, and how it is read back verified.

Nothing here knows networks or scores; `cache/README.md` describes the format for readers in other languages.
"""

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError, UsageError
from logitpipe.cache.format import Schema
from logitpipe.cache.reading.dataset import open_dataset
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.cache.writing.commit import StoreWriter

__all__ = [
    "IncompleteError",
    "IntegrityError",
    "PipeError",
    "Schema",
    "Store",
    "StoreWriter",
    "UsageError",
    "open_dataset",
    "open_store",
]
