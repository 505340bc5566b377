"""The results of `pipe score --out DIR`, read back believing nothing, and arranged as a page shows them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import xarray

from cache.errors import PipeError
from pipeline.report.words import moment
from pipeline.results_dataset import read_sketches
from stages.score.curves import Sketch
from stages.score.protocols import Protocol, from_document
from stages.score.results import SCHEMA_VERSION, Row

OF_RUN = {"command": str, "finished": str, "versions": dict, "exact": bool, "protocol": dict, "stores": list}
OF_STORE = {
    "store": str,
    "path": str,
    "facts": dict,
    "weights_sha256": str,
    "input_size": list,
    "precision": str,
    "software": dict,
    "fingerprint": str,
    "images": int,
    "missing": list,
}
"""What the page says of a run and of each store, and the types that it must have."""


@dataclass(frozen=True)
class Series:
    """One method on one store.

    Parameters
    ----------
    method : its name
    rows, sketches : figures and curves by rising temperature; one where no temperature matters
    """

    method: str
    rows: tuple[Row, ...]
    sketches: tuple[Sketch, ...]

    @property
    def tempered(self) -> bool:
        """Whether temperature changes the method."""
        return self.rows[0].temperature is not None

    @property
    def best(self) -> int:
        """The index of the row with the highest AuPRC: the first of equals, 0 where there is no AuPRC."""
        return max(range(len(self.rows)), key=lambda i: (self.rows[i].auprc or 0.0, -i))

    @property
    def plain(self) -> int | None:
        """The index of the row at T = 1, or of the only row; None where neither was scored."""
        if len(self.rows) == 1:
            return 0
        return next((i for i, row in enumerate(self.rows) if row.temperature == 1), None)

    @property
    def shown(self) -> int:
        """The index of the row whose scores are drawn: at T = 1, which no label chose, or else at the best."""
        return self.best if self.plain is None else self.plain


@dataclass(frozen=True)
class Entry:
    """One store of a run.

    Parameters
    ----------
    label : tells it from the other stores over the same data set
    facts : its part of the record of the run
    series : its methods
    """

    label: str
    facts: dict[str, Any]
    series: tuple[Series, ...]

    @property
    def row(self) -> Row:
        """Any of its rows, for what they all share."""
        return self.series[0].rows[0]


@dataclass(frozen=True)
class Results:
    """What `pipe score --out DIR` left.

    Parameters
    ----------
    run : the record of the run
    protocol : how the stores were scored
    datasets : the stores over each data set, by its name
    """

    run: dict[str, Any]
    protocol: Protocol
    datasets: dict[str, list[Entry]]

    @property
    def entries(self) -> list[Entry]:
        """All stores."""
        return [entry for entries in self.datasets.values() for entry in entries]

    @property
    def temperatures(self) -> list[float]:
        """All temperatures, rising."""
        rows = (row for entry in self.entries for series in entry.series for row in series.rows)
        return sorted({row.temperature for row in rows if row.temperature is not None})


def read_results(folder: Path) -> Results:
    """Read the results in a folder.

    Raises
    ------
    PipeError
        There are none, or they are damaged or of another version.
    """
    if not (folder / "results.json").is_file():
        raise PipeError(
            f"{folder}: expected results, but there is no results.json; `pipe score --out {folder}` makes it"
        )
    try:
        rows = _rows(json.loads((folder / "results.json").read_text(encoding="utf-8")))
        run = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["run"]
        _check(run, OF_RUN)
        moment(run["finished"])
        for store in run["stores"]:
            _check(store, OF_STORE)
        with xarray.open_zarr(folder / "results.zarr") as dataset:
            sketches = read_sketches(dataset, rows)
        return Results(run, from_document(run["protocol"]), _arranged(rows, sketches, run))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PipeError(
            f"{folder}: these are not the results of one run of this release ({error!r}); "
            f"run `pipe score --out {folder}` again"
        ) from error


def _rows(document: dict[str, Any]) -> list[Row]:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document['schema_version']!r}, expected {SCHEMA_VERSION}")
    rows = [Row(**row) for row in document["results"]]
    for row in rows:
        _check_row(row)
    if not rows:
        raise ValueError("no rows")
    return rows


def _check_row(row: Row) -> None:
    texts, counts = ("store", "network", "kind", "dataset", "protocol", "method"), ("images", "pixels", "positives")
    kinds = dict.fromkeys(texts, str) | dict.fromkeys(counts, int) | {"iou": list}
    _check({f.name: getattr(row, f.name) for f in fields(Row)}, kinds)
    figures = {f.name for f in fields(Row)} - set(kinds)
    for value in (*(getattr(row, name) for name in figures), *(v for iou in row.iou for v in iou.values())):
        if not isinstance(value, int | float | None):
            raise TypeError(f"{value!r} is no figure")


def _check(document: dict[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(document[name], kind):
            raise TypeError(f"{name} {document[name]!r}")


def _arranged(rows: Sequence[Row], sketches: Sequence[Sketch], run: dict[str, Any]) -> dict[str, list[Entry]]:
    pairs = list(zip(rows, sketches, strict=True))
    facts = {store["store"]: store for store in run["stores"]}
    datasets: dict[str, list[Entry]] = {row.dataset: [] for row in rows}
    for store in dict.fromkeys(row.store for row in rows):
        own = [(row, sketch) for row, sketch in pairs if row.store == store]
        series = tuple(_series(method, own) for method in dict.fromkeys(row.method for row, _ in own))
        datasets[own[0][0].dataset].append(Entry("", facts[store], series))
    return {dataset: _labelled(entries) for dataset, entries in datasets.items()}


def _series(method: str, pairs: Sequence[tuple[Row, Sketch]]) -> Series:
    own = sorted(((r, s) for r, s in pairs if r.method == method), key=lambda pair: pair[0].temperature or 0.0)
    return Series(method, tuple(row for row, _ in own), tuple(sketch for _, sketch in own))


def _labelled(entries: Sequence[Entry]) -> list[Entry]:
    """Name each store by its network, and by its path too where two stores over one data set share that."""
    rows = [entry.row for entry in entries]
    networks = Counter(row.network for row in rows)
    files = Counter((row.network, Path(row.store).name) for row in rows)

    def label(row: Row) -> str:
        name = Path(row.store).name
        shown = name if files[row.network, name] == 1 else row.store
        return row.network if networks[row.network] == 1 else f"{row.network} ({shown})"

    return [replace(entry, label=label(row)) for entry, row in zip(entries, rows, strict=True)]
