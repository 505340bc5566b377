"""A data set's folder as names alone: each folder in it is listed once, and no file is opened."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logitpipe.cache.errors import PipeError

_PICTURE_ENDINGS = ".png .jpg .jpeg .jpe .jfif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm"
PICTURE_SUFFIXES = frozenset(_PICTURE_ENDINGS.split())
MASK_SUFFIXES = (".png", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".jpg", ".jpeg")
"""Of masks, in any case; where a picture has several masks the first of these endings is taken."""

SYSTEM_FILES = ("thumbs.db", "desktop.ini")
SYSTEM_FOLDERS = ("@eadir", "__macosx", "$recycle.bin")


@dataclass
class Files:
    """The files below a folder, as paths from it with `/` between folders.

    Parameters
    ----------
    pictures : with the ending of a picture
    others : with any other ending, and folders of the system
    """

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


class Tree:
    """A folder whose files are listed once, however many layouts look at them.

    Parameters
    ----------
    path : of the folder, or of a single file that describes a data set
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listed: dict[str, Files] = {}

    def has(self, folder: str) -> bool:
        """Return whether there is such a folder."""
        return (self.path / folder).is_dir()

    def files(self, folder: str = "") -> Files:
        """Return all files below a folder, `folder` itself given as a path from this one.

        Raises
        ------
        PipeError
            Something with the name of a picture is no file, or a link leads back to a folder above it.
        """
        if folder not in self._listed:
            self._listed[folder] = found = Files()
            _walk(self.path / folder, "", found, _ancestors(self.path / folder))
        return self._listed[folder]

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the folders directly in a folder, but for hidden ones."""
        with os.scandir(self.path / folder) as entries:
            return sorted(entry.name for entry in entries if not hidden(entry.name) and _is(entry.is_dir))


def hidden(name: str) -> bool:
    """Return whether a file is the system's own, and is passed over without a word."""
    return name[0] == "." or name.lower() in SYSTEM_FILES


def suffix(path: str) -> str:
    """Return the ending of a path's last name in small letters, with its dot; empty where it has none.

    For 200,000 names this takes a tenth of a second; `os.path.splitext`, and a Path for each, take a second.
    """
    dot = path.rfind(".")
    return path[dot:].lower() if dot > path.rfind("/") + 1 else ""


def stem(path: str) -> str:
    """Return a path without its ending."""
    dot = path.rfind(".")
    return path[:dot] if dot > path.rfind("/") + 1 else path


def _ancestors(folder: Path) -> tuple[tuple[int, int], ...]:
    status = folder.stat()
    return ((status.st_dev, status.st_ino),)


def _walk(folder: Path, prefix: str, found: Files, above: tuple[tuple[int, int], ...]) -> None:
    """Add what lies below a folder; the kind of an entry comes with the listing, so no file is asked for it."""
    for entry in _entries(folder):
        path = prefix + entry.name
        if hidden(entry.name):
            continue
        is_picture = suffix(entry.name) in PICTURE_SUFFIXES
        if _is(entry.is_file):
            (found.pictures if is_picture else found.others).append(path)
        elif is_picture or not _is(entry.is_dir):
            raise PipeError(
                f"{folder / entry.name}: expected nothing but pictures in {folder}, this is no file", "take-out"
            )
        elif entry.name.lower() in SYSTEM_FOLDERS:
            found.others.append(path)
        else:
            status = entry.stat()
            # By device and inode: a link that leads back would otherwise be followed for ever.
            if (identity := (status.st_dev, status.st_ino)) in above:
                raise PipeError(f"{folder / entry.name}: this link leads back to a folder above it", "take-out")
            _walk(folder / entry.name, f"{path}/", found, (*above, identity))


def _is(kind: Callable[[], bool]) -> bool:
    """Return what an entry of a folder says of its kind; a link that leads to itself is nothing."""
    try:
        return kind()
    except OSError:
        return False


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        # In one order on every file system: indices of images, and so shards, depend on it.
        yield from sorted(entries, key=lambda entry: entry.name)
