"""Scores in Python: what `pipe score` computes, as an object."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from logitpipe.api.arguments.methods import OneMethod, as_methods
from logitpipe.api.arguments.progress import followed
from logitpipe.api.arguments.protocol import as_protocol, codes_by_dataset
from logitpipe.api.arguments.stores import OneStore, places_of
from logitpipe.api.results import Results, joined
from logitpipe.cache.errors import UsageError
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    from logitpipe.stages.score.protocols import Protocol


def score(
    stores: OneStore | Sequence[OneStore],
    methods: OneMethod | Sequence[OneMethod] = "core",
    temperatures: float | str | Sequence[float | str] = 1.0,
    protocol: "str | Protocol" = "standard",
    *,
    map_temperatures: float | Sequence[float] = 1.0,
    mask_temperatures: float | Sequence[float] = 1.0,
    label_codes: str | Mapping[str, str] | None = None,
    thresholds: Sequence[float] = (),
    resolve: Literal["summary", "all", "none"] = "summary",
    exact: bool = False,
    workers: int | None = None,
    allow_incomplete: bool = False,
    also: str | Sequence[str] = (),
    label_space: str = "own",
    class_codes: str | None = None,
    statistics: str | PathLike[str] | None = None,
    dask: str | None = None,
    progress: bool | None = None,
) -> Results:
    """Score stores with every method at every temperature.

    Parameters
    ----------
    stores : one or several, opened or by path or URL; a folder of stores stands for these
    methods : names, `core` or `all`, FILE.py:FUNCTION, or functions (docs/extending.md), which several threads call
        at once
    temperatures : one or several, such as `lp.sweep(0.1, 2, 0.1)`; "fit:FILE" is that of least NLL which `lp.fit`
        wrote to FILE
    protocol : name, or what `lp.protocol` gives
    map_temperatures, mask_temperatures : T_S, of the class map of mask networks, and T_m, of their mask logits
    label_codes : what the codes of the masks mean, as `normal=0,anomaly=1,void=255`; by data set, if they differ
    thresholds : scores at which the IoU is computed
    resolve : which rows have every digit of three decimals of a per cent made certain: T = 1 and the best temperature
        of each method, all, or none
    exact : whether the figures are computed from every single score
    workers : threads; None: one for each core. One of them, where a function must not run twice at a time
    allow_incomplete : whether to score what there is of a store that lacks images
    also : figures of benchmarks to compute as well: `components`, `closed-set`, `open-set`, `transfer`
        (docs/metrics.md)
    label_space, class_codes : classes of the closed set, and which codes of the masks stand for them
    statistics : what `lp.fit` returned, or its path, for sml, sml+, kl and z:METHOD (docs/methods.md)
    dask : address of a scheduler of Dask, or `local:N` (docs/cluster.md); None: threads here
    progress : True, on stderr; False, not at all; None, below the cell of a notebook, and not at all in a script

    Raises
    ------
    PipeError
        A store is missing, incomplete or damaged, or what is asked for cannot be computed from it.

    Examples
    --------
    >>> import logitpipe as lp
    >>> results = lp.score(["enet.zarr", "erfnet.zarr"], ["msp", "entropy"], lp.sweep(0.5, 2, 0.5))
    """
    # First of all, while the arguments are the only local names: the call as it was made is kept with the results.
    settings = {name: _plain(value) for name, value in locals().items() if name not in ("stores", "progress")}
    from logitpipe.runs.also import refuse, require_families
    from logitpipe.runs.planning import count_missing, plan_stores
    from logitpipe.runs.scoring import describe_run, score_stores
    from logitpipe.runs.temperatures import require_temperatures

    places, families = places_of(stores), require_families(_listed(also))
    names, functions = as_methods(methods)
    T = _temperatures(temperatures)
    T_S, T_m = (require_temperatures(np.atleast_1d(each).tolist()) for each in (map_temperatures, mask_temperatures))
    threads, chosen = workers or available_cores(), as_protocol(protocol)
    with followed(progress):
        plans = plan_stores(
            places,
            names,
            T,
            chosen,
            codes_by_dataset(label_codes),
            thresholds,
            functions,
            map_temperatures=T_S,
            mask_temperatures=T_m,
            statistics=None if statistics is None else Path(statistics),
        )
        count_missing(plans, allow_incomplete)
        refuse(families, plans, label_space, class_codes)
        found = score_stores(
            plans,
            workers=threads,
            exact=exact,
            into_files=True,
            resolve=resolve,
            dask=dask,
            also=families,
            label_space=label_space,
            class_codes=class_codes,
        )
    words = f"lp.score({[str(place) for place in places]}, {', '.join(f'{k}={v!r}' for k, v in settings.items())})"
    called = {"command": "lp.score", "settings": {k: {"value": v, "from": "call"} for k, v in settings.items()}}
    settings_file = describe_run(words, exact, plans, called)
    return joined(found.rows, found.sketches, settings_file, chosen, found.images, found.also.records())


def _listed(names: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)


def _temperatures(given: float | str | Sequence[float | str]) -> tuple[float | str, ...]:
    """Return temperatures as numbers, and those of statistics as fit:FILE."""
    from logitpipe.runs.fitting import FIT
    from logitpipe.runs.temperatures import require_temperatures

    found: list[float | str] = []
    for each in [given] if isinstance(given, str) else np.atleast_1d(np.asarray(given, object)).tolist():
        if isinstance(each, str):
            if not each.startswith(FIT):
                raise UsageError(f"numbers and fit:FILE are expected, found {each!r}", option="temperatures")
            found.append(each)
        else:
            found += require_temperatures([each])
    return tuple(found)


def _plain(value: object) -> object:
    """Return an argument as JSON can hold it: functions and protocols by their names."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return getattr(value, "__name__", type(value).__name__)
    return str(getattr(value, "name", value))
