"""The temperature that classes choose, beside those that the labels of a test would choose."""

from collections.abc import Iterator, Mapping, Sequence

from logitpipe.console.text import printable
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.passes.closed_set import ClosedSetRow
from logitpipe.tables.metrics import METRICS, printed
from logitpipe.tables.table import Cell, Group, Table

NOTES = (
    "fitted: the temperature of least NLL on pixels of known classes, which saw no label of the test",
    "best: what the labels of the test would choose, and so more than can be had",
)

Sweep = Mapping[float, ClosedSetRow]
"""The closed-set figures of one store by temperature."""


def fitted_tables(closed: Sequence[ClosedSetRow], rows: Sequence[Row]) -> list[Table]:
    """Return a table for each protocol and label space, or none where there is nothing to hold a temperature against.

    A line takes the temperature of least NLL of a network on one data set to another data set: to its NLL there, or
    to the AuPRC of a method.

    Parameters
    ----------
    closed : closed-set figures
    rows : figures of pixels
    """
    tables = []
    for protocol, space in dict.fromkeys((row.protocol, row.label_space) for row in closed):
        chosen = [row for row in closed if (row.protocol, row.label_space) == (protocol, space)]
        lines = [
            line
            for network in dict.fromkeys(row.network for row in chosen)
            for line in _of_network(
                [row for row in chosen if row.network == network],
                [row for row in rows if (row.network, row.protocol) == (network, protocol)],
            )
        ]
        if lines:
            title = f"Fitted temperatures: protocol {protocol}, label space {space}, AuPRC in per cent"
            columns = ("fitted T", "at fitted T", "best T", "at best T")
            keys = ("network", "fitted on", "judged on", "figure")
            tables.append(Table(printable(title), keys, (Group("", columns),), tuple(lines), NOTES, words=4))
    return tables


def _of_network(closed: Sequence[ClosedSetRow], rows: Sequence[Row]) -> Iterator[tuple[Cell, ...]]:
    sweeps: dict[tuple[str, str], dict[float, ClosedSetRow]] = {}
    for row in closed:
        if row.figures.nll is not None:
            sweeps.setdefault((row.dataset, row.store), {})[row.temperature] = row
    for source, sweep in sweeps.items():
        # One temperature alone was not chosen from anything.
        if len(sweep) > 1:
            # By the classes alone: no label of an anomaly has a part in it.
            T = min(sweep, key=lambda T: sweep[T].figures.nll or 0.0)
            network = sweep[T].network
            others = {place: other for place, other in sweeps.items() if place[0] != source[0]}
            found = [*_of_nll(T, others), *_of_area(T, [row for row in rows if row.dataset != source[0]])]
            for on, figure, *values in found:
                texts = (network, source[0], on, figure, f"{T:g}", *values)
                yield tuple(Cell(printable(text)) for text in texts)


def _of_nll(T: float, sweeps: Mapping[tuple[str, str], Sweep]) -> Iterator[tuple[str, ...]]:
    for (dataset, _), sweep in sweeps.items():
        best = min(sweep, key=lambda T: sweep[T].figures.nll or 0.0)
        if T in sweep:
            yield dataset, "NLL", f"{sweep[T].figures.nll:.5f}", f"{best:g}", f"{sweep[best].figures.nll:.5f}"


def _of_area(T: float, rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    sweeps: dict[tuple[str, str, str, str], dict[float, Row]] = {}
    for row in rows:
        if row.temperature is not None and row.auprc is not None:
            key = row.dataset, row.store, row.method, row.parameters
            sweeps.setdefault(key, {})[row.temperature] = row
    for (dataset, _, method, _), sweep in sweeps.items():
        best = max(sweep, key=lambda T: sweep[T].auprc or 0.0)
        if T in sweep and len(sweep) > 1:
            areas = (printed(sweep[each], METRICS["auprc"]) for each in (T, best))
            at, at_best = areas
            yield dataset, f"AuPRC of {method}", at, f"{best:g}", at_best
