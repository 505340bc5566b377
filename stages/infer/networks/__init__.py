"""The networks that `pipe infer` can run, by name, and the way from what a user names to one that is ready.

Nothing here loads torch: `pipe --help` lists the names.
"""

from collections.abc import Callable
from importlib import import_module

from logitpipe.cache.errors import UsageError
from logitpipe.stages.infer.networks.seam import Network, Source

Load = Callable[[Source], Network]
"""From what a user says about a network to the network; PipeError where it cannot be had."""


def _load_of(module: str) -> Load:
    """Return the `load` of a module of this room, which is imported when it is called: it needs torch."""
    return lambda source: import_module(f"{__name__}.{module}").load(source)


NETWORKS: dict[str, Load] = {
    "erfnet": _load_of("erfnet"),
    "enet": _load_of("enet"),
    "eomt": _load_of("eomt.network"),
    "hf": _load_of("huggingface"),
}
"""Name of a network -> its `load`. Another network is another entry."""


def find_load(name: str) -> Load:
    """Return what loads the network that a user names: a key of `NETWORKS`, a factory or an exported program.

    Raises
    ------
    UsageError
        The name is none of these.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if ":" in name:
        return _load_of("factory")
    if name.endswith(".pt2"):
        return _load_of("program")
    raise UsageError(
        f"a network is one of {', '.join(NETWORKS)}, FILE.py:NAME, package.module:NAME or MODEL.pt2, and {name!r} is "
        "none of these"
    )
