"""A store in Python: its images by name, every value checked, as arrays with coordinates."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from logitpipe.api.arguments.methods import OneMethod
from logitpipe.api.arguments.progress import followed
from logitpipe.api.arguments.protocol import as_protocol
from logitpipe.api.maps import planned, scored_maps
from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.places import Place, as_place
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.console.text import byte_size, counted, listed
from logitpipe.stores.names import find_image

if TYPE_CHECKING:
    import numpy as np
    import xarray

    from logitpipe.cache.reading.verify import Damage
    from logitpipe.stages.score.protocols import Protocol

Image = str | int
"""The name of an image, or its place among the names."""


def open(path: str | PathLike[str]) -> "LogitStore":  # noqa: A001 (lp.open, as in zarr.open)
    """Open a store: a folder, the zip of one, or the URL of either.

    Raises
    ------
    PipeError
        There is no store, or its metadata is damaged.

    Examples
    --------
    >>> import logitpipe as lp
    >>> store = lp.open("enet.zarr")
    >>> store.kind, len(store.images)
    ('pixel', 10)
    """
    return LogitStore(open_store(as_place(fspath(path))))


class LogitStore:
    """The logits of one network over one data set, opened for reading; `lp.open` makes it.

    Every value that leaves it was checked against the record of its image. Images are named or counted from 0.

    Parameters
    ----------
    files : what reads the bytes and checks them
    """

    def __init__(self, files: Store) -> None:
        self._store = files

    @property
    def path(self) -> Place:
        """Where it lies: a path, or the text of a URL."""
        return self._store.path

    @property
    def kind(self) -> str:
        """`pixel` (a logit for each class and pixel) or `mask` (queries, each with classes and a mask)."""
        return self._store.schema.kind

    @property
    def network(self) -> str:
        """Name of the network."""
        return self._store.schema.network

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self._store.schema.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the channels of a pixel network, of the K classes of a mask network, in order."""
        return self._store.schema.classes

    @property
    def void_class(self) -> str | None:
        """Name of the channel that stands for no known class; None where there is none."""
        channel = self._store.schema.unknown_class
        return None if channel is None else self.classes[channel]

    @property
    def images(self) -> tuple[str, ...]:
        """Names of all images that the store is for, in order."""
        return self._store.schema.images

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of those that are not in it yet."""
        return tuple(self.images[image] for image in self._store.missing())

    @property
    def attributes(self) -> dict[str, Any]:
        """All that is recorded of network, weights, data set and preprocessing, as JSON has it."""
        return self._store.schema.attributes()

    def logits(self, image: Image) -> "xarray.DataArray":
        """Return the logits of a pixel network at its own resolution: (class, y, x), in the dtype on disk.

        Raises
        ------
        PipeError
            The store is of a mask network, or the image is not in it, or damaged.
        """
        return self._array("logits", image, "pixel", ("class", "y", "x"), {"class": list(self.classes)})

    def mask_logits(self, image: Image, window: int = 0) -> "xarray.DataArray":
        """Return the mask logits of a mask network: (query, y, x), of one of its windows; raises as `logits`."""
        return self._array("mask_logits", image, "mask", ("query", "y", "x"), {}, window)

    def class_logits(self, image: Image, window: int = 0) -> "xarray.DataArray":
        """Return the class logits of a mask network: (query, class), `no object` last; raises as `logits`."""
        names = [*self.classes, "no object"]
        return self._array("class_logits", image, "mask", ("query", "class"), {"class": names}, window)

    def labels(self, image: Image) -> "xarray.DataArray":
        """Return the codes of the mask as its file has them: uint8 (y, x); empty where the picture has no mask."""
        import xarray

        index = self._index(image)
        codes = {"label_codes": getattr(self._store.schema, "label_codes", None)}
        return xarray.DataArray(
            self._store.labels(index), dims=("y", "x"), name="labels", attrs=self._attrs(index, codes)
        )

    def preview(self, image: Image) -> "np.ndarray":
        """Return the picture in small: uint8 (h, w, 3)."""
        return self._store.read("preview", self._index(image))

    def score_map(
        self,
        image: Image,
        method: OneMethod = "msp",
        temperature: float = 1.0,
        protocol: "str | Protocol" = "standard",
        label_codes: str | None = None,
        progress: bool | None = None,
        *,
        map_temperature: float = 1.0,
        mask_temperature: float = 1.0,
        statistics: str | PathLike[str] | None = None,
    ) -> "xarray.DataArray":
        """Return the scores of one image: float64 (y, x), as the method's formula gives them.

        Parameters
        ----------
        image : name or index
        method : name, FILE.py:FUNCTION, or a function
        temperature : for methods that have one
        protocol : name, or what `lp.protocol` gives
        label_codes : what the codes of the mask mean; None: as the store says
        progress : see `lp.score`
        map_temperature, mask_temperature : T_S, of the class map of a mask network, and T_m, of its mask logits
        statistics : what `lp.fit` returned, or its path, for the methods that need it

        Returns
        -------
        scores, higher for what is more anomalous, with the coordinate `label` (y, x): 0 normal, 1 anomaly, 2 neither

        Raises
        ------
        PipeError
            There is no such image or method, the image is damaged, or the protocol skips it.

        Examples
        --------
        >>> scores = lp.open("enet.zarr").score_map("1.png", method="entropy", temperature=0.5)
        >>> scores.where(scores.label == 1).mean()
        """
        import xarray

        chosen = as_protocol(protocol, label_codes)
        others = {"map_temperature": map_temperature, "mask_temperature": mask_temperature}
        index = self._index(image)
        plan = planned(self._store, method, temperature, chosen, statistics=statistics, **others)
        if len(plan.pairs) > 1:
            raise UsageError(f"one method is expected, found {len(plan.pairs)}", option="method")
        (pair,), (found,) = plan.pairs, scored_maps(self._store, plan, index, progress)
        facts = {"method": pair.method, "temperature": pair.temperature, "protocol": chosen.name}
        facts |= {"parameters": pair.parameters or None, "statistics": plan.digest(pair) or None}
        facts |= {name: getattr(pair, name) for name in others}
        facts["formula"] = plan.methods[pair.method].formula
        coordinates = {"label": (("y", "x"), found.labels)}
        return xarray.DataArray(
            found.scores, coordinates, ("y", "x"), name=pair.method, attrs=self._attrs(index, facts)
        )

    def verify(self, progress: bool | None = None) -> "list[Damage]":
        """Read every byte of every image, and return what is damaged: nothing, where all is well.

        Raises
        ------
        PipeError
            The store cannot be read.
        """
        from logitpipe.stores.checking import check_images

        with followed(progress):
            checks = check_images(self._store, self._store.completed())
        return [damage for check in checks for damage in check.damages]

    def __repr__(self) -> str:
        missing = f", {len(self.missing)} missing" if self.missing else ""
        images = f"{counted(len(self.images), 'image')}{missing}"
        return f"<LogitStore {self.path}: {self.network} ({self.kind}) on {self.dataset}, {images}>"

    def _repr_html_(self) -> str:
        from logitpipe.cache.reading.store import stored_bytes
        from logitpipe.report.markup import tag

        size = stored_bytes(self._store)
        facts = {
            "store": str(self.path),
            "network": f"{self.network} ({self.kind})",
            "data set": self.dataset,
            "images": f"{listed(self.images)}" + (f"; {len(self.missing)} missing" if self.missing else ""),
            "classes": listed(self.classes, 19),
            **({} if size is None else {"size": byte_size(size)}),
        }
        lines = [tag("tr", tag("th", name, scope="row"), tag("td", text)) for name, text in facts.items()]
        return tag("table", tag("tbody", *lines))

    def _index(self, image: Image) -> int:
        if isinstance(image, str):
            return find_image(self._store, image)
        if -len(self.images) <= image < len(self.images):
            return range(len(self.images))[image]
        raise UsageError(
            f"there is no image {image!r} in {self.path}; there are {listed(self.images)}", option="image"
        )

    def _array(
        self,
        name: str,
        image: Image,
        kind: str,
        dims: tuple[str, ...],
        coordinates: Mapping[str, list[str]],
        window: int = 0,
    ) -> "xarray.DataArray":
        import xarray

        if self.kind != kind:
            there = "logits" if self.kind == "pixel" else "mask_logits and class_logits"
            raise UsageError(f"{self.path}: a {self.kind} network has no {name}; it has {there}")
        index = self._index(image)
        windows = len(self._store.image(index).windows)
        if not 0 <= window < windows:
            raise UsageError(f"{self.images[index]!r} has {counted(windows, 'window')}, and no window {window}")
        values = self._store.read(name, index, window=window)
        return xarray.DataArray(values, coordinates, dims, name=name, attrs=self._attrs(index, {}))

    def _attrs(self, index: int, more: Mapping[str, object]) -> dict[str, object]:
        own = {"store": str(self.path), "network": self.network, "dataset": self.dataset, "image": self.images[index]}
        return {name: value for name, value in (own | dict(more)).items() if value is not None}
