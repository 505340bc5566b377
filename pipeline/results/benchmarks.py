"""The benchmarks' own figures as records, written and read: the same names in FAMILY.json and FAMILY.csv."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.results.columns import FORMAT
from logitpipe.results.plain_rows import csv_bytes, csv_text
from logitpipe.stages.score.figures.closed_set import ClosedSetFigures, ReliabilityBin
from logitpipe.stages.score.figures.components import PER_CENT, ComponentFigures
from logitpipe.stages.score.figures.open_set import OpenSetFigures
from logitpipe.stages.score.passes.closed_set import ClosedSetRow
from logitpipe.stages.score.passes.components import ComponentRow
from logitpipe.stages.score.passes.open_set import OpenSetRow
from logitpipe.stages.score.passes.transfer import TransferRow

Record = dict[str, Any]
Records = Mapping[str, Sequence[Record]]
"""Name of a family of figures -> its records."""

AnyRow = ComponentRow | ClosedSetRow | OpenSetRow | TransferRow
OneRow = TypeVar("OneRow", ComponentRow, ClosedSetRow, OpenSetRow, TransferRow)

AT_EACH = {"f1": "f1_at", "tp": "tp", "fn": "fn", "fp": "fp"}
"""Columns `NAME_T` of component figures -> the field that has them all."""

BIN = "bin{}_{}"
"""Column of what a bin of confidence holds, counted from 1."""

NO_FRACTION = ("nll", "brier", "temperature", "map_temperature", "mask_temperature", "threshold")
"""Numbers of a record that may lie outside 0..1; of the others those that are integers may."""

FAMILIES = ("components", "closed_set", "open_set", "transfer")
FILES = tuple(f"{name}.{ending}" for name in FAMILIES for ending in ("json", "csv"))


def component_record(row: ComponentRow) -> Record:
    """Return one row: keys, means, then F1 and its counts at each t in per cent, such as `f1_25` and `tp_25`."""
    figures = row.figures
    counted = {name: getattr(figures, field) for name, field in AT_EACH.items()}
    return _plain(row) | {
        "components_truth": figures.components_truth,
        "components_predicted": figures.components_predicted,
        "siou": figures.siou,
        "ppv": figures.ppv,
        "f1": figures.f1,
        **{f"{name}_{t}": value for name, at in counted.items() for t, value in zip(PER_CENT, at, strict=True)},
    }


def closed_set_record(row: ClosedSetRow) -> Record:
    """Return one row: keys, figures, the IoU of each class, such as `iou_road`, then the bins of confidence.

    Of the first bin these are `bin1_pixels`, `bin1_confidence` and `bin1_accuracy`.
    """
    figures = {name: getattr(row.figures, name) for name in _CLOSED_SET}
    ious = {f"iou_{name}": iou for name, iou in zip(row.classes, row.figures.iou, strict=True)}
    bins = {
        BIN.format(i, name): value
        for i, each in enumerate(row.figures.reliability, 1)
        for name, value in each._asdict().items()
    }
    return {name: value for name, value in _plain(row).items() if name != "classes"} | figures | ious | bins


def open_set_record(row: OpenSetRow) -> Record:
    """Return one row: keys and figures; a figure that needs classes is None where the masks name none."""
    figures = {field.name: getattr(row.figures, field.name, None) for field in fields(OpenSetFigures)}
    return _plain(row) | figures


def transfer_record(row: TransferRow) -> Record:
    """Return one row: keys and figures."""
    return _plain(row)


_CLOSED_SET = tuple(field.name for field in fields(ClosedSetFigures) if field.name not in ("iou", "reliability"))


@dataclass(frozen=True)
class Benchmarks:
    """The benchmarks' own figures of results; empty is a family that was not computed."""

    components: Sequence[ComponentRow] = ()
    closed_set: Sequence[ClosedSetRow] = ()
    open_set: Sequence[OpenSetRow] = ()
    transfer: Sequence[TransferRow] = ()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.components or self.closed_set or self.open_set or self.transfer)


def joined(parts: Iterable[Benchmarks]) -> Benchmarks:
    """Join the figures of several runs; of a row that several have, the last one counts."""
    every = list(parts)
    closed = _last([row for part in every for row in part.closed_set])
    least: dict[tuple[str, str, str], float] = {}
    for row in closed:
        key = row.store, row.protocol, row.label_space
        least[key] = min(least.get(key, math.inf), math.inf if row.figures.nll is None else row.figures.nll)
    return Benchmarks(
        _last([row for part in every for row in part.components]),
        # Runs may have swept different temperatures: the least of one need not be the least of all.
        [
            replace(row, least_nll=row.figures.nll == least[row.store, row.protocol, row.label_space])
            for row in closed
        ],
        _last([row for part in every for row in part.open_set]),
        # A threshold is what was chosen, and tells no two choices apart.
        _last([row for part in every for row in part.transfer], (*_MEASURED, "threshold")),
    )


