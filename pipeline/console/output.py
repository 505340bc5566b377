"""Checks of the output folder, made before the work begins."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.keys import METADATA


def prepare_folder(folder: Path) -> None:
    """Make a folder for results, and see that it can be written.

    Raises
    ------
    PipeError
        The folder is a store, or cannot be written.
    """
    if (folder / METADATA).exists():
        raise PipeError("a store lies there; name another folder for the results", option="out", value=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permission bits do not tell (a read-only mount, a quota): only a file that is made shows that it can be.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        found = f"the results cannot be written ({error.strerror})"
        raise PipeError(found, option="out", value=folder) from error


def refuse_to_replace(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise an error where a file would be replaced that nobody said to replace.

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
            raise PipeError(f"{path} is there already", "overwrite")
