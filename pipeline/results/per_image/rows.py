"""Figures of single images as CSV: one line for each row and image."""

import csv
import io
from collections.abc import Mapping

import numpy as np

from logitpipe.results.columns import KEYS, columns
from logitpipe.results.per_image.sampling import Sampled
from logitpipe.results.plain_rows import spreadsheet_text
from logitpipe.stages.score.figures.bootstrap import FIGURES


def images_as_csv(every: Mapping[str, Sampled]) -> str:
    """Return AuPRC, FPR95 and AUROC of each image, fractions; empty where an image lacks a class of pixels."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*KEYS, "image", *FIGURES, "normal_pixels", "anomalous_pixels"])
    for sampled in every.values():
        pixels = sampled.counts.sum(axis=-1, dtype=np.int64)
        for i, candidate in enumerate(sampled.candidates):
            found = columns([candidate.row])
            keys = [_text(found[name][0]) for name in KEYS]
            for j, image in enumerate(sampled.images):
                figures = ["" if np.isnan(value) else value for value in sampled.figures[i, j].tolist()]
                writer.writerow([*keys, _text(image), *figures, *pixels[i, j].tolist()])
    return text.getvalue()


def _text(value: object) -> object:
    return spreadsheet_text(value) if isinstance(value, str) else value
