"""Data sets on disk: found in whatever layout they lie, ordered, and checked by the headers of their files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import by
from logitpipe.stages.infer.data.imagefile import Header, quiet_about_bombs, read_header
from logitpipe.stages.infer.data.layout import STANDARD_CODES, Listing, Sample
from logitpipe.stages.infer.data.layouts import find_layout, fitting_layouts, layout_named
from logitpipe.stages.infer.data.masks import MaskRules, whole_factor
from logitpipe.stages.infer.data.selection import EVERYTHING, Selection
from logitpipe.stages.infer.data.tree import Tree, hidden, stem

SPELLINGS = {"RoadObstacle21": "RoadObsticle21"}
"""Other spellings of a name; the official archive misspells, and the name in a store is the archive's."""

HEADER_THREADS = 8
"""Threads that read headers: they wait for a disk or a network drive most of the time."""

FILES_PER_TASK = 256
"""Files that a thread takes at a time: with one at a time it would spend its time on taking."""

__all__ = ["DataSet", "Sample", "canonical", "dataset_names", "natural_key", "read_dataset"]


@dataclass(frozen=True)
class DataSet:
    """Pictures in order, each known to have no mask, or one of its own size.

    Parameters
    ----------
    name : canonical name
    samples : ordered by name, numbers by value
    label_shape : largest height and largest width among the masks, (0, 0) where there are none
    layout : name of the layout in which the files lie
    label_codes : what the masks' codes mean, in the form of --label-codes
    closed_set_codes : code of each known class by its name, empty where masks name no classes
    selection : which of the data set's pictures these are, in words; None for all
    limit : how many were taken, where that cut pictures off
    mask_rules : how mask files become codes
    remarks : what a user should know about the files, a sentence each
    picture_sizes : every size, (height, width), that a picture has
    """

    name: str
    samples: tuple[Sample, ...]
    label_shape: tuple[int, int]
    layout: str = "course"
    label_codes: str = STANDARD_CODES
    closed_set_codes: Mapping[str, int] = field(default_factory=dict)
    selection: str | None = None
    limit: int | None = None
    mask_rules: MaskRules = field(default_factory=MaskRules)
    remarks: tuple[str, ...] = ()
    picture_sizes: frozenset[tuple[int, int]] = frozenset()

    @property
    def unlabelled(self) -> int:
        """How many pictures have no mask."""
        return sum(sample.mask is None for sample in self.samples)


def dataset_names(root: Path, layout: str | None = None) -> list[str]:
    """Return the canonical names of all data sets directly under `root`, or of `root` if it is one itself.

    Parameters
    ----------
    root : folder, or a CSV file that is a data set
    layout : name of the one layout to look for

    Raises
    ------
    PipeError
        There is no folder `root`, or no data set in it.
    """
    names = [name for name, place in _places(root).items() if _fits(place, layout)]
    if not names:
        found = _content(root)
        raise PipeError(f"{root}: expected data sets in it, each of a known layout, found {found}", "list-layouts")
    return sorted(names)


def read_dataset(
    root: Path,
    name: str,
    limit: int | None = None,
    layout: str | None = None,
    selection: Selection = EVERYTHING,
    mask_resize: bool = False,
) -> DataSet:
    """Find a data set and check, by the headers alone, that each mask is of its picture's size.

    Parameters
    ----------
    root : folder that holds the data set's folder, or that folder itself
    name : of the data set; the name of any folder that has a layout will do
    limit : take only so many pictures, the first ones
    layout : name of the layout, where it is not to be found out
    selection : which pictures to take; its own limit counts where `limit` is None
    mask_resize : accept masks whose size differs from their picture's by a whole factor

    Raises
    ------
    PipeError
        The data set is not there or is empty, or its layout is not clear; a file is no image; two pictures share a
        mask; a picture's mask lies there under a name that the layout does not have; a mask is of another size.
    """
    place = _place(root, name)
    tree = Tree(place)
    layout = layout or find_layout(tree)
    chosen = layout_named(layout)
    listing = chosen.listing(tree)
    if not listing.samples:
        raise PipeError(f"{place}: expected pictures in the layout {layout}, there are none")
    ordered = sorted(listing.samples, key=lambda sample: natural_key(sample.name))
    # Chosen before headers are read: what a run does not take need not be sound.
    wanted = selection.of(ordered, place)
    # Before the limit cuts off: a trial of two pictures shall find what the whole run would.
    _refuse_near_misses(place, wanted, listing, layout)
    limit = limit if limit is not None else selection.limit
    samples = wanted[:limit]
    sizes, labelled, turned = _checked(place, samples, mask_resize)
    heights, widths = zip(*labelled, strict=True) if labelled else ((0,), (0,))
    return DataSet(
        canonical(name),
        tuple(samples),
        (max(heights), max(widths)),
        layout,
        chosen.codes.labels,
        chosen.codes.closed_set,
        selection.words(),
        limit if len(samples) < len(wanted) else None,
        MaskRules(chosen.codes.labels, chosen.codes.palette, mask_resize),
        tuple(_remarks(samples, listing, turned)),
        frozenset(sizes),
    )


