"""Create a store, remove one, and sweep what an interrupted creation or removal left.

A store that is built, and one that is removed, lies beside its place, under a name of its own and locked by whoever
is at it. One that nobody has locked was left by a crash.
"""

import contextlib
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import PARTIAL, Folder, beside, make_folder, make_folders, partial_stem, sync_folder
from logitpipe.cache.files.steps import step
from logitpipe.cache.format import Schema, records
from logitpipe.cache.format.chunks import CHUNKS
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.schema import FORMAT, metadata_bytes
from logitpipe.cache.writing.lock import EVERYTHING, PATIENCE, BusyError, Lock


def create_store(path: Path, schema: Schema, images: Collection[int], overwrite: bool) -> Lock | None:
    """Build a store without images beside its place and rename it there, so that no one ever sees half of it.

    Parameters
    ----------
    path : where it goes
    schema : what it is
    images : what to lock of it from the beginning
    overwrite : remove the store that is there

    Returns
    -------
    The lock on its images; None where another process of the same run was first, and its store serves
    """
    place = path.resolve()
    make_folders(place.parent)
    built = _beside_with_lock(place, images)
    try:
        _build(Folder(built.store), schema)
        # The new store is complete before the old one is renamed away: only the time between two renames has
        # neither.
        old = _retired(path) if overwrite else None
        try:
            taken = _take_place(built, place)
        finally:
            if old:
                _discard(old)
    except BaseException:
        _discard(built)
        raise
    if not taken:
        _discard(built)
    # On Windows `move` had to release the lock before the rename; then the caller locks the store anew.
    return built if taken and built.guards(place) else None


def remove_store(path: Path) -> None:
    """Remove a store, damaged or not, and nothing else.

    Raises
    ------
    PipeError
        Someone is writing it, or something else lies at `path`; an empty folder may, and stays.
    """
    if old := _retired(path):
        _discard(old)


def require_removable(path: Path) -> bool:
    """Return whether there is a store to remove; refuse a place where anything else lies."""
    place = path.resolve()
    metadata = Folder(place).read(METADATA)
    if metadata is None or place == Path.cwd():
        require_free(path)
        return False
    # Looked for in the raw bytes, so that a store with damaged metadata can still be removed.
    if FORMAT.encode() not in metadata:
        raise PipeError(f"{path}: the folder was expected to be a logit store and is none, so it was not removed")
    return True


def require_free(path: Path) -> None:
    """Refuse a place where no store can be made; the working folder cannot be replaced under its processes.

    Whoever asks has seen no store there. One that lies there by now has come at once and whole, from another process.
    """
    # Asked in this order because another process may place a store meanwhile: then the last test lets it pass.
    taken = path.exists() and not (path.is_dir() and not any(path.iterdir())) and not (path / METADATA).exists()
    if taken or path.resolve() == Path.cwd():
        raise PipeError(
            f"{path}: a store can only be made where nothing or an empty folder lies, and not in the working folder "
            "itself",
            "other-out",
        )


def lock_all(path: Path, aim: str) -> Lock:
    """Lock a whole store, for changes to more than its images.

    Parameters
    ----------
    path : the store's folder
    aim : what is to be done with it, for the refusal: "removed", "mended"

    Raises
    ------
    PipeError
        Someone is writing it.
    """
    try:
        return Lock(path.resolve(), EVERYTHING, PATIENCE)
    except BusyError as error:
        raise PipeError(
            f"{path}: {error.owner} is writing this store, so it was not {aim}", "wait-or-stop"
        ) from error


def sweep_beside(path: Path) -> None:
    """Remove what processes that have died left beside the place of a store, and nothing of a living one."""
    place = path.resolve()
    ours = re.compile(re.escape(partial_stem(place.name)) + r"\.[0-9a-f]{32}" + re.escape(PARTIAL))
    left: list[Path] = []
    with contextlib.suppress(OSError):  # who may not list the folder may still write the store
        left = [entry for entry in place.parent.iterdir() if ours.fullmatch(entry.name)]
    for folder in left:
        with contextlib.suppress(BusyError, OSError):
            lock = Lock(folder, EVERYTHING, patience=0)
            # Where files cannot be locked, nothing tells a living builder from a dead one: leave it.
            if lock.effective:
                step("sweep.folder", folder)
                shutil.rmtree(folder, ignore_errors=True)
            lock.release()


def _beside_with_lock(place: Path, images: Collection[int]) -> Lock:
    """Make a folder and lock it: another process may have swept it away before that, or be about to."""
    while True:
        folder = beside(place)
        make_folder(folder)
        with contextlib.suppress(BusyError, FileNotFoundError):
            return Lock(folder, images, patience=0)


def _build(files: Folder, schema: Schema) -> None:
    for name, spec in schema.arrays().items():
        files.publish(f"{name}/{METADATA}", metadata_bytes(spec.metadata()))
        if spec.separator == "/":
            # Version 1 alone has a folder of chunks for each array; in version 2 the dots in the keys make plain
            # files.
            make_folders(files.root / name / CHUNKS)
    make_folders(files.root / records.FOLDER)
    # The group's metadata comes last: a folder without it is no store.
    described = {**schema.documents(), METADATA: metadata_bytes(schema.metadata())}
    files.publish_all((key, [data]) for key, data in described.items())


def _take_place(built: Lock, place: Path) -> bool:
    """Rename a finished store to its place; return whether no other was there first."""
    step("store.place", place)
    with contextlib.suppress(OSError):
        place.rmdir()  # an empty folder may lie there, and not every system renames onto one
    try:
        built.move(place)
    except OSError:
        # The rename failed and there is a store: another process was first. Without one, the error is a real one.
        if not (place / METADATA).exists():
            raise
        return False
    sync_folder(place.parent)
    return True


def _retired(path: Path) -> Lock | None:
    """Lock the store at a place and rename it away, where there is one."""
    if not require_removable(path):
        return None
    lock = lock_all(path, "removed")
    try:
        step("store.retire", path)
        lock.move(beside(lock.store))
    except BaseException:
        lock.release()
        raise
    return lock


def _discard(lock: Lock) -> None:
    """Remove a folder that lies beside, as far as that is possible: the next run tries again."""
    try:
        step("store.discard", lock.store)
        shutil.rmtree(lock.store, ignore_errors=True)
    finally:
        lock.release()
