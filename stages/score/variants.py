"""Protocols with one field changed: those that `pipe delta` compares, and those that `pipe match` tries."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from logitpipe.cache import Schema
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol, alternatives, with_choices


class Variant(NamedTuple):
    """A protocol and what it is called in a table.

    Parameters
    ----------
    name : `standard`, one field and its value, or the name of another protocol
    protocol : as it is scored
    """

    name: str
    protocol: Protocol


def single_changes(schema: Schema, methods: Sequence[str]) -> list[Variant]:
    """Return `standard`, `standard` with each single choice that can matter to a store, and the other protocols.

    Parameters
    ----------
    methods : those that are scored; minimum and maximum are tried on all of them
    """
    standard = PROTOCOLS["standard"]
    single = [
        Variant(f"{name}={value}", with_choices(standard, {name: value})) for name, value in _single(schema, methods)
    ]
    others = [Variant(name, protocol) for name, protocol in PROTOCOLS.items() if name != "standard"]
    return [Variant("standard", standard), *single, *others]


def variations(named: Sequence[Protocol], dataset: str) -> list[Protocol]:
    """Return protocols, and each of them with any one of its fields set anew; the named ones come first."""
    changed = [
        with_choices(protocol, {name.replace("_", "-"): text})
        for protocol in named
        for name, texts in alternatives(dataset).items()
        for text in texts
    ]
    distinct: dict[Protocol, Protocol] = {}
    for protocol in (*named, *changed):
        # The same fields under another name are the same protocol: the first name has the fewest changes.
        distinct.setdefault(replace(protocol, name=""), protocol)
    return list(distinct.values())


def _single(schema: Schema, methods: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "void-as-anomaly-on", schema.dataset
    yield "skip-without-anomaly", "yes"
    if schema.kind == "pixel":
        yield "pixel-size", "network"
        if schema.unknown_class is not None:
            yield "void-channel", "yes"
    else:
        yield "normalise-first", "yes"
        yield "sum-epsilon", "1e-06"
        yield "drop-last-class", "yes"
        yield "thin-above", "0"
    yield "min-max", ",".join(methods)
    yield "ties", "float32"
    yield "fpr", "linear"
    yield "fpr", "above"
    yield "auprc", "trapezoid"
    yield "pooling", "images"
