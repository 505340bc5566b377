"""A run that writes the scores of each image of a store in a format, and a JSON file that says how they were made."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from logitpipe.cache.errors import IncompleteError, PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.reading.store import Store
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.progress import Progress
from logitpipe.console.text import listed, printable
from logitpipe.exports.formats import EXPORTS, SMIYC_NAMES, Format, Named, Range
from logitpipe.stages.datasets import known_name

if TYPE_CHECKING:
    from logitpipe.stages.score.picture import Picture
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol

SAFE = re.compile(r"\w[\w.+-]*( [\w.+-]+)*")
"""Names of files that no system reads as anything else: no separators, no leading dot, no spaces at the ends."""

MOST_NAME_BYTES = 200
"""Most file systems take 255 bytes, and formats add words of their own."""


def export_scores(
    store: Store, plan: "Plan", form_name: str, images: Sequence[int], name: str | None, out: Path, overwrite: bool
) -> Path:
    """Write the scores of a plan's only pair, and return the JSON file.

    Parameters
    ----------
    form_name : one of `formats.EXPORTS`
    images : indices
    name : what smiyc calls the method; None: network, method and temperature

    Raises
    ------
    IncompleteError
        The store lacks some of the images.
    PipeError
        A name is none of a file, something would be replaced, or the files cannot be written.
    """
    form, present = EXPORTS[form_name], set(store.completed())
    if missing := [store.schema.images[image] for image in images if image not in present]:
        found = f"{len(missing)} of {len(images)} images are not in the store ({printable(listed(missing))})"
        raise IncompleteError(f"{store.path}: {found}", "infer")
    named = _names(store, plan, images, name)
    files = [file for each in named for file in form.files(each)]
    _refuse_twice(files)
    refuse_to_replace((out / file for file in (*files, form.sidecar(named[0]))), overwrite)
    prepare_folder(out)
    # Two walks: the map into a format's range must be one for all images, or scores of two images
    # could not be compared, so the extremes of all must be known before the first file is written.
    of = _range(store, plan, images)
    try:
        _write(store, plan, form, named, of, out)
        document = {
            "format": form_name,
            "store": str(store.path),
            "fingerprint": store.fingerprint,
            "network": store.schema.network,
            "dataset": store.schema.dataset,
            "method": plan.pairs[0].method,
            "parameters": plan.pairs[0].parameters,
            "temperature": plan.pairs[0].temperature,
            "map_temperature": plan.pairs[0].map_temperature,
            "mask_temperature": plan.pairs[0].mask_temperature,
            "formula": plan.methods[plan.pairs[0].method].formula,
            "statistics": plan.digest(plan.pairs[0]),
            "scores": {"low": of.low, "high": of.high},
            "map": form.map(of),
            "images": {store.schema.images[each.index]: form.files(each) for each in named},
        }
        # The JSON file comes last: where it is, all files that it names are complete.
        Folder(out).publish(form.sidecar(named[0]), (json.dumps(document, indent=1) + "\n").encode())
    except OSError as error:
        raise PipeError(f"the files cannot be written ({error.strerror})", option="out", value=out) from error
    return out / form.sidecar(named[0])


class EveryPixel:
    """Ground truth (see `ground_truth.Truth`) with label 0 everywhere: pictures without a mask are exported too."""

    def __init__(self, store: Store, protocol: "Protocol") -> None:
        self.store, self.protocol = store, protocol

    def labels(self, image: int) -> np.ndarray:
        """Return zeros, uint8 (H, W)."""
        return np.zeros(self.store.image(image).picture, np.uint8)


def _pictures(store: Store, plan: "Plan", images: Sequence[int], what: str) -> "Iterator[Picture]":
    from logitpipe.stages.score.picture import read_picture

    truth = EveryPixel(store, plan.protocol)
    with Progress(f"{what} {store.schema.network} on {store.schema.dataset}", len(images)) as progress:
        for image in images:
            if picture := read_picture(store, truth, image):
                yield picture
            progress.advance()


def _range(store: Store, plan: "Plan", images: Sequence[int]) -> Range:
    """Return the lowest and the highest score of all images."""
    low, high = np.inf, -np.inf
    for picture in _pictures(store, plan, images, "looking at"):
        scores = picture.formula_map(plan, 0)
        low, high = min(low, float(scores.min())), max(high, float(scores.max()))
    return Range(low, high)


def _write(store: Store, plan: "Plan", form: Format, named: Sequence[Named], of: Range, out: Path) -> None:
    from logitpipe.stages.score.labels.spaces import LABEL_SPACES
    from logitpipe.stages.score.prediction import predicted_classes

    channels, groups = LABEL_SPACES["cityscapes"].channels(store.schema) if form.classes else (None, None)
    by_index = {each.index: each for each in named}
    for picture in _pictures(store, plan, list(by_index), "exporting"):
        classes = None
        if channels is not None and groups is not None:
            classes = predicted_classes(picture, channels, groups, plan.temperatures[0])
        contents = form.encode(picture.formula_map(plan, 0), of, classes)
        for file, data in zip(form.files(by_index[picture.image]), contents, strict=True):
            Folder(out).publish(file, data)


def _names(store: Store, plan: "Plan", images: Sequence[int], name: str | None) -> list[Named]:
    """Return the names from which a format makes its file names, one entry for each image.

    Raises
    ------
    PipeError
        A name could leave the folder, or is none on some system.
    """
    pair, dataset = plan.pairs[0], store.schema.dataset
    tempered = "" if pair.temperature is None else f"_T{pair.temperature:g}"
    scored = re.sub(r"[^\w.+-]+", "_", pair.label)  # as in picture names: a label may hold colons and commas
    method = f"{store.schema.network}_{scored}{tempered}" if name is None else name
    dataset = SMIYC_NAMES.get(known_name(dataset), dataset)
    # Only the last part of an image's name, without folders. `_refuse_twice` finds images that then clash.
    stems = [PurePosixPath(store.schema.images[image]).stem for image in images]
    # Image names come from the store, which may be made by others: `..` or a separator would leave the folder.
    for text in (method, dataset, *stems):
        if not SAFE.fullmatch(text):
            raise PipeError(
                f"{text!r} cannot be the name of a file: letters, digits and - + . _ are expected, with a letter or "
                "digit first",
                "file-name",
            )
        if len(os.fsencode(text)) > MOST_NAME_BYTES:
            raise PipeError(f"{text!r} is longer than names of files can be", "file-name")
    return [Named(stem, image, method, dataset) for stem, image in zip(stems, images, strict=True)]


def _refuse_twice(files: Sequence[str]) -> None:
    """Refuse images that would share a file, also where the system takes capitals for small letters."""
    seen: set[str] = set()
    for file in files:
        if file.casefold() in seen:
            raise PipeError(f"two images would be written to {file}", "some-images")
        seen.add(file.casefold())
