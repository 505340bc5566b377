"""A store as an xarray data set, for whoever wants to compute with it."""

from pathlib import Path
from typing import TYPE_CHECKING

from cache.store import open_store

if TYPE_CHECKING:
    import xarray


def open_dataset(path: Path | str) -> "xarray.Dataset":
    """Open a store lazily, with the image names as the coordinate `image` and class names where they fit.

    The arrays come through zarr-python: chunk checksums are verified, completion records are not. Use
    `open_store` where a missing image must be an error; here it reads as NaN.

    Raises
    ------
    PipeError
        There is no logit store at `path`, or it is of a newer format.
    """
    import xarray  # slow to load, and the commands do without it

    schema = open_store(path).schema
    dataset = xarray.open_zarr(path)
    names: dict[str, list[str]] = {"image": list(schema.images)}
    if schema.kind == "pixel":
        names["class"] = list(schema.classes)
    return dataset.assign_coords(names)
