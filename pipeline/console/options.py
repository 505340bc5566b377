"""What several commands have in common: the argument STORE, the option `--protocol`, the range of temperatures."""

from os import PathLike

import click

from logitpipe.cache.files.places import Place, as_place

PROTOCOL_NAMES = ("standard", "course", "legacy")
"""The keys of `logitpipe.stages.score.protocols.PROTOCOLS`, repeated here as these load numba."""

LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-3, 1e3

protocol_option = click.option(
    "--protocol",
    "protocol_name",
    type=click.Choice(PROTOCOL_NAMES),
    default="standard",
    show_default=True,
    help="The named choices that turn scores into figures.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there.")


class StorePlace(click.Path):
    """A path or a URL; a URL stays text."""

    def convert(self, value: str | PathLike[str], *_: object) -> Place:
        """Return a path, unless it is a URL."""
        return as_place(str(value))


STORE = StorePlace()


def require_temperature(T: float) -> float:
    """Return a temperature; click.BadParameter for what is none, NaN included."""
    if not LEAST_TEMPERATURE <= T <= MOST_TEMPERATURE:
        raise click.BadParameter(f"a temperature is a number from 0.001 to 1000, and {T:g} is not")
    return T
