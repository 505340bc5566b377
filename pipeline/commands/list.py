"""`pipe list`: what there is to choose from, by name."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import click

from logitpipe.console.text import aligned

if TYPE_CHECKING:
    from logitpipe.stages.score.methods import Method


def _networks() -> Iterator[str]:
    from logitpipe.stages.infer.networks import NETWORKS

    yield from NETWORKS


def _methods() -> Iterator[str]:
    """Print each method with its formula and what else it is called; those of the core are computed by default."""
    from logitpipe.stages.score.methods import METHODS

    rows = [["method", "networks", "core", "temperatures", "parameters", "also called", "formula", "from"]]
    for kind, methods in METHODS.items():
        for name, method in methods.items():
            facts = ["yes" if method.core else "", " ".join(method.temperatures), _parameters(method)]
            rows.append([name, kind, *facts, ", ".join(method.aliases), method.formula, method.source])
    about = ["", "those of ID", "", "z-score", "mean of (s - mean) / deviation of the scores of ID; see `pipe fit`"]
    rows.append(["z:ID+ID...", "both", *about, "textbook (standard score)"])
    yield from aligned(rows)


def _parameters(method: "Method") -> str:
    """Return parameters with their defaults as --methods takes them; K is the number of classes."""
    defaults = {name: each.default for name, each in method.parameters.items()}
    return ",".join(f"{name}={'K' if value is None else f'{value:g}'}" for name, value in defaults.items())


def _protocols() -> Iterator[str]:
    """Print each field of a protocol with its value in each of them."""
    from logitpipe.stages.score.protocols import PROTOCOLS, to_document

    values = {name: to_document(protocol) for name, protocol in PROTOCOLS.items()}
    fields = [field for field in next(iter(values.values())) if field != "name"]
    rows = [[field.replace("_", "-"), *(_spelt(each[field]) for each in values.values())] for field in fields]
    yield from aligned([["--set", *values], *rows])


def _spelt(value: object) -> str:
    """Return a value of a protocol as --set takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _metrics() -> Iterator[str]:
    """Print what `--metrics` takes, with the heading of its column."""
    from logitpipe.tables.metrics import METRICS

    for_better = [(metric, "higher" if metric.better is max else "lower") for metric in METRICS.values()]
    rows = [[name, metric.title, f"{way} is better"] for name, (metric, way) in zip(METRICS, for_better, strict=True)]
    yield from aligned(rows)


def _layouts() -> Iterator[str]:
    """Draw each layout, with its codes and where such data is to be had."""
    from logitpipe.stages.infer.data.layouts import LAYOUTS

    for name, layout in LAYOUTS.items():
        yield f"{name}: label codes {layout.codes.labels}"
        yield from (f"    {line}" for line in layout.drawing.splitlines())
        for source in layout.sources:
            facts = (source.title, source.link, source.licence, source.size, source.checksum)
            yield "    * " + "; ".join(fact for fact in facts if fact)
        yield ""


KINDS: Mapping[str, Callable[[], Iterator[str]]] = {
    "networks": _networks,
    "methods": _methods,
    "protocols": _protocols,
    "metrics": _metrics,
    "layouts": _layouts,
}
"""What can be listed -> its lines."""


@click.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)))
def list_names(kind: str) -> None:
    """List networks, methods, protocols, metrics or layouts.

    Methods with formula and source, protocols with their fields, layouts with a drawing and where such data is found.

    \b
    Examples:
      pipe list methods
      pipe list layouts
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    click.echo("\n".join(KINDS[kind]()).rstrip("\n"))
