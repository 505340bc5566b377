"""Pictures of the queries that claim a region of an image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from logitpipe.pictures.panels import Column, draw_figure, photo_column, score_column

if TYPE_CHECKING:
    from logitpipe.stages.score.claims import Claim

IN_A_ROW = 4
"""Columns of a picture, which a screen shows without scrolling."""

DIMMED = 0.35
"""Brightness of a photograph outside of the region."""


def region_column(title: str, caption: str, preview: np.ndarray, region: np.ndarray, size: tuple[int, int]) -> Column:
    """Return the photograph, dark outside of the region.

    Parameters
    ----------
    preview : uint8 (h, w, 3)
    region : bool (H, W)
    size : width and height of the panel
    """
    marked = Image.fromarray(region * np.uint8(255)).resize(size, Image.Resampling.BOX)
    # Spread by two pixels, so that a single point is seen.
    inside = np.asarray(marked.point(lambda value: 255 if value else 0).filter(ImageFilter.MaxFilter(5))) > 0
    photo = np.asarray(Image.fromarray(preview).resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
    photo[~inside] *= DIMMED
    return photo_column(title, caption, photo.astype(np.uint8), size)


def query_column(claim: "Claim", size: tuple[int, int]) -> Column:
    """Return the mask of a query in colours, with its classes below."""
    label, share = claim.classes[0]
    rest = ", ".join(f"{name} {100 * part:.1f}" for name, part in claim.classes)
    title = f"query {claim.query}: {label} {100 * share:.0f} %"
    caption = f"claims {100 * claim.claim:.1f} %; no object {100 * claim.none:.1f}, {rest}"
    return score_column(title, caption, claim.mask, (0.0, 1.0), size)


def draw_queries(columns: Sequence[Column]) -> Image.Image:
    """Put columns into rows of IN_A_ROW, one below the other."""
    rows = [draw_figure(columns[i : i + IN_A_ROW]) for i in range(0, len(columns), IN_A_ROW)]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), (255, 255, 255))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