def read_rows(folder: Path) -> Benchmarks:
    """Read the families that a results folder has.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        A file cannot be read, or is not what `write_benchmarks` writes.
    """
    return rows_of({family: _read(folder, family) for family in FAMILIES})


def rows_of(records: Records) -> Benchmarks:
    """Return the rows of records, which a run has in memory or a folder holds."""
    of = {family: records.get(family, ()) for family in FAMILIES}
    return Benchmarks(
        [_component_row(record) for record in of["components"]],
        [_closed_set_row(record) for record in of["closed_set"]],
        [_open_set_row(record) for record in of["open_set"]],
        [TransferRow(**record) for record in of["transfer"]],
    )


def _read(folder: Path, family: str) -> list[Record]:
    file = folder / f"{family}.json"
    if not file.is_file():
        return []
    records: list[Record] = json.loads(file.read_text(encoding="utf-8"))[family]
    # The file may have been changed by hand, and the page draws what it says.
    for record in records:
        for name, value in record.items():
            _check_number(name, value)
    return records


def _check_number(name: str, value: object) -> None:
    if isinstance(value, float) and not (math.isfinite(value) and (name in NO_FRACTION or 0 <= value <= 1)):
        raise ValueError(f"{name} {value!r}")


def _component_row(record: Record) -> ComponentRow:
    f1_at, tp, fn, fp = (tuple(record[f"{name}_{t}"] for t in PER_CENT) for name in AT_EACH)
    truth, predicted = record["components_truth"], record["components_predicted"]
    figures = ComponentFigures(truth, predicted, record["siou"], record["ppv"], record["f1"], f1_at, tp, fn, fp)
    return ComponentRow(**_keys(ComponentRow, record), figures=figures)


def _closed_set_row(record: Record) -> ClosedSetRow:
    classes = tuple(name.removeprefix("iou_") for name in record if name.startswith("iou_"))
    bins = list[ReliabilityBin]()
    # Earlier releases wrote no bins: there is nothing to draw of these then.
    while BIN.format(len(bins) + 1, "pixels") in record:
        bins.append(ReliabilityBin(*(record[BIN.format(len(bins) + 1, name)] for name in ReliabilityBin._fields)))
    figures = ClosedSetFigures(
        **{name: record[name] for name in _CLOSED_SET},
        iou=tuple(record[f"iou_{name}"] for name in classes),
        reliability=tuple(bins),
    )
    return ClosedSetRow(**_keys(ClosedSetRow, record | {"classes": classes}), figures=figures)


def _open_set_row(record: Record) -> OpenSetRow:
    names = [field.name for field in fields(OpenSetFigures)]
    # Without classes all of these are empty, and the row has no figures.
    has_classes = record["open_miou"] is not None
    figures = OpenSetFigures(**{name: record[name] for name in names}) if has_classes else None
    return OpenSetRow(**_keys(OpenSetRow, record), figures=figures)


def _keys(kind: type[AnyRow], record: Record) -> Record:
    # What earlier releases did not write has a default.
    names = {field.name for field in fields(kind)} - {"figures"}
    return {name: value for name, value in record.items() if name in names}


_MEASURED = ("figures", "images", "least_nll", "tpr_at_5_fpr", "f1", "iou", "mean_iou", "fpr", "tpr")
"""Of a row of any family, what does not tell it from others."""


def _last(rows: Iterable[OneRow], measured: Sequence[str] = _MEASURED) -> list[OneRow]:
    """Return rows, each once: of those of the same scores and thresholds the last."""
    return list({tuple(v for name, v in _plain(row).items() if name not in measured): row for row in rows}.values())


def write_benchmarks(folder: Path, records: Records) -> None:
    """Write FAMILY.json and FAMILY.csv of each family that is there.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    for name in records:
        document = {"schema_version": FORMAT, name: list(records[name])}
        Folder(folder).publish(f"{name}.json", (json.dumps(document, indent=1) + "\n").encode())
        Folder(folder).publish(f"{name}.csv", csv_bytes(records_as_csv(records[name])))


def read_benchmarks(folders: Sequence[Path]) -> Records:
    """Return the records that `write_benchmarks` wrote into folders, of each family those of all.

    Raises
    ------
    PipeError
        A file is damaged.
    """
    found: dict[str, list[Record]] = {}
    for folder in folders:
        for name in FAMILIES:
            file = folder / f"{name}.json"
            if not file.is_file():
                continue
            try:
                found.setdefault(name, []).extend(json.loads(file.read_text(encoding="utf-8"))[name])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise PipeError(f"{file}: cannot be read ({error!r})", "score again", folder=folder) from error
    return found


def records_as_csv(records: Sequence[Record]) -> str:
    """Return one line for each record; a column that only some records have is empty in the others."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return csv_text({name: [record.get(name) for record in records] for name in names})


def _plain(row: AnyRow) -> Record:
    return {field.name: getattr(row, field.name) for field in fields(row) if field.name != "figures"}
