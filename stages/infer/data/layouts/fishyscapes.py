"""Fishyscapes (Blum et al., IJCV 2021): masks with numbers before their names, pictures of other data sets."""

import os
import re
from collections.abc import Iterator, Mapping

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.layout import Codes, Listing, Sample, Source
from logitpipe.stages.infer.data.tree import Tree, stem

_MASK = re.compile(r"(?:^|/)(\d+(?:_[^/]+)?)_labels\.png$")
_MASK_FOLDER = re.compile(r"(fishyscapes_lostandfound|fs_val_v\d+|fs_static\w*|labels\w*|masks)$")
_OVERLAY = "_rgb.npz"
_PICTURE_END = re.compile(r"_(rgb|leftImg8bit)$")
_HOST = "http://robotics.ethz.ch/~asl-datasets/Fishyscapes/"


class Fishyscapes:
    """Masks `0000_NAME_labels.png`; each one's picture is called `0000_NAME_rgb` or as its source calls it."""

    drawing = """\
Fishyscapes/
  fishyscapes_lostandfound/0000_04_Maurener_Weg_8_000000_000030_labels.png
  laf_images/04_Maurener_Weg_8_000000_000030_leftImg8bit.png       or leftImg8bit/ of Lost and Found
or, of Static, all in one folder or in two,
  0000_NAME_labels.png    or 0000_labels.png
  0000_NAME_rgb.png       or 0000_rgb.png, 0000.png: overlay and Cityscapes' picture, already added"""
    sources = (
        Source(
            "masks of FS Lost & Found; the pictures are those of Lost and Found",
            f"{_HOST}fishyscapes_lostandfound.zip",
            "CC BY 4.0",
            checksum="md5 0d3bf7c0ec38bd50b84f3d8aaa4b2e26",
        ),
        Source("FS Static, version 1", f"{_HOST}fs_val_v1.zip", checksum="md5 79fb134419c83f2f20b575955efa9d20"),
        Source("FS Static, version 2", f"{_HOST}fs_val_v2.zip", checksum="md5 5088c63497927200d935c41d54b1cb23"),
        Source("FS Static, version 3", f"{_HOST}fs_val_v3.zip", checksum="md5 0dc11db9e57088c5bb18de4c55a53f3a"),
    )
    codes = Codes()
    general = False

    def recognises(self, tree: Tree) -> bool:
        """Return whether there are such masks, here or where the archives put them, and anything like pictures."""
        # The first mask is enough; the folder may hold thousands.
        if not (tree.path.is_dir() and any(True for _ in _masks(tree))):
            return False
        # Overlays are no pictures yet, but whoever has them shall be told what to do, and not that nothing fits.
        return bool(_pictures(tree)) or any(name.endswith(_OVERLAY) for name in tree.files().others)

    def listing(self, tree: Tree) -> Listing:
        """Return one sample for each mask.

        Raises
        ------
        PipeError
            A mask's picture is not there.
        """
        pictures = {key: path for path in _pictures(tree) for key in [_PICTURE_END.sub("", stem(_file(path)))]}
        samples, lacking = [], []
        for mask, name in _masks(tree):
            picture = _picture_of(name, pictures)
            if picture is None:
                lacking.append(mask)
            else:
                samples.append(Sample(_below_folder(picture), tree.path / picture, tree.path / mask))
        if lacking:
            raise PipeError(
                f"{tree.path}: every mask needs its picture, {len(lacking)} lack theirs: {', '.join(lacking[:3])}",
                "fishyscapes-pictures",
            )
        return Listing(samples)


def _masks(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield the paths of the masks with the names that they share with their pictures."""
    for folder in ("", *filter(_MASK_FOLDER.match, tree.names())):
        for path in _directly_in(tree, folder):
            if match := _MASK.search(path):
                yield path, match[1]


def _directly_in(tree: Tree, folder: str) -> list[str]:
    with os.scandir(tree.path / folder) as entries:
        names = sorted(entry.name for entry in entries if _MASK.search(entry.name) and entry.is_file())
    return [f"{folder}/{name}" if folder else name for name in names]


def _pictures(tree: Tree) -> list[str]:
    return [path for path in tree.files().pictures if not _MASK.search(path)]


def _picture_of(name: str, pictures: Mapping[str, str]) -> str | None:
    """Return the picture of a mask: of its whole name, or of the name that its source gave it."""
    # The whole name first: in FS Static pictures have the number too.
    return pictures.get(name) or pictures.get(re.sub(r"^\d+_", "", name))


def _below_folder(path: str) -> str:
    """Return a picture's name: its path below the folder of pictures, if it lies in one."""
    return path.partition("/")[2] or path


def _file(path: str) -> str:
    return path.rpartition("/")[2]
