"""The choices that make published figures differ, one at a time: what `pipe delta` compares."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from logitpipe.cache import Schema
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol, with_choices


class Choice(NamedTuple):
    """A protocol and what it is called in a table.

    Parameters
    ----------
    name : `standard`, one field and its value, or the name of another protocol
    protocol : as it is scored
    """

    name: str
    protocol: Protocol


def choices(schema: Schema, methods: Sequence[str]) -> list[Choice]:
    """Return `standard`, `standard` with each single choice that can matter to a store, and the other protocols.

    Parameters
    ----------
    methods : those that are scored; minimum and maximum are tried on all of them
    """
    standard = PROTOCOLS["standard"]
    single = [
        Choice(f"{name}={value}", with_choices(standard, {name: value})) for name, value in _single(schema, methods)
    ]
    others = [Choice(name, protocol) for name, protocol in PROTOCOLS.items() if name != "standard"]
    return [Choice("standard", standard), *single, *others]


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
