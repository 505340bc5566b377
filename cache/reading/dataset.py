"""A store as an xarray data set, for whoever wants to compute with it."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.archive import Archive
from logitpipe.cache.files.places import Files, Place
from logitpipe.cache.reading.store import open_store

if TYPE_CHECKING:
    import xarray
    from zarr.abc.store import Store as ZarrStore

    from logitpipe.cache.files.remote import Remote


def open_dataset(path: Place) -> "xarray.Dataset":
    """Open a store lazily, with the image names as the coordinate `image` and class names where they fit.

    The arrays come through zarr-python: chunk checksums are verified, completion records are not. Use
    `open_store` where a missing image must be an error; here it reads as NaN.

    Parameters
    ----------
    path : a folder, the zip file of a store, or the URL of a folder

    Raises
    ------
    PipeError
        There is no logit store at `path`, or it is of a newer format.
    """
    import xarray  # slow to load, and the commands do without it

    store = open_store(path)
    schema = store.schema
    dataset = xarray.open_zarr(_zarr_store(store.files))
    names: dict[str, list[str]] = {"image": list(schema.images)}
    if schema.kind == "pixel":
        names["class"] = list(schema.classes)
    return dataset.assign_coords(names)


def _zarr_store(files: Files) -> "ZarrStore":
    """Return what zarr-python reads the same files with."""
    from zarr.storage import LocalStore, ObjectStore, ZipStore

    if isinstance(files.root, Path):
        return (
            ZipStore(files.root, mode="r") if isinstance(files, Archive) else LocalStore(files.root, read_only=True)
        )
    if isinstance(files, Archive):
        raise PipeError(f"{files.root}: as a data set, a zip is opened from a path only", "download")
    return ObjectStore(cast("Remote", files).objects, read_only=True)
