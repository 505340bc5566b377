"""Rows of figures, made up."""

from logitpipe.stages.score.figures.rows import BOUNDED, Row

FACTS = {
    "store": "e.zarr",
    "network": "enet",
    "kind": "pixel",
    "dataset": "Tiny",
    "protocol": "standard",
    "method": "msp",
    "temperature": 1.0,
    "fpr95_threshold": 0.0,
    "best_f1_threshold": 0.0,
    "best_iou": 0.5,
    "best_iou_threshold": 0.0,
    "iou": [],
    "images": 3,
    "pixels": 90,
    "positives": 9,
}


def make_row(**facts: object) -> Row:
    """A row with nothing open, unless bounds are given; figures are a half where they are not."""
    given = {name: facts.get(name, 0.5) for name in BOUNDED}
    bounds = {f"{name}_{end}": given[name] for name in BOUNDED for end in ("lower", "upper")}
    return Row(**FACTS | given | bounds | facts)
