"""The workers of a cluster: who they are, and whether they may score."""

from collections import defaultdict
from collections.abc import Mapping

from distributed import Client

from logitpipe.cache import PipeError
from logitpipe.stages.score.cluster.environment import environment, report, unlike

Report = tuple[dict[str, str], str]
"""What a worker says of itself: `environment()` and its processor."""


def processors(client: Client) -> dict[str, str]:
    """Return the processor of each worker by its address.

    Raises
    ------
    PipeError
        A worker lacks logitpipe or has another version of what figures depend on. It is named.
    """
    # Errors are returned: one worker that fails shall be named, and not end the question to the others.
    found: dict[str, Report | Exception] = client.run(report, on_error="return")
    require_alike(found, environment())
    return {address: each[1] for address, each in found.items() if isinstance(each, tuple)}


def require_alike(found: Mapping[str, Report | Exception], mine: Mapping[str, str]) -> None:
    """Raise a PipeError that names the workers that may not score."""
    refused = {}
    for address, each in found.items():
        if isinstance(each, ImportError):
            refused[address] = f"cannot import logitpipe ({each})"
        elif isinstance(each, OSError):
            continue  # it has left since it was listed: its work is done by others
        elif isinstance(each, Exception):
            refused[address] = f"fails to start logitpipe ({type(each).__name__}: {each})"
        elif differing := unlike(mine, each[0]):
            refused[address] = f"has {differing}"
    if refused:
        address, fault = next(iter(refused.items()))
        more = f"; so do {len(refused) - 1} others of {len(found)}" if len(refused) > 1 else ""
        raise PipeError(f"the worker {address} {fault}{more}", "same-version")


def by_processor(crew: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the addresses of workers by their processor."""
    groups: dict[str, list[str]] = defaultdict(list)
    for address, processor in crew.items():
        groups[processor].append(address)
    return dict(groups)
