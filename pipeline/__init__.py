"""Run a segmentation network once, score its cached logits with every post-hoc anomaly method.

`import logitpipe as lp` is the door for Python, and docs/python.md its page. What is exported here is loaded when it
is first used: neither numba nor torch nor xarray is needed to import the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logitpipe import plot as plot
    from logitpipe.api.arguments.protocol import protocol as protocol
    from logitpipe.api.choices import Matches as Matches
    from logitpipe.api.choices import delta as delta
    from logitpipe.api.choices import match as match
    from logitpipe.api.create import NewStore as NewStore
    from logitpipe.api.create import create as create
    from logitpipe.api.files import export as export
    from logitpipe.api.files import pack as pack
    from logitpipe.api.masks import labels as labels
    from logitpipe.api.network import infer as infer
    from logitpipe.api.results import Results as Results
    from logitpipe.api.results import load_results as load_results
    from logitpipe.api.scores import score as score
    from logitpipe.api.statistics import Statistics as Statistics
    from logitpipe.api.statistics import fit as fit
    from logitpipe.api.stores import LogitStore as LogitStore
    from logitpipe.api.stores import open as open  # noqa: A004 (lp.open, as in zarr.open)
    from logitpipe.cache.errors import PipeError as PipeError
    from logitpipe.runs.temperatures import sweep as sweep

_HOMES = {
    "LogitStore": "api.stores",
    "Matches": "api.choices",
    "NewStore": "api.create",
    "PipeError": "cache.errors",
    "Results": "api.results",
    "Statistics": "api.statistics",
    "create": "api.create",
    "delta": "api.choices",
    "export": "api.files",
    "fit": "api.statistics",
    "infer": "api.network",
    "labels": "api.masks",
    "load_results": "api.results",
    "match": "api.choices",
    "open": "api.stores",
    "pack": "api.files",
    "protocol": "api.arguments.protocol",
    "score": "api.scores",
    "sweep": "runs.temperatures",
}
"""Name -> module that holds it."""

__all__ = [*sorted(_HOMES), "plot"]


def __getattr__(name: str) -> object:
    """Import what is exported when it is first asked for."""
    if name == "plot":
        return import_module("logitpipe.plot")
    if name not in _HOMES:
        raise AttributeError(f"module 'logitpipe' has no attribute {name!r}")
    return getattr(import_module(f"logitpipe.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return what is exported, for completion in a notebook."""
    return list(__all__)
