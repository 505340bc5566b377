"""What the commands that score have in common: the option `--protocol` and the range of temperatures."""

import click

LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-3, 1e3

protocol_option = click.option(
    "--protocol",
    "protocol_name",
    type=click.Choice(["standard", "course", "legacy"]),
    default="standard",
    show_default=True,
    help="The named choices that turn scores into figures.",
)


def require_temperature(T: float) -> float:
    """Return a temperature; click.BadParameter for what is none, NaN included."""
    if not LEAST_TEMPERATURE <= T <= MOST_TEMPERATURE:
        raise click.BadParameter(f"a temperature is a number from 0.001 to 1000, and {T:g} is not")
    return T
