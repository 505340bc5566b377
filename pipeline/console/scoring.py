"""Options of commands that score: temperatures, threads, what is computed in addition."""

import click

from logitpipe.cache.errors import UsageError
from logitpipe.runs.also import FAMILIES, SPACES, require_families
from logitpipe.runs.fitting import FIT
from logitpipe.runs.temperatures import require_temperatures, sweep
from logitpipe.stages.cores import available_cores

MOST_WORKERS = 256
"""Each takes a stack and perhaps a total of its own; a larger number is a slip."""


def parse_temperatures(_context: click.Context, _option: click.Parameter, text: str) -> tuple[float, ...]:
    """Read `0.5,1,2` or `START:STOP:STEP`, the end included where a step reaches it."""
    try:
        numbers = [float(part) for part in text.split(":" if ":" in text else ",")]
    except ValueError:
        numbers = []
    if not numbers or (":" in text and len(numbers) != 3):
        raise click.BadParameter(f"expected 0.5,1,2 or START:STOP:STEP, and found {text!r}")
    try:
        return sweep(*numbers) if ":" in text else require_temperatures(numbers)
    except UsageError as error:
        raise click.BadParameter(error.about(None)) from None


def parse_fitted(context: click.Context, option: click.Parameter, text: str) -> "tuple[float | str, ...]":
    """Read temperatures, of which some may be fit:FILE."""
    parts = text.split(",")
    fitted = [part.strip() for part in parts if part.strip().startswith(FIT)]
    others = ",".join(part for part in parts if part.strip() not in fitted)
    return (*(parse_temperatures(context, option, others) if others or not fitted else ()), *fitted)


def parse_families(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    """Read families of figures from a comma list."""
    try:
        return require_families([name.strip() for name in text.split(",") if name.strip()])
    except UsageError as error:
        raise click.BadParameter(error.about(None)) from None


map_temperatures_option = click.option(
    "--map-temperatures",
    callback=parse_temperatures,
    default="1",
    show_default=True,
    metavar="T_S,...",
    help="Temperatures of the class map S, for the softmax-* methods of mask networks.",
)


mask_temperatures_option = click.option(
    "--mask-temperatures",
    callback=parse_temperatures,
    default="1",
    show_default=True,
    metavar="T_m,...",
    help="Temperatures of the mask logits, for all methods of mask networks.",
)


also_option = click.option(
    "--also",
    "also",
    callback=parse_families,
    default="",
    metavar=",".join(FAMILIES),
    help="Figures of benchmarks to compute as well.",
)


label_space_option = click.option(
    "--label-space",
    type=click.Choice(SPACES),
    default="own",
    show_default=True,
    help="Classes of closed-set figures: the network's, Cityscapes' 19 or 7, or those that COCO has too.",
)


class_codes_option = click.option(
    "--class-codes",
    metavar="train-ids|label-ids|CLASS=CODE,...",
    help="Which code of the masks stands for which class  [default: as the stores say]",
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=lambda: min(available_cores(), MOST_WORKERS),
    show_default="number of cores",
    help="Threads that score.",
)
