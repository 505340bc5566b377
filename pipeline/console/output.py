"""Checks of the output folder, made before the work begins."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.format.keys import METADATA


def prepare_folder(folder: Path, option: str = "out") -> None:
    """Make a folder for results, and see that it can be written; `option` named it.

    Raises
    ------
    PipeError
        The folder is a store, or cannot be written.
    """
    try:
        refuse_in_store(folder, option)
        folder.mkdir(parents=True, exist_ok=True)
        # Permission bits do not tell (a read-only mount, a quota): only a file that is made shows that it can be.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        found = f"the results cannot be written ({error.strerror})"
        raise PipeError(found, option=option, value=folder) from error


def refuse_in_store(folder: Path, option: str = "out") -> None:
    """Refuse a folder that is a store or lies in one, where what is written would be a stray file of it.

    Raises
    ------
    PipeError
        It does.
    """
    # Every store has the array `labels`; other groups of Zarr may hold whatever their owners put there.
    around = (parent / "labels" / METADATA for parent in folder.absolute().parents)
    if any(path.exists() for path in (folder / METADATA, *around)):
        raise PipeError("a store lies there; name another folder for the results", option=option, value=folder)


def refuse_to_replace(paths: Iterable[Path], overwrite: bool, option: str = "out") -> None:
    """Raise an error where a file would be replaced that nobody said to replace; `option` named it.

    Raises
    ------
    PipeError
        One of the paths exists, and nobody asked for it to be replaced.
    """
    # What is there stays until its successor is whole: it is replaced by a rename.
    if overwrite:
        return
    for path in paths:
        if path.exists():
            raise PipeError(f"{path} is there already", "overwrite", named=option)


def publish(path: Path, data: bytes, option: str = "out") -> None:
    """Write a file whole or not at all; PipeError where that fails, with the `option` that named its folder."""
    try:
        Folder(path.parent).publish(path.name, data)
    except OSError as error:
        found = f"{path.name} cannot be written ({error.strerror})"
        raise PipeError(found, option=option, value=path.parent) from error
