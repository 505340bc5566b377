"""Which choices give which figures, in Python: what `pipe delta` and `pipe match` find."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from logitpipe.api.arguments.progress import followed
from logitpipe.api.arguments.stores import OneStore, places_of
from logitpipe.api.tables import PrintedTable
from logitpipe.cache.errors import UsageError
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    import pandas

    from logitpipe.stages.score.passes.match import Match


def delta(
    stores: OneStore | Sequence[OneStore],
    methods: str | Sequence[str] = ("msp", "maxlogit", "entropy"),
    temperature: float = 1.0,
    metrics: Sequence[str] = ("auprc", "fpr95"),
    *,
    workers: int | None = None,
    progress: bool | None = None,
) -> PrintedTable:
    """Return what each choice of a protocol changes, a table for each store.

    Parameters
    ----------
    stores : of two stores of one network in float16 and float32 the table also says what the precision changes
    methods, workers, progress : as for `lp.score`
    temperature : for the methods that have one
    metrics : auprc, fpr95, auroc, f1, iou

    Raises
    ------
    PipeError
        A store is missing, incomplete or damaged, or a method cannot be computed from it.

    Examples
    --------
    >>> print(lp.delta("enet.zarr", "msp"))
    """
    from logitpipe.api.arguments.methods import as_methods
    from logitpipe.runs.delta import score_all_choices
    from logitpipe.runs.temperatures import require_temperatures
    from logitpipe.tables.delta import delta_table
    from logitpipe.tables.metrics import metrics_named

    (T,), (names, _), shown = require_temperatures([temperature]), as_methods(methods), metrics_named(metrics)
    with followed(progress):
        every = score_all_choices(places_of(stores), names, T, workers or available_cores())
    return PrintedTable([delta_table(each, shown) for each in every])


def match(
    stores: OneStore | Sequence[OneStore],
    *,
    auprc: float | None = None,
    fpr95: float | None = None,
    auroc: float | None = None,
    methods: str | Sequence[str] = "all",
    temperatures: float | Sequence[float] | None = None,
    protocols: Sequence[str] = (),
    limit: int = 10,
    workers: int | None = None,
    progress: bool | None = None,
) -> "Matches":
    """Find the method, temperature and protocol that print given numbers.

    Parameters
    ----------
    stores : as for `lp.score`
    auprc, fpr95, auroc : what was printed, in per cent; at least one of them
    methods : names
    temperatures : None: 25 from 0.1 to 10
    protocols : names of those that are tried, each also with any one field changed; none: all
    limit : how many are listed
    workers, progress : as for `lp.score`

    Raises
    ------
    PipeError
        Nothing is looked for, a store is missing, incomplete or damaged, or there is no such method or protocol.

    Examples
    --------
    >>> print(lp.match("enet.zarr", auprc=12.348, fpr95=84.774))
    """
    from logitpipe.api.arguments.methods import as_methods
    from logitpipe.runs.matching import TEMPERATURES, match_stores
    from logitpipe.runs.temperatures import require_temperatures

    given = {"auprc": auprc, "fpr95": fpr95, "auroc": auroc}
    # Papers print per cent, and rows hold fractions.
    target = {name: value / 100 for name, value in given.items() if value is not None}
    if not target:
        raise UsageError("auprc, fpr95 or auroc is expected: what was printed, in per cent")
    for name, fraction in target.items():
        if not 0 <= fraction <= 1:
            raise UsageError(f"a number from 0 to 100 is expected, found {given[name]:g}", option=name)
    names, _ = as_methods(methods)
    T = TEMPERATURES if temperatures is None else require_temperatures(np.atleast_1d(temperatures).tolist())
    tried = [protocols] if isinstance(protocols, str) else list(protocols)
    with followed(progress):
        found = match_stores(places_of(stores), target, names, T, tried, limit, workers or available_cores())
    return Matches(found, target)


class Matches:
    """The choices whose figures are nearest to some, the nearest first; `lp.match` finds them.

    Printed, it is the table of `pipe match`, with what each choice computes in words.

    Parameters
    ----------
    found : the choices with their figures
    target : fractions that were looked for, by the name of a figure
    """

    def __init__(self, found: "Sequence[Match]", target: Mapping[str, float]) -> None:
        self._found, self._target = tuple(found), dict(target)

    @property
    def records(self) -> list[dict[str, Any]]:
        """What `pipe match --json` prints: figures as fractions, the distance in points of a per cent."""
        from logitpipe.tables.matches import match_record

        return [match_record(each, self._target) for each in self._found]

    @property
    def frame(self) -> "pandas.DataFrame":
        """The same as a data frame."""
        from logitpipe.api.tables import frame_of

        records = self.records
        return frame_of({name: [record[name] for record in records] for name in (records[0] if records else ())})

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        from logitpipe.tables.matches import matches_table

        return matches_table(self._found, self._target)

    __repr__ = __str__
