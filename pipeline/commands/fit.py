"""`pipe fit`: statistics of networks where nothing is anomalous, for the methods that need them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.commands.completion import complete_methods
from logitpipe.console.options import FilePath, dask_option, overwrite_option, protocol_option, stores_argument
from logitpipe.console.scoring import (
    class_codes_option,
    label_space_option,
    map_temperatures_option,
    mask_temperatures_option,
    parse_temperatures,
    workers_option,
)
from logitpipe.runs.fitting import fit_stores

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place


@click.command()
@stores_argument()
@click.option(
    "--out",
    required=True,
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Where to: FILE.json and FILE.npz.",
)
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="all|ID,...",
    shell_complete=complete_methods,
    help="Methods whose scores get a mean and a deviation.",
)
@click.option(
    "--temperatures",
    callback=parse_temperatures,
    default="1",
    show_default=True,
    metavar="T,...|START:STOP:STEP",
    help="Temperatures of the class logits, for scores and mean posteriors.",
)
@map_temperatures_option
@mask_temperatures_option
@protocol_option
@label_space_option
@class_codes_option
@workers_option
@dask_option
@click.option("--allow-incomplete", is_flag=True, help="Take what the stores have.")
@overwrite_option
def fit(
    stores: "tuple[Place, ...]",
    out: Path,
    methods: str,
    temperatures: tuple[float, ...],
    map_temperatures: tuple[float, ...],
    mask_temperatures: tuple[float, ...],
    protocol_name: str,
    label_space: str,
    class_codes: str | None,
    workers: int,
    dask: str | None,
    allow_incomplete: bool,
    overwrite: bool,
) -> None:
    """Fit temperatures and statistics without anomalies.

    STORES are logits over pictures of what a network was trained on, such as Cityscapes; images that show an anomaly
    are left out. Stores of one network are taken together. Of each network are fitted: mean and variance of the
    largest logit by predicted class, mean posteriors by predicted class, mean and deviation of every method's
    scores and, where the masks name classes, the temperature of least negative log-likelihood.

    \b
    Examples:
      pipe fit cityscapes_enet.zarr --out enet --temperatures 0.5:2:0.1
      pipe score roadanomaly_enet.zarr --methods sml,kl,z:msp+maxlogit --statistics enet
      pipe score roadanomaly_enet.zarr --temperatures 1,fit:enet
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    from logitpipe.stages.score.methods.names import split_list
    from logitpipe.stages.score.protocols import PROTOCOLS

    written = fit_stores(
        stores,
        out,
        split_list(methods),
        temperatures,
        PROTOCOLS[protocol_name],
        label_space,
        class_codes,
        map_temperatures=map_temperatures,
        mask_temperatures=mask_temperatures,
        allow_incomplete=allow_incomplete,
        workers=workers,
        overwrite=overwrite,
        dask=dask,
    )
    for path in written:
        click.echo(path)
