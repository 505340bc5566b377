"""Tables of the benchmarks' own figures: components, the closed set, the open set."""

from collections.abc import Sequence

from logitpipe.console.text import printable
from logitpipe.stages.score.passes.closed_set import ClosedSetRow
from logitpipe.stages.score.passes.components import ComponentRow
from logitpipe.stages.score.passes.open_set import OpenSetRow
from logitpipe.tables.comparison import temperature_text
from logitpipe.tables.table import Cell, Group, Table

RULES = {
    "best-f1": "best-f1: the threshold of the best F1 of all scores, chosen by these labels",
    "official": "official: the best threshold of the curve that SegmentMeIfYouCan's tool draws",
    "given": "given: a threshold of --threshold",
}


def component_tables(rows: Sequence[ComponentRow]) -> list[Table]:
    """Return a table for each data set and protocol, per cent; by sizes of objects at T = 1 alone."""
    rows = [row for row in rows if row.sizes == "all" or row.temperature in (None, 1)]
    groups = dict.fromkeys((row.dataset, row.protocol) for row in rows)
    return [_components([row for row in rows if (row.dataset, row.protocol) == group]) for group in groups]


def closed_set_tables(rows: Sequence[ClosedSetRow]) -> list[Table]:
    """Return a table for each data set, protocol and label space; per cent but for NLL and Brier score."""
    groups = dict.fromkeys((row.dataset, row.protocol, row.label_space) for row in rows)
    parts = [[row for row in rows if (row.dataset, row.protocol, row.label_space) == group] for group in groups]
    return [make(part) for part in parts for make in (_closed_set, _class_ious)]


def open_set_tables(rows: Sequence[OpenSetRow]) -> list[Table]:
    """Return a table for each data set, protocol and label space; per cent."""
    groups = dict.fromkeys((row.dataset, row.protocol, row.label_space) for row in rows)
    return [
        _open_set([row for row in rows if (row.dataset, row.protocol, row.label_space) == group]) for group in groups
    ]


def _components(rows: Sequence[ComponentRow]) -> Table:
    lines = [
        (
            *_cells(row.network, row.method, temperature_text(row.temperature), row.rule, row.sizes),
            *_cells(str(row.figures.components_truth), str(row.figures.components_predicted)),
            *_cells(*(_per_cent(figure) for figure in (row.figures.siou, row.figures.ppv, row.figures.f1))),
        )
        for row in rows
    ]
    return Table(
        printable(f"Components: {rows[0].dataset}, protocol {rows[0].protocol}, per cent"),
        ("network", "method", "T", "threshold", "objects"),
        (Group("", ("truth", "predicted", "sIoU", "PPV", "F1")),),
        tuple(lines),
        tuple(text for rule, text in RULES.items() if any(row.rule == rule for row in rows)),
        words=2,
    )


def _closed_set(rows: Sequence[ClosedSetRow]) -> Table:
    lines = [
        (
            *_cells(row.network, temperature_text(row.temperature)),
            *_cells(*(_per_cent(figure) for figure in (row.figures.miou, row.figures.accuracy))),
            Cell("none" if row.figures.nll is None else f"{row.figures.nll:.5f}", row.least_nll and len(rows) > 1),
            Cell("none" if row.figures.brier is None else f"{row.figures.brier:.5f}"),
            Cell(_per_cent(row.figures.ece)),
        )
        for row in rows
    ]
    first = rows[0]
    return Table(
        printable(
            f"Closed set: {first.dataset}, protocol {first.protocol}, label space {first.label_space}, per cent"
        ),
        ("network", "T"),
        (Group("", ("mIoU", "accuracy", "NLL", "Brier", "ECE")),),
        tuple(lines),
        ("NLL in nats and Brier score are no per cent; of NLL the least of each store is marked",),
    )


def _class_ious(rows: Sequence[ClosedSetRow]) -> Table:
    """Return the IoU of each class, networks side by side, at T = 1 or else at the first temperature."""
    shown = {(row.network, row.store): row for row in reversed(rows)}
    shown |= {(row.network, row.store): row for row in rows if row.temperature == 1}
    found = list(reversed(shown.values()))
    first, names = found[0], [row.network for row in found]
    # Two stores of networks of one name are told apart by their places.
    heads = [row.network if names.count(row.network) == 1 else f"{row.network} ({row.store})" for row in found]
    ious = [dict(zip(row.classes, row.figures.iou, strict=True)) for row in found]
    classes = dict.fromkeys(name for row in found for name in row.classes)
    lines = [
        (*_cells(name), *_cells(*(_per_cent(of[name]) if name in of else "" for of in ious))) for name in classes
    ]
    return Table(
        printable(
            f"IoU of each class: {first.dataset}, protocol {first.protocol}, label space {first.label_space}, "
            f"T = {first.temperature:g}, per cent"
        ),
        ("class",),
        (Group("", tuple(map(printable, heads))),),
        tuple(lines),
        ("none: a class that occurs neither in truth nor in prediction",) if "none" in str(lines) else (),
    )


def _open_set(rows: Sequence[OpenSetRow]) -> Table:
    lines = []
    for row in rows:
        found = row.figures
        figures = (found.open_miou, found.closed_miou, found.unknown_iou) if found else (None,) * 3
        words = _cells(row.network, row.method, temperature_text(row.temperature), row.rule)
        lines.append((*words, *_cells(_per_cent(row.tpr_at_5_fpr), *map(_per_cent, figures))))
    first = rows[0]
    return Table(
        printable(f"Open set: {first.dataset}, protocol {first.protocol}, label space {first.label_space}, per cent"),
        ("network", "method", "T", "threshold"),
        (Group("", ("TPR at FPR 5", "open-mIoU", "closed mIoU", "unknown IoU")),),
        tuple(lines),
        ("unknown from the first TPR >= 95 %, the first FPR >= 5 %, the best F1; these labels chose the thresholds",),
        words=2,
    )


def _cells(*texts: str) -> list[Cell]:
    return [Cell(printable(text)) for text in texts]


def _per_cent(fraction: float | None) -> str:
    return "none" if fraction is None else f"{100 * fraction:.3f}"
