"""What several commands have in common: the argument STORE, the option `--protocol`, the range of temperatures."""

from collections.abc import Callable
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.places import Place, as_place, is_url
from logitpipe.runs.temperatures import require_temperatures
from logitpipe.stores.names import stores_in

PROTOCOL_NAMES = ("standard", "course", "legacy")
"""The keys of `logitpipe.stages.score.protocols.PROTOCOLS`, repeated here as these load numba."""

Command = TypeVar("Command", bound=Callable[..., Any])


class FilePath(click.Path):
    """A path on this machine."""

    def convert(
        self, value: str | PathLike[str], parameter: click.Parameter | None, context: click.Context | None
    ) -> Path:
        """Return a path; a URL is refused, as it would become folders such as `s3:`."""
        text = _not_empty(self, fspath(value), parameter, context)
        if is_url(text):
            self.fail(f"expected a path on this machine, and found the URL {text}", parameter, context)
        super().convert(text, parameter, context)  # refuses a folder where a file is meant
        return Path(text)


def _not_empty(kind: click.Path, text: str, parameter: click.Parameter | None, context: click.Context | None) -> str:
    """Refuse the empty path, which a script leaves of a variable that is not set: it would mean this folder."""
    if not text:
        kind.fail("expected a path, and found an empty text", parameter, context)
    return text


protocol_option = click.option(
    "--protocol",
    "protocol_name",
    type=click.Choice(PROTOCOL_NAMES),
    default="standard",
    show_default=True,
    help="The named choices that turn scores into figures.",
)


def _temperature_option(flag: str, symbol: str, words: str) -> Callable[[Command], Command]:
    """Return an option of one temperature, 1 where it is not given."""
    return click.option(
        flag,
        type=float,
        default=1.0,
        show_default=True,
        callback=lambda _context, _option, value: require_temperature(value),
        metavar=symbol,
        help=words,
    )


map_temperature_option = _temperature_option(
    "--map-temperature", "T_S", "Of the class map S, for the softmax-* methods of mask networks."
)
statistics_option = click.option(
    "--statistics",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="What `pipe fit` found, for the methods sml, sml+, kl and z:ID.",
)

mask_temperature_option = _temperature_option(
    "--mask-temperature", "T_m", "Of the mask logits, for the methods of mask networks."
)

dask_option = click.option(
    "--dask",
    metavar="ADDRESS|FILE.json|local:N",
    help="Let a Dask cluster score, found by its address or scheduler file, or N processes here.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there.")


def _allow_pixels(context: click.Context, _option: click.Parameter, most: int | None) -> None:
    """Let Pillow decode images of so many pixels until the command has ended."""
    if most is not None:
        from PIL import Image

        # Pillow's limit is one of the process: a caller in the same Python shall find it as it was.
        context.call_on_close(partial(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS))
        Image.MAX_IMAGE_PIXELS = most


max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    callback=_allow_pixels,
    expose_value=False,
    metavar="N",
    help="Pixels that a picture or mask may have at most  [default: 89478485, which is Pillow's]",
)


def metrics_option(default: str) -> Callable[[Command], Command]:
    """Return the option that names the figures of a table."""
    return click.option(
        "--metrics",
        default=default,
        show_default=True,
        metavar="NAME,...",
        callback=lambda _context, _option, text: tuple(name.strip() for name in text.split(",")),
        help="Figures to show: auprc, fpr95, auroc, and f1 and iou (mean of both classes) at the best threshold.",
    )


class StorePlace(click.Path):
    """A path or a URL; a URL stays text."""

    def convert(
        self, value: str | PathLike[str], parameter: click.Parameter | None, context: click.Context | None
    ) -> Place:
        """Return a path, unless it is a URL."""
        return as_place(_not_empty(self, str(value), parameter, context))


STORE = StorePlace()


def stores_argument() -> Callable[[Command], Command]:
    """Return the argument STORE..., in which a folder of stores stands for these."""
    return click.argument(
        "stores",
        nargs=-1,
        required=True,
        type=STORE,
        metavar="STORE...",
        callback=lambda _context, _argument, places: stores_in(places),
    )


results_argument = click.argument("folders", nargs=-1, required=True, metavar="RESULTS...", type=FilePath())
"""Folders that `pipe score --out` wrote."""


def parse_table_temperature(_context: click.Context, _option: click.Parameter, text: str) -> float | Literal["best"]:
    """Read a temperature, or `best`."""
    if text == "best":
        return "best"
    try:
        return require_temperature(float(text))
    except ValueError:
        raise click.BadParameter(f"expected a number or `best`, and found {text!r}") from None


def table_temperature_option(words: str) -> Callable[[Command], Command]:
    """Return the option that says at which temperature results are looked at; `words` are its help."""
    return click.option(
        "--temperature",
        default="1",
        show_default=True,
        metavar="T|best",
        callback=parse_table_temperature,
        help=words,
    )


def require_temperature(T: float) -> float:
    """Return a temperature; click.BadParameter for what is none, NaN included."""
    try:
        return require_temperatures([T])[0]
    except UsageError as error:
        raise click.BadParameter(error.about(None)) from None