def canonical(name: str) -> str:
    """Return the one spelling under which a data set is recorded."""
    return SPELLINGS.get(name, name)


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key that orders names by text and, within them, numbers by value: 0, 1, 2, 10."""
    parts = re.split(r"(\d+)", name)
    return tuple(int(part) if odd % 2 else part for odd, part in enumerate(parts)), name


def _places(root: Path) -> dict[str, Path]:
    """Map canonical names to what may be a data set: folders and CSV files in `root`, and `root` itself."""
    if not root.exists():
        raise PipeError("expected a folder, there is none", option="data_root", value=root)
    inside = sorted(root.iterdir()) if root.is_dir() else []
    candidates = [place for place in inside if not hidden(place.name) and (place.is_dir() or _is_table(place))]
    # The folder itself last: it wins over a folder of its own name that lies in it.
    return {_name_of(place): place for place in (*candidates, root.absolute())}


def _name_of(place: Path) -> str:
    return canonical(place.stem if _is_table(place) else place.name)


def _is_table(place: Path) -> bool:
    return place.suffix.lower() == ".csv" and place.is_file()


def _fits(place: Path, layout: str | None) -> bool:
    tree = Tree(place)
    return layout_named(layout).recognises(tree) if layout else bool(fitting_layouts(tree))


def _place(root: Path, name: str) -> Path:
    place = _places(root).get(canonical(name))
    if place is None:
        raise PipeError(
            f"expected the folder {root / name}; {root} holds {_content(root)}", option="dataset", value=name
        )
    return place


def _content(root: Path) -> str:
    names = sorted(entry.name for entry in root.iterdir() if not hidden(entry.name)) if root.is_dir() else []
    return _listed(names) if names else "nothing"


def _refuse_near_misses(place: Path, samples: Sequence[Sample], listing: Listing, layout: str) -> None:
    """A picture whose mask bears another name than the layout says would pass for one without a mask."""
    lacking = {_file_stem(sample.name): sample.name for sample in samples if sample.mask is None}
    # Nearly always: then no name is compared with any other.
    if not lacking or not listing.unclaimed:
        return
    near = [(lacking[key], mask) for mask in listing.unclaimed if (key := _near(mask, lacking))]
    if near:
        words = [f"{picture} has none, and {mask} lies there" for picture, mask in near]
        raise PipeError(
            f"{place}: masks bear other names than the layout {layout} has, {len(near)} of them: {_listed(words)}",
            "near-miss",
        )


def _near(mask: str, lacking: Mapping[str, str]) -> str | None:
    """Return the stem of the picture with which a mask's name begins, None where there is none."""
    name = _file_stem(mask)
    # Cut where a word ends, the longest first: `a10_mask` begins with `a10`, and not with `a1`.
    beginnings = (name[:end] for end in range(len(name), 0, -1) if end == len(name) or not name[end].isalnum())
    return next((key for key in beginnings if key in lacking), None)


def _file_stem(path: str) -> str:
    return stem(path.rpartition("/")[2])


def _checked(
    place: Path, samples: Sequence[Sample], mask_resize: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]], dict[str, int]]:
    """Read every header once; return the sizes of pictures, those of masks, and the files that EXIF calls turned."""
    pictures = _headers([sample.image for sample in samples])
    labelled = [(sample, header) for sample, header in zip(samples, pictures, strict=True) if sample.mask]
    masks = _headers([sample.mask for sample, _ in labelled if sample.mask])
    odd = [
        (f"{sample.name} is {by(header.size)}, {_relative(sample.mask, place)} is {by(mask.size)}", header, mask)
        for (sample, header), mask in zip(labelled, masks, strict=True)
        if mask.size != header.size
    ]
    # By whole factors alone: any other resampling of codes would move boundaries by parts of a pixel.
    wrong = [words for words, header, mask in odd if not (mask_resize and whole_factor(mask.size, header.size))]
    if wrong:
        by_factor = all(whole_factor(mask.size, header.size) for _, header, mask in odd)
        raise PipeError(
            f"{place}: every mask must be of its picture's size (HxW), {len(wrong)} not so: {_listed(wrong)}",
            "mask-resize" if by_factor else None,
        )
    turned = {sample.name: header.orientation for sample, header in zip(samples, pictures, strict=True)}
    turned |= {str(sample.mask): header.orientation for (sample, _), header in zip(labelled, masks, strict=True)}
    turned = {name: orientation for name, orientation in turned.items() if orientation != 1}
    return [header.size for header in pictures], [header.size for _, header in labelled], turned


def _headers(paths: Sequence[Path]) -> list[Header]:
    """Read headers by several threads, which a slow disk needs; each takes many files, so that they seldom meet."""
    remaining = iter(paths)
    tasks = iter(lambda: list(islice(remaining, FILES_PER_TASK)), [])
    with quiet_about_bombs(), ThreadPoolExecutor(HEADER_THREADS) as pool:
        return [header for part in pool.map(_read_headers, tasks) for header in part]


def _read_headers(paths: Iterable[Path]) -> list[Header]:
    return [read_header(path) for path in paths]


def _remarks(samples: Sequence[Sample], listing: Listing, turned: Mapping[str, int]) -> list[str]:
    remarks = []
    if listing.foreign:
        count = len(listing.foreign)
        remarks.append(f"passed over, as they are no pictures: {count} files, {_listed(listing.foreign)}")
    if lacking := [sample.name for sample in samples if sample.mask is None]:
        remarks.append(f"{len(lacking)} of {len(samples)} pictures have no mask: {_listed(lacking)}")
    if turned:
        words = [f"{name} has {tag}" for name, tag in turned.items()]
        remarks.append(
            f"an EXIF orientation other than 1 is not applied, neither to picture nor mask: {_listed(words)}"
        )
    return remarks


def _relative(path: Path | None, place: Path) -> str:
    return path.relative_to(place).as_posix() if path and path.is_relative_to(place) else str(path)


def _listed(items: Sequence[str], most: int = 3) -> str:
    return ", ".join(items[:most]) + (f", and {len(items) - most} more" if len(items) > most else "")
