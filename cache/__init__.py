"""The store of cached logits: what it is, how one image enters it, and how it is read back verified.

Nothing here knows networks or scores; `cache/README.md` describes the format for readers in other languages.
"""

from cache.commit import StoreWriter
from cache.dataset import open_dataset
from cache.errors import IncompleteError, IntegrityError, PipeError, UsageError
from cache.schema import Schema
from cache.store import Store, open_store

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
