"""Pictures side by side: a title over each, and below it what explains it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from logitpipe.console.text import ascii_only
from logitpipe.pictures.colours import ANOMALY, NORMAL, STEPS, VOID, score_colours

PANEL = (640, 640)
"""Width and height that a panel must not exceed."""

LEAST_WIDTH = 420
"""Width of a column, however narrow its panel: room for the numbers at the colour bar."""

PAPER, INK, FAINT = (255, 255, 255), (25, 25, 25), (105, 105, 105)
MARGIN, TITLE, FOOTER, BAR = 20, 34, 66, 14
TITLE_FONT, TEXT_FONT = (ImageFont.load_default(size=size) for size in (19, 14))
TICKS = 5
"""Numbers below a colour bar; of five, none touches its neighbour in the narrowest column."""


@dataclass(frozen=True)
class Column:
    """A panel with what stands above and below it.

    Parameters
    ----------
    title : one line
    panel : the picture
    footer : what explains it, of the width of `column_width`
    """

    title: str
    panel: Image.Image
    footer: Image.Image


def draw_figure(columns: Sequence[Column]) -> Image.Image:
    """Put columns with panels of one size side by side."""
    width, height = column_width(columns[0].panel.width), columns[0].panel.height
    size = (MARGIN + len(columns) * (width + MARGIN), TITLE + height + FOOTER)
    figure = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(figure)
    for i, column in enumerate(columns):
        x = MARGIN + i * (width + MARGIN)
        draw.text((x, TITLE // 2), _shortened(column.title, width), INK, TITLE_FONT, anchor="lm")
        figure.paste(column.panel, (x, TITLE))
        figure.paste(column.footer, (x, TITLE + height))
    return figure


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Return the width and height of the panel for a picture of some size, in the picture's proportions."""
    scale = min(PANEL[0] / width, PANEL[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def column_width(panel_width: int) -> int:
    """Return the width of a column around a panel."""
    return max(LEAST_WIDTH, panel_width)


def photo_column(title: str, caption: str, preview: np.ndarray, size: tuple[int, int]) -> Column:
    """Return a photograph, uint8 (h, w, 3), over one line of text; `size` is the panel's width and height."""
    footer, draw = _footer(size)
    draw.text((0, 10), _shortened(caption, footer.width, TEXT_FONT), FAINT, TEXT_FONT)
    return Column(title, photo_panel(preview, size), footer)


def truth_column(title: str, labels: np.ndarray, size: tuple[int, int]) -> Column:
    """Return ground truth over its legend: labels are uint8 (H, W), 0 normal, 1 anomaly, 2 void."""
    footer, draw = _footer(size)
    x = 0.0
    for name, colour in (("normal", NORMAL), ("anomaly", ANOMALY), ("void", VOID)):
        draw.rectangle((x, 10, x + BAR, 10 + BAR), colour, outline=FAINT)
        draw.text((x + BAR + 6, 10), name, INK, TEXT_FONT)
        x += BAR + 28 + TEXT_FONT.getlength(name)
    return Column(title, truth_panel(labels, size), footer)


def legend_column(title: str, panel: Image.Image, legend: Sequence[tuple[str, tuple[int, ...]]]) -> Column:
    """Return a panel over names and their colours, as many as there is room for."""
    footer, draw = _footer(panel.size)
    x, y = 0.0, 4
    for name, colour in legend:
        text = ascii_only(name)
        width = BAR + 6 + TEXT_FONT.getlength(text)
        if x and x + width > footer.width:
            x, y = 0.0, y + BAR + 6
        if y + BAR > FOOTER:
            break
        draw.rectangle((x, y, x + BAR, y + BAR), colour, outline=FAINT)
        draw.text((x + BAR + 6, y), text, INK, TEXT_FONT)
        x += width + 16
    return Column(title, panel, footer)


def score_column(
    title: str, caption: str, scores: np.ndarray, limits: tuple[float, float], size: tuple[int, int]
) -> Column:
    """Return scores, float (H, W), in colours over a bar that tells their values between two limits."""
    footer, draw = _footer(size)
    _draw_bar(footer, draw, limits, size[0])
    draw.text((0, 47), _shortened(caption, footer.width, TEXT_FONT), FAINT, TEXT_FONT)
    return Column(title, score_panel(scores, limits, size), footer)


def photo_panel(preview: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Return a photograph, uint8 (h, w, 3), at the width and height of `size`."""
    return Image.fromarray(preview).resize(size, Image.Resampling.LANCZOS)


def truth_panel(labels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Return ground truth in its three colours: labels are uint8 (H, W), 0 normal, 1 anomaly, 2 void."""
    colours = np.array([NORMAL, ANOMALY, VOID], np.uint8)
    # Averaged, so that a small anomaly leaves a trace: single pixels that are picked could miss it.
    return Image.fromarray(colours[labels]).resize(size, Image.Resampling.BOX)


def score_panel(scores: np.ndarray, limits: tuple[float, float], size: tuple[int, int]) -> Image.Image:
    """Return scores, float (H, W), in colours that end at the limits."""
    # Scores are averaged and coloured afterwards: a mean of two colours is no colour of the scale.
    shares = Image.fromarray(((scores - limits[0]) / (limits[1] - limits[0])).clip(0, 1).astype(np.float32))
    return Image.fromarray(score_colours(np.asarray(shares.resize(size, Image.Resampling.BOX))))


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return numbers with as few digits, three at least, as tell them apart."""
    for digits in range(3, 17):
        labels = [f"{value:.{digits}g}" for value in values]
        if len(set(labels)) == len(values):
            break
    return labels


def _draw_bar(footer: Image.Image, draw: ImageDraw.ImageDraw, limits: tuple[float, float], panel_width: int) -> None:
    width = column_width(panel_width)
    bar = Image.fromarray(score_colours(np.linspace(0, 1, STEPS))[None]).resize((width, BAR))
    footer.paste(bar, (0, 8))
    labels = tick_labels(np.linspace(*limits, TICKS).tolist())
    for i, label in enumerate(labels):
        x = (width - 1) * i / (TICKS - 1)
        draw.line((x, 8 + BAR, x, 8 + BAR + 4), INK)
        # The outer labels are set inwards (anchor l and r), so that they do not reach beyond the column.
        draw.text((x, 8 + BAR + 5), label, INK, TEXT_FONT, anchor="lmr"[(i > 0) + (i == TICKS - 1)] + "a")


def _footer(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    footer = Image.new("RGB", (column_width(size[0]), FOOTER), PAPER)
    return footer, ImageDraw.Draw(footer)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont = TITLE_FONT) -> str:
    """Return text that fits a width in pixels, its middle left out if need be; the font has ASCII alone."""
    # The middle goes first: what tells names of images apart is mostly at their ends.
    text = kept = ascii_only(text)
    while font.getlength(text) > width:
        kept = kept[: len(kept) // 2] + kept[len(kept) // 2 + 1 :]
        text = f"{kept[: len(kept) // 2]}...{kept[len(kept) // 2 :]}"
    return text
