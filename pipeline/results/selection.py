"""Which rows of results are taken: at a temperature, of a network, on a data set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from logitpipe.console.text import printable
from logitpipe.results.series import Entry, Series

Temperature = float | Literal["best"]
"""One for all methods, or that of each method's best AuPRC on each data set."""


def row_at(series: Series, temperature: Temperature) -> int | None:
    """Return the index of a method's row at a temperature; None where it was not scored there."""
    return series.best if temperature == "best" else series.at(temperature)


def identity(entry: Entry) -> tuple[object, ...]:
    """Return what makes two stores those of one network: name, weights, input, precision."""
    return identity_of(entry.row.network, entry.facts)


def identity_of(network: str, facts: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the same of a network's name and the attributes of a store."""
    return network, facts["weights_sha256"], _input(facts), facts["precision"]


def _input(facts: Mapping[str, Any]) -> str:
    """Return how pictures came to the network: the rule of resizing, or the input's size where a sentence says it."""
    # Stores of version 1 have a sentence there, with spaces in it, and no rule.
    rule = str((facts.get("preprocessing") or {}).get("resize", " "))
    return "x".join(map(str, facts["input_size"])) if " " in rule else rule


def network_names(entries: Sequence[Entry]) -> dict[tuple[object, ...], str]:
    """Return a name for each network: its own and, where several share that, what tells them apart."""
    networks = dict.fromkeys(map(identity, entries))
    shared = Counter(network for network, *_ in networks)
    names: dict[tuple[object, ...], str] = {}
    for network, weights, size, precision in networks:
        others = [other for other in networks if other[0] == network]
        parts = [str(weights)[:8], str(size), str(precision)]
        # Only the parts that differ among networks of this name are shown.
        told = [part for i, part in enumerate(parts) if len({other[i + 1] for other in others}) > 1]
        name = f"{network} ({', '.join(told)})" if shared[network] > 1 else network
        names[network, weights, size, precision] = printable(str(name))
    return names
