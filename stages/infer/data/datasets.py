"""Data sets as everyone has them: `ROOT/NAME/images/*` and `ROOT/NAME/labels_masks/STEM.png` (or `.webp`)."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.imagefile import image_size

IMAGES, MASKS = "images", "labels_masks"
MASK_SUFFIXES = (".png", ".webp")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
SPELLINGS = {"RoadObstacle21": "RoadObsticle21"}
"""Other spellings of a name; the official archive misspells, and the name in a store is the archive's."""


@dataclass(frozen=True)
class Sample:
    """A picture and its ground truth; `name` is the picture's file name."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class DataSet:
    """Pictures in order, each known to have a mask of its own size.

    Parameters
    ----------
    name : canonical name
    samples : ordered by name, numbers by value
    label_shape : largest height and largest width among the masks
    """

    name: str
    samples: tuple[Sample, ...]
    label_shape: tuple[int, int]


def dataset_names(root: Path) -> list[str]:
    """Return the canonical names of all data sets directly under `root`, or of `root` if it is one itself.

    Raises
    ------
    PipeError
        There is no folder `root`, or no data set in it.
    """
    if not (names := sorted(_folders(root))):
        raise PipeError(f"--data-root {root}: expected data sets NAME/{IMAGES}/ in it, found {_content(root)}")
    return names


def read_dataset(root: Path, name: str, limit: int | None = None) -> DataSet:
    """Find a data set and check, by the headers alone, that each picture has a mask of its size.

    Parameters
    ----------
    root : folder that holds the data set's folder, or that folder itself
    name : of the data set; the name of any folder of the right shape will do
    limit : take only so many pictures, the first ones

    Raises
    ------
    PipeError
        The data set is not there or is empty; a file is no image; two pictures share a mask; a mask is missing
        or of another size than its picture.
    """
    folder = _folder(root, name)
    pictures = _pictures(folder / IMAGES)[:limit]
    sizes = [image_size(picture) for picture in pictures]
    _refuse_shared_masks(folder, pictures)
    masks = _masks(folder, pictures)
    _require_same_sizes(folder, pictures, masks, sizes)
    samples = tuple(Sample(picture.name, picture, mask) for picture, mask in zip(pictures, masks, strict=True))
    heights, widths = zip(*sizes, strict=True)
    return DataSet(canonical(name), samples, (max(heights), max(widths)))


def canonical(name: str) -> str:
    """Return the one spelling under which a data set is recorded."""
    return SPELLINGS.get(name, name)


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key that orders names by text and, within them, numbers by value: 0, 1, 2, 10."""
    parts = re.split(r"(\d+)", name)
    return tuple(int(part) if odd % 2 else part for odd, part in enumerate(parts)), name


def _folders(root: Path) -> dict[str, Path]:
    """Map canonical names to the folders below `root` that hold images/; names keep the case they have on disk."""
    if not root.is_dir():
        raise PipeError(f"--data-root {root}: expected a folder, there is none")
    candidates = [*sorted(root.iterdir()), root.absolute()]
    return {canonical(folder.name): folder for folder in candidates if (folder / IMAGES).is_dir()}


def _folder(root: Path, name: str) -> Path:
    folder = _folders(root).get(canonical(name))
    if folder is None:
        raise PipeError(
            f"--dataset {name}: expected the folder {root / name} with {IMAGES}/ and {MASKS}/ in it; "
            f"{root} holds {_content(root)}"
        )
    return folder


def _content(root: Path) -> str:
    names = sorted(entry.name for entry in root.iterdir() if not _hidden(entry))
    return _listed(names) if names else "nothing"


def _pictures(folder: Path) -> list[Path]:
    files = [entry for entry in folder.iterdir() if not _hidden(entry)]
    if not files:
        raise PipeError(f"{folder}: expected pictures, the folder is empty")
    if odd := sorted(str(entry) for entry in files if not entry.is_file()):
        raise PipeError(f"{odd[0]}: expected nothing but pictures in {folder}, this is no file; take it out")
    return sorted(files, key=lambda file: natural_key(file.name))


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES


def _refuse_shared_masks(folder: Path, pictures: Iterable[Path]) -> None:
    """A mask belongs to a stem, and on many file systems to a stem in any case and any form of its letters."""
    for one, other in pairwise(sorted(pictures, key=_stem)):
        if _stem(one) == _stem(other):
            raise PipeError(
                f"{folder / IMAGES}: each picture needs a mask of its own, but {one.name} and {other.name} "
                "differ only in ending, case or Unicode form; rename or remove one"
            )


def _stem(picture: Path) -> str:
    return unicodedata.normalize("NFC", picture.stem.casefold())


def _masks(folder: Path, pictures: Iterable[Path]) -> list[Path]:
    found, missing = [], []
    for picture in pictures:
        candidates = [folder / MASKS / f"{picture.stem}{suffix}" for suffix in MASK_SUFFIXES]
        existing = list(islice((mask for mask in candidates if mask.is_file()), 1))
        found += existing
        missing += [] if existing else [f"{IMAGES}/{picture.name} needs {candidates[0]}"]
    if missing:
        raise PipeError(
            f"{folder}: every picture needs a mask (.png or .webp), {len(missing)} lack theirs: {_listed(missing)}"
        )
    return found


def _require_same_sizes(
    folder: Path, pictures: Sequence[Path], masks: Sequence[Path], sizes: Sequence[tuple[int, int]]
) -> None:
    wrong = [
        f"{IMAGES}/{picture.name} is {height}x{width}, {MASKS}/{mask.name} is {found[0]}x{found[1]}"
        for picture, mask, (height, width) in zip(pictures, masks, sizes, strict=True)
        if (found := image_size(mask)) != (height, width)
    ]
    if wrong:
        raise PipeError(
            f"{folder}: every mask must be of its picture's size (HxW), {len(wrong)} not so: {_listed(wrong)}"
        )


def _listed(items: Sequence[str], most: int = 3) -> str:
    return ", ".join(items[:most]) + (f", and {len(items) - most} more" if len(items) > most else "")
