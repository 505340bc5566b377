"""Statistics of images without anomalies in Python: what `pipe fit` finds."""

from collections.abc import Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logitpipe.api.arguments.progress import followed
from logitpipe.api.arguments.protocol import as_protocol
from logitpipe.api.arguments.stores import OneStore, places_of
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    import pandas

    from logitpipe.stages.score.fitted import Fitted
    from logitpipe.stages.score.protocols import Protocol


def fit(
    stores: OneStore | Sequence[OneStore],
    out: str | PathLike[str],
    methods: str | Sequence[str] = "all",
    temperatures: float | Sequence[float] = 1.0,
    protocol: "str | Protocol" = "standard",
    *,
    map_temperatures: float | Sequence[float] = 1.0,
    mask_temperatures: float | Sequence[float] = 1.0,
    label_space: str = "own",
    class_codes: str | None = None,
    workers: int | None = None,
    allow_incomplete: bool = False,
    overwrite: bool = False,
    dask: str | None = None,
    progress: bool | None = None,
) -> "Statistics":
    """Fit statistics on images without anomalies, for sml, sml+, kl, z-scores and temperatures of least NLL.

    Parameters
    ----------
    stores : logits over pictures of what the networks were trained on; images that show an anomaly are left out
    out : where to: OUT.json and OUT.npz
    methods : names of those whose scores get a mean and a deviation
    temperatures, map_temperatures, mask_temperatures : T, T_S and T_m of the scores; T also of mean posteriors
    protocol : name, or what `lp.protocol` gives
    label_space, class_codes, workers, allow_incomplete, dask, progress : as for `lp.score`
    overwrite : replace the files that are there

    Raises
    ------
    PipeError
        A store is missing, incomplete or damaged, every image shows an anomaly, or the files cannot be written.

    Examples
    --------
    >>> statistics = lp.fit("cityscapes_enet.zarr", "enet-statistics")
    >>> lp.score("roadanomaly_enet.zarr", ["msp", "sml", "kl", "z:msp+maxlogit"], statistics=statistics)
    """
    from logitpipe.api.arguments.methods import as_methods
    from logitpipe.runs.fitting import fit_stores
    from logitpipe.runs.temperatures import require_temperatures

    T, T_S, T_m = (
        require_temperatures(np.atleast_1d(each).tolist())
        for each in (temperatures, map_temperatures, mask_temperatures)
    )
    names, _ = as_methods(methods)
    with followed(progress):
        written, _ = fit_stores(
            places_of(stores),
            Path(out),
            names,
            T,
            as_protocol(protocol),
            label_space,
            class_codes,
            map_temperatures=T_S,
            mask_temperatures=T_m,
            allow_incomplete=allow_incomplete,
            workers=workers or available_cores(),
            overwrite=overwrite,
            dask=dask,
        )
    return Statistics(written)


class Statistics(PathLike[str]):
    """What was found of networks where nothing is anomalous; `lp.fit` writes and returns it.

    It stands for its file wherever a path is taken, as `statistics=`.

    Parameters
    ----------
    path : of the JSON file, the npz file, or of what both have in common

    Raises
    ------
    PipeError
        The files cannot be read, are none of `lp.fit`, or do not belong together.

    Examples
    --------
    >>> lp.Statistics("enet-statistics").temperatures
    {'enet': 1.13}
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        from logitpipe.results.fitted import files_of, read_fitted

        self.path = files_of(Path(path))[0]
        self._fitted: list[Fitted] = read_fitted(self.path)

    @property
    def sha256(self) -> str:
        """Digest of the JSON file, which rows of results carry in the column `statistics`."""
        return self._fitted[0].sha256

    @property
    def temperatures(self) -> dict[str, float | None]:
        """Network -> temperature of least negative log-likelihood, T or T_S; None where the masks name no classes."""
        # One file may hold several networks: `pipe fit` takes their stores together.
        least = {each.identity["network"]: each.least_nll for each in self._fitted}
        return {name: None if found is None else found.temperature for name, found in least.items()}

    @cached_property
    def frame(self) -> "pandas.DataFrame":
        """A row for each network, method and temperature: `mean` and `deviation` of its scores."""
        from logitpipe.api.tables import frame_of

        names = ("method", "parameters", "temperature", "map_temperature", "mask_temperature")
        rows = [
            [each.identity["network"], *(getattr(pair, name) for name in names), *moments]
            for each in self._fitted
            for pair, moments in each.found.scores.items()
        ]
        columns = ("network", *names, "mean", "deviation")
        return frame_of(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))

    def __fspath__(self) -> str:
        return fspath(self.path)

    def __repr__(self) -> str:
        images = sum(each.found.images for each in self._fitted)
        return f"<Statistics {self.path}: {', '.join(self.temperatures)}, {images} images>"
