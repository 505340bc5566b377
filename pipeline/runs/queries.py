"""Diagnosis of queries: an image and a region in, a picture and a table of the queries that claim it out."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from logitpipe.cache.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.claims import Claim
    from logitpipe.stages.score.labels.ground_truth import GroundTruth

Region = tuple[int, int, int, int]
"""Left, top, right and bottom pixel, all four included."""


def require_queries(store: "Store") -> None:
    """Raise a UsageError for a store of a pixel network."""
    if store.schema.kind != "mask":
        raise UsageError(
            f"{store.path}: queries are those of mask networks, and {store.schema.network} is a pixel network"
        )


def diagnosed(
    store: "Store", truth: "GroundTruth", image: int, box: Region | None, T: float, most: int
) -> "tuple[Image, str]":
    """Return the picture and the table of one image.

    Parameters
    ----------
    box : the region; None for the anomalous pixels
    T : temperature of the class logits
    most : how many queries are shown
    """
    from logitpipe.console.text import aligned
    from logitpipe.pictures.panels import panel_size
    from logitpipe.pictures.queries import draw_queries, query_column, region_column
    from logitpipe.stages.score.claims import (
        anomalous_region,
        box_region,
        claims,
        image_size,
    )

    size, schema = image_size(store, image), store.schema
    region: np.ndarray = anomalous_region(truth, image) if box is None else box_region(size, *box)
    width, height = panel_size(*region.shape)
    found = claims(store, image, region, T, (height, width), most)
    where = "its anomalies" if box is None else f"region {','.join(map(str, box))}"
    title, caption = schema.images[image], f"{schema.network} on {schema.dataset}, {where}, T = {T:g}"
    columns = [region_column(title, caption, store.read("preview", image), region, (width, height))]
    columns += [query_column(claim, (width, height)) for claim in found]
    lines = aligned(list(_lines(found, len(store.image(image).windows))), right=range(1, 5))
    heading = f"{title}: queries that claim {where} ({int(region.sum()):,} pixels), per cent"
    return draw_queries(columns), "\n".join([heading, *lines])


def _lines(found: "Sequence[Claim]", windows: int) -> Iterator[list[str]]:
    """Yield the cells of a table: a header, then a line for each query."""
    yield ["query", "claims", "wins", "area", "no object", "classes"]
    for each in found:
        name = str(each.query) if windows == 1 else f"{each.query} of window {each.window}"
        shares = (f"{100 * value:.1f}" for value in (each.claim, each.won, each.area, each.none))
        yield [name, *shares, ", ".join(f"{label} {100 * share:.1f}" for label, share in each.classes)]
