"""`pipe list`: what there is to choose from, by name."""

from collections.abc import Callable, Iterator, Mapping

import click

from logitpipe.commands.completion import METHOD_NAMES
from logitpipe.console.options import PROTOCOL_NAMES


def _networks() -> Iterator[str]:
    from logitpipe.stages.infer.networks import NETWORKS

    yield from NETWORKS


def _methods() -> Iterator[str]:
    yield from METHOD_NAMES


def _protocols() -> Iterator[str]:
    yield from PROTOCOL_NAMES


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
    "layouts": _layouts,
}
"""What can be listed -> its lines."""


@click.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)))
def list_names(kind: str) -> None:
    """List the names of what there is to choose from; layouts with a drawing and their sources."""
    click.echo("\n".join(KINDS[kind]()).rstrip("\n"))
