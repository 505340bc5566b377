"""Layouts of pairs: pictures below one folder, masks below another, and a rule from one name to the other."""

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.layout import Codes, Listing, Sample, Source
from logitpipe.stages.infer.data.tree import MASK_SUFFIXES, Tree, stem, suffix


@dataclass(frozen=True)
class Pair:
    """A folder of pictures and its folder of masks.

    Parameters
    ----------
    images, masks : the folders, as paths from the data set's
    image_end, mask_end : what follows the common part of the two names, before the ending of the file
    """

    images: str
    masks: str
    image_end: str = ""
    mask_end: str = ""


@dataclass(frozen=True)
class Paired:
    """A layout whose masks are found by their pictures' names; see `Layout` for the fields that all layouts have.

    Parameters
    ----------
    pairs : the folders, of which the first that is there is taken
    marks : expression that the name of every picture of such a data set matches; empty: any
    not_beside : end of the names of other masks, beside which this layout is not meant
    other_masks : folder of another layout's masks: only where it is absent too, there may be no folder of masks
    kept : which pictures belong to it, by expression; empty: all
    dropped_names : expression for names that are left out
    dropped_indices : pictures to leave out, counted in the order of the names of all that are kept
    """

    drawing: str
    pairs: tuple[Pair, ...]
    codes: Codes = field(default_factory=Codes)
    sources: tuple[Source, ...] = ()
    general: bool = False
    marks: str = ""
    not_beside: str = ""
    other_masks: str = ""
    kept: str = ""
    dropped_names: str = ""
    dropped_indices: tuple[int, ...] = ()

    def recognises(self, tree: Tree) -> bool:
        """Return whether the folders are there, with the names that are this layout's own."""
        pair = self._pair(tree)
        if pair is None:
            return False
        # Pictures alone may be a data set without ground truth, unless masks lie there for another layout.
        if not tree.has(pair.masks) and (not self.other_masks or tree.has(self.other_masks)):
            return False
        pictures = tree.files(pair.images).pictures
        # All pictures, not any: one name that matches by chance must not decide what the codes mean.
        if self.marks and not (pictures and all(re.search(self.marks, picture) for picture in pictures)):
            return False
        if not (pair.mask_end or self.not_beside):
            return True
        stems = [stem(mask) for mask in tree.files(pair.masks).pictures]
        if self.not_beside and any(name.endswith(self.not_beside) for name in stems):
            return False
        # Any, not all: folders of masks hold coloured copies and instances too.
        return any(name.endswith(pair.mask_end) for name in stems)

    def listing(self, tree: Tree) -> Listing:
        """Pair pictures and masks by the part that their names have in common.

        Raises
        ------
        PipeError
            A folder is not there, or two pictures would share a mask.
        """
        pair = self._pair(tree)
        if pair is None:
            folders = " or ".join(f"{each.images}/" for each in self.pairs)
            raise PipeError(f"{tree.path}: expected pictures in {folders}, there is no such folder")
        files = tree.files(pair.images)
        pictures = {picture: key for picture in files.pictures if (key := _key(picture, pair.image_end))}
        if pair.images == pair.masks:  # masks lie among the pictures, in folders that bear the pictures' names
            inside = pair.mask_end.partition("/")[0] + "/"
            pictures = {picture: key for picture, key in pictures.items() if inside not in picture}
        # Before the masks are looked up: two pictures of one stem would both take the same mask.
        _refuse_shared(tree, pair, pictures)
        masks, strangers = _masks(tree, pair)
        image_root, mask_root = tree.path / pair.images, tree.path / pair.masks
        samples = [
            Sample(picture, image_root / picture, mask_root / masks[key] if key in masks else None)
            for picture, key in self._wanted(pictures)
        ]
        claimed = set(pictures.values())
        unclaimed = [*strangers, *(mask for key, mask in masks.items() if key not in claimed)]
        foreign = [picture for picture in files.pictures if not _key(picture, pair.image_end)]
        foreign += [] if pair.images == pair.masks else files.others
        return Listing(
            samples,
            [f"{pair.images}/{name}" for name in sorted(foreign)],
            [f"{pair.masks}/{name}" for name in unclaimed],
        )

    def _pair(self, tree: Tree) -> Pair | None:
        """Return the folders that are there: such as have masks come first."""
        there = [pair for pair in self.pairs if tree.has(pair.images)]
        return next((pair for pair in there if tree.has(pair.masks)), there[0] if there else None)

    def _wanted(self, pictures: dict[str, str]) -> list[tuple[str, str]]:
        if not (self.kept or self.dropped_names or self.dropped_indices):
            return list(pictures.items())
        # Sorted by the common part of the name: the indices to drop count in this order on every system.
        kept = sorted((item for item in pictures.items() if re.search(self.kept, item[0])), key=lambda item: item[1])
        counted = [item for index, item in enumerate(kept) if index not in self.dropped_indices]
        return [item for item in counted if not (self.dropped_names and re.search(self.dropped_names, item[0]))]


def _masks(tree: Tree, pair: Pair) -> tuple[dict[str, str], list[str]]:
    """Return the masks by the part of their names that pictures share, and those whose names end otherwise."""
    if not tree.has(pair.masks):
        return {}, []
    files, masks, strangers = tree.files(pair.masks), dict[str, str](), []
    for mask in (*files.pictures, *files.others):
        if (ending := suffix(mask)) not in MASK_SUFFIXES:
            continue
        key = _key(mask, pair.mask_end)
        if not key:
            strangers.append(mask)
        # Lossless endings come first in MASK_SUFFIXES: a PNG wins over a JPEG of the same mask.
        elif key not in masks or _rank(ending) < _rank(suffix(masks[key])):
            masks[key] = mask
    return masks, [] if pair.images == pair.masks else strangers


def _rank(ending: str) -> int:
    return MASK_SUFFIXES.index(ending)


def _key(path: str, end: str) -> str:
    """Return the part of a name that picture and mask have in common; empty where the name ends otherwise."""
    name = stem(path)
    return (name[: -len(end)] if name.endswith(end) else "") if end else name


def _refuse_shared(tree: Tree, pair: Pair, pictures: dict[str, str]) -> None:
    """Refuse two pictures whose stems differ only in case or Unicode form: many file systems see one name."""
    folded = sorted((unicodedata.normalize("NFC", key.casefold()), picture) for picture, key in pictures.items())
    for (one, first), (other, second) in pairwise(folded):
        if one == other:
            raise PipeError(
                f"{tree.path / pair.images}: each picture needs a mask of its own, but {first} and {second} "
                "differ only in ending, case or Unicode form",
                "rename-picture",
            )
