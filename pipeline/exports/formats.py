"""The formats of score maps: what each file is called, and what stands in it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from logitpipe.cache.errors import PipeError

HALF_MOST = float(np.finfo(np.float16).max)
WORD_MOST = 65535
"""The largest number of 16 bits."""


@dataclass(frozen=True)
class Range:
    """The lowest and the highest score of all images that are exported together."""

    low: float
    high: float

    def shares(self, scores: np.ndarray) -> np.ndarray:
        """Return scores brought to 0..1; 0 where all are equal."""
        return (scores - self.low) / ((self.high - self.low) or 1.0)


@dataclass(frozen=True)
class Named:
    """What the files of one image are named after.

    Parameters
    ----------
    stem : of the picture's file
    index : of the image in the store
    method, dataset : folders of SegmentMeIfYouCan's tool
    """

    stem: str
    index: int
    method: str
    dataset: str


@dataclass(frozen=True)
class Format:
    """How one image becomes files.

    Parameters
    ----------
    files : name of each file of an image, with `/` between folders
    encode : scores float64 (H, W), the range of all, and predicted classes uint8 (H, W) if `classes` -> its bytes
    map : the range of all -> how a value in a file follows from a score, for the sidecar
    sidecar : name of the file that says so
    classes : whether predicted classes are among the files
    """

    files: Callable[[Named], tuple[str, ...]]
    encode: Callable[[np.ndarray, Range, np.ndarray | None], tuple[bytes, ...]]
    map: Callable[[Range], dict[str, Any]]
    sidecar: Callable[[Named], str] = lambda _named: "export.json"
    classes: bool = False


def as_array(values: np.ndarray) -> bytes:
    """Return an array as the bytes of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def as_png(values: np.ndarray) -> bytes:
    """Return uint8 or uint16 (H, W) as the bytes of a grey PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "png")
    return buffer.getvalue()


def as_hdf5(values: np.ndarray) -> bytes:
    """Return an array as the bytes of an HDF5 file that holds it as `value`, gzip 9.

    Raises
    ------
    PipeError
        h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise PipeError(
            "this format is written by h5py, which is not installed", "install", extra="'.[export]'"
        ) from None
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("value", data=values, compression="gzip", compression_opts=9)
    return buffer.getvalue()


def half_factor(of: Range) -> float:
    """Return the largest power of two, 1 at most, that brings all scores within float16."""
    most = max(abs(of.low), abs(of.high))
    # A power of two changes no digit of a score.
    return 1.0 if most <= HALF_MOST else 2.0 ** np.floor(np.log2(HALF_MOST / most))


def _smiyc_map(of: Range) -> dict[str, Any]:
    return {"value": "float16(score * factor)", "factor": half_factor(of)}


def _word_map(of: Range) -> dict[str, Any]:
    return {"value": f"round({WORD_MOST} * (score - low) / (high - low))", "low": of.low, "high": of.high}


def _confidence_map(of: Range) -> dict[str, Any]:
    return {"value": f"round({WORD_MOST} * (high - score) / (high - low))", "low": of.low, "high": of.high}


def _word(shares: np.ndarray) -> bytes:
    return as_png(np.rint(shares * WORD_MOST).astype(np.uint16))


def _plain_map(_of: Range) -> dict[str, Any]:
    return {"value": "float32(score)"}


EXPORTS: dict[str, Format] = {
    "smiyc": Format(
        files=lambda image: (f"anomaly_p/{image.method}/{image.dataset}/{image.stem}.hdf5",),
        encode=lambda scores, of, _: (as_hdf5((scores * half_factor(of)).astype(np.float16)),),
        map=_smiyc_map,
        sidecar=lambda image: f"anomaly_p/{image.method}/{image.dataset}.json",
    ),
    "fishyscapes": Format(
        files=lambda image: (f"{image.index}_anomaly.npy", f"{image.index}_segmentation.npy"),
        encode=lambda scores, _, classes: (as_array(scores.astype(np.float32)), as_array(np.asarray(classes))),
        map=_plain_map,
        classes=True,
    ),
    "bravo": Format(
        files=lambda image: (f"{image.stem}_pred.png", f"{image.stem}_conf.png"),
        encode=lambda scores, of, classes: (as_png(np.asarray(classes)), _word(1 - of.shares(scores))),
        map=_confidence_map,
        classes=True,
    ),
    "npy": Format(
        files=lambda image: (f"{image.stem}.npy",),
        encode=lambda scores, _range, _: (as_array(scores.astype(np.float32)),),
        map=_plain_map,
    ),
    "png16": Format(
        files=lambda image: (f"{image.stem}.png",),
        encode=lambda scores, of, _: (_word(of.shares(scores)),),
        map=_word_map,
    ),
}
"""By the name that asks for it. Sources: SegmentMeIfYouCan's `Evaluation`, Fishyscapes' and BRAVO's submissions."""

SMIYC_NAMES = {
    "RoadAnomaly21": "AnomalyTrack-all",
    "RoadObsticle21": "ObstacleTrack-all",
    "LostAndFound": "LostAndFound-test",
}
"""What SegmentMeIfYouCan's tool calls its data sets, by their `known_name`; others keep their names."""
