"""Which choices give some figures, as a table, and in words what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from logitpipe.console.text import aligned
from logitpipe.stages.score.figures.rows import is_open, printed
from logitpipe.stages.score.passes.match import Match
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol
from logitpipe.tables.comparison import temperature_text

FIGURES = {"auprc": "AuPRC", "fpr95": "FPR95", "auroc": "AUROC"}

WORDS: Mapping[str, Mapping[Any, str]] = {
    "skip_without_anomaly": {
        True: "images without an anomaly are left out",
        False: "images without an anomaly count",
    },
    "pixel_size": {
        "network": "pixels are evaluated at the network's size",
        "mask": "pixels are evaluated at the mask's size",
    },
    "void_channel": {True: "the void channel is one of the classes"},
    "normalise_first": {True: "S is divided by its sum before it is resampled"},
    "drop_last_class": {True: "the last class is left out"},
    "thin_above": {20_000_000: "of more than 20,000,000 pixels every tenth is kept"},
    "sigmoid_at": {"masks": "the sigmoid is taken at the masks' size"},
    "ties": {"float32": "1 - p is rounded to float32"},
    "fpr": {
        "linear": "FPR95 is interpolated",
        "above": "FPR95 is that of the first TPR above 95 %",
    },
    "auprc": {"trapezoid": "AuPRC is the area under straight lines"},
    "pooling": {"images": "figures are means over images"},
}
"""Field of a protocol -> value -> what it means; what is not here is told as FIELD = VALUE."""


def matches_table(matches: Sequence[Match], target: Mapping[str, float]) -> str:
    """Return a line for each match, the nearest first, and below them each one in words.

    Parameters
    ----------
    target : fractions that were looked for, by the name of a figure
    """
    header = ["", "network", "method", "T", "protocol", *(FIGURES[name] for name in target), "distance"]
    wanted = ["", "", "", "", "looked for", *(printed(value) for value in target.values()), ""]
    lines = [
        [
            str(i),
            match.row.network,
            match.configuration.pair.label,
            temperature_text(match.row.temperature),
            match.row.protocol,
            *(_figure(match, name) for name in target),
            f"{match.distance:.3f}",
        ]
        for i, match in enumerate(matches, 1)
    ]
    right = {0, *range(5, len(header))}
    words = [f"{i}: {in_words(match)}" for i, match in enumerate(matches, 1)]
    return "\n".join([*aligned([header, wanted, *lines], right), "", *words])


def in_words(match: Match) -> str:
    """Return what a match computes, and in what it differs from the protocol `standard`."""
    method = match.configuration.plan.methods[match.row.method]
    at = "" if match.row.temperature is None else f" at T = {match.row.temperature:g}"
    alike = [f"the same figures under {', '.join(match.alike)}"] if match.alike else []
    changes = differences(match.configuration.protocol, match)
    return "; ".join([f"{match.row.method} is {method.formula}{at}", *changes, *alike])


def differences(protocol: Protocol, match: Match) -> list[str]:
    """Return in words what differs from the protocol `standard`, of what concerns the kind of network."""
    standard, kind, found = PROTOCOLS["standard"], match.row.kind, []
    for each in fields(Protocol):
        value = getattr(protocol, each.name)
        if each.name in ("name", "label_codes") or value == getattr(standard, each.name) or _other(each.name, kind):
            continue
        if each.name == "min_max":
            if match.row.method in value:
                found.append("scores are brought to 0..1 in each image")
        elif each.name == "void_as_anomaly_on":
            if match.row.dataset.split(" (")[0] in value:
                found.append("void counts as anomaly")
        else:
            known = WORDS.get(each.name, {})
            found.append(known.get(value, f"{each.name.replace('_', '-')} = {value}"))
    return found


def match_record(match: Match, target: Mapping[str, float]) -> dict[str, Any]:
    """Return a match as JSON has it."""
    row = match.row
    return {
        "store": row.store,
        "network": row.network,
        "dataset": row.dataset,
        "method": row.method,
        "parameters": row.parameters,
        "temperature": row.temperature,
        "map_temperature": row.map_temperature,
        "mask_temperature": row.mask_temperature,
        "protocol": row.protocol,
        **{name: getattr(row, name) for name in target},
        "distance": match.distance,
        "alike": list(match.alike),
        "in_words": in_words(match),
    }


def _figure(match: Match, name: str) -> str:
    value = getattr(match.row, name)
    # A digit that the bounds leave open is not printed, as in any table; here almost none is.
    return f"{100 * value:.2f}" if is_open(match.row, name) else printed(value)


def _other(field: str, kind: str) -> bool:
    """Return whether a field concerns the other kind of network only."""
    of_pixels = ("pixel_size", "void_channel")
    of_masks = ("normalise_first", "sum_epsilon", "drop_last_class", "sigmoid_at", "thin_above")
    return field in (of_masks if kind == "pixel" else of_pixels)
