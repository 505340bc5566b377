"""A store of logits that come from elsewhere than `pipe infer`: from one's own code, another framework, a file."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from logitpipe.api.stores import Image, LogitStore
from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.opening import open_files
from logitpipe.cache.files.places import as_place
from logitpipe.cache.format import version2
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.schema import Kind, Precision
from logitpipe.cache.reading.store import open_store
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.console.text import listed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Size = tuple[int, int]
"""Height and width."""

CODES = "normal=0,anomaly=1-2,void=255"


def create(
    path: str | PathLike[str],
    *,
    kind: Kind,
    classes: Sequence[str],
    images: Sequence[str],
    dataset: str,
    network: str,
    void_class: str | None = None,
    logits_size: Size | None = None,
    label_size: Size | None = None,
    label_codes: str = CODES,
    class_codes: Mapping[str, int] | None = None,
    precision: Precision = "float16",
    overwrite: bool = False,
) -> "NewStore":
    """Begin a store of your own logits, or go on with one that the same call began.

    Parameters
    ----------
    path : where it goes: a path, or s3://BUCKET/...
    kind : `pixel` or `mask`
    classes : names of the channels in order, void among them; of a mask network, of its K classes
    images : names of all images, in order, whether or not they are added at once
    dataset, network : their names; docs/methods.md has those of data sets that a protocol treats in a special way
    void_class : name of the channel that stands for no known class
    logits_size, label_size : the largest height and width of logits and of masks; None: those of the first image that
        is added, beyond which no other may go
    label_codes : what the codes of the masks mean
    class_codes : code of each class in the masks, by name, for closed-set figures
    precision : of the logits on disk
    overwrite : replace the store that is there, once the first image is added

    Raises
    ------
    PipeError
        There is something else at `path`, or the facts contradict each other.

    Examples
    --------
    >>> import numpy as np
    >>> logits, labels = np.random.rand(2, 32, 64), np.zeros((128, 256), np.uint8)
    >>> with lp.create(
    ...     "mine.zarr", kind="pixel", classes=["road", "car"], images=["1.png"], dataset="Mine", network="mine"
    ... ) as store:
    ...     store.add("1.png", logits, labels)
    """
    if void_class is not None and void_class not in classes:
        raise UsageError(f"{void_class!r} is none of the classes {', '.join(classes)}", option="void_class")
    facts = {
        "kind": kind,
        "network": network,
        # Nothing is known of how the logits came about, and nothing is made up: no weights, no preprocessing.
        "facts": {},
        "weights_sha256": None,
        "dataset": dataset,
        "layout": "none",
        "label_codes": label_codes,
        "closed_set_codes": dict(class_codes) if class_codes else None,
        "selection": None,
        "limit": None,
        "classes": tuple(classes),
        "void_class": None if void_class is None else list(classes).index(void_class),
        "outlier_class": None,
        "sigmoid_at": "masks" if kind == "mask" else None,
        "preprocessing": {},
        "precision": precision,
        "windows": 1,
        "images": tuple(images),
        "software": {"logitpipe": version("logitpipe"), "python": platform.python_version(), "numpy": np.__version__},
    }
    return NewStore(path, facts, logits_size, label_size, overwrite)


class NewStore:
    """A store that images are added to; `lp.create` makes it, and it is a context manager.

    Each image is in the store, whole and durable, when `add` returns. Nothing is lost where a later one fails.

    Parameters
    ----------
    path : where it goes
    facts : of the schema, but for the sizes
    logits_size, label_size : the largest; None: of the first image
    overwrite : replace what store there is
    """

    def __init__(
        self,
        path: str | PathLike[str],
        facts: Mapping[str, Any],
        logits_size: Size | None,
        label_size: Size | None,
        overwrite: bool,
    ) -> None:
        self._place, self._facts, self._overwrite = as_place(fspath(path)), dict(facts), overwrite
        self._logits_size, self._label_size = logits_size, label_size
        self._writer: StoreWriter | None = None
        if self._facts["kind"] not in ("pixel", "mask"):
            raise UsageError(f"pixel or mask is expected, found {self._facts['kind']!r}", option="kind")
        # A store that is gone on with says its sizes itself.
        if not overwrite and open_files(self._place).read(METADATA) is not None:
            there = open_store(self._place).schema
            self._logits_size, self._label_size = there.logits_shape[1:], there.label_shape
            self._lay_out(there.logits_shape)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of all images, in order."""
        return self._facts["images"]

    def add(
        self,
        image: Image,
        logits: "ArrayLike | None" = None,
        labels: "ArrayLike | None" = None,
        *,
        mask_logits: "ArrayLike | None" = None,
        class_logits: "ArrayLike | None" = None,
        picture: "ArrayLike | None" = None,
    ) -> None:
        """Add an image; one that is in the store already is replaced.

        Parameters
        ----------
        image : its name, or its place among the names
        logits : of a pixel network, (class, h, w), at any resolution
        mask_logits, class_logits : of a mask network: (query, h, w) and (query, K + 1), the last class `no object`
        labels : uint8 (H, W), codes of the mask at its own size; None for a picture without a mask
        picture : uint8 (H, W, 3), for what is drawn

        Raises
        ------
        PipeError
            An array has another shape than those before it or than the classes say, or holds what is not finite.

        Examples
        --------
        >>> store.add("1.png", logits, labels)
        >>> store.add("1.png", mask_logits=masks, class_logits=classes, labels=labels)
        """
        index = self._index(image)
        values = self._logits(image, logits, mask_logits, class_logits)
        values["labels"] = np.zeros((0, 0), np.uint8) if labels is None else _codes(labels, image)
        values["preview"] = _preview(picture, image)
        writer = self._open(values)
        sizes = {name: (int(array.shape[-2]), int(array.shape[-1])) for name, array in values.items()}
        own, masked = sizes.get("logits") or sizes["mask_logits"], sizes["labels"]
        shown = None if picture is None else np.shape(picture)[:2]
        height, width = shown or (masked if any(masked) else own)
        preview = values["preview"].shape[:2]
        # As if the network had seen the picture squashed to the size of its logits: what is known is where they lie.
        geometry = Geometry.squashed((height, width), own, own, masked, (preview[0], preview[1]))
        try:
            writer.commit(index, values, {}, geometry)
        except ValueError as error:
            raise UsageError(
                f"{self.images[index]!r} does not fit the store: {error}; `create` takes the sizes of the largest"
            ) from error

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the images that were not added yet, by this call or one before it."""
        there = set(self._writer.completed()) if self._writer else set()
        return tuple(name for index, name in enumerate(self.images) if index not in there)

    def open(self) -> LogitStore:
        """Return the store opened for reading; PipeError before the first image was added."""
        return LogitStore(open_store(self._place))

    def __enter__(self) -> Self:
        """Return the store itself; nothing has to be closed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave what was added as it is."""

    def _index(self, image: Image) -> int:
        if isinstance(image, str) and image in self.images:
            return self.images.index(image)
        if not isinstance(image, str) and -len(self.images) <= image < len(self.images):
            return range(len(self.images))[image]
        found = f"there is no image {image!r} in this store; there are {listed(self.images)}"
        raise UsageError(found, option="image")

    def _logits(self, image: Image, *given: "ArrayLike | None") -> dict[str, np.ndarray]:
        """Return the logits by the names and in the dtypes of the store's arrays."""
        dimensions = {"logits": 3, "mask_logits": 3, "class_logits": 2}
        wanted = ("logits",) if self._facts["kind"] == "pixel" else ("mask_logits", "class_logits")
        arrays = {name: array for name, array in zip(dimensions, given, strict=True) if array is not None}
        if tuple(arrays) != wanted:
            found = ", ".join(arrays) or "none"
            raise UsageError(f"a {self._facts['kind']} store takes {' and '.join(wanted)}, found {found}")
        values = {}
        for name, array in arrays.items():
            exact = np.asarray(array)
            if exact.ndim != dimensions[name]:
                raise UsageError(
                    f"{dimensions[name]} dimensions are expected, found shape {exact.shape}", option=name
                )
            # Class logits are few, so that half precision would save little.
            dtype = np.float32 if name == "class_logits" else self._facts["precision"]
            with np.errstate(over="ignore"):  # what becomes infinite is told below
                values[name] = np.ascontiguousarray(exact, dtype)
            if not np.isfinite(values[name]).all():
                fits = np.isfinite(exact).all()
                reason = f"a logit does not fit {dtype}" if fits else "a logit is NaN or infinite"
                raise UsageError(f"{image!r}: {reason}", option=name)
        first, channels = values[wanted[0]], len(self._facts["classes"])
        columns = first.shape[0] if self._facts["kind"] == "pixel" else values["class_logits"].shape[1] - 1
        if columns != channels:
            beside = "" if self._facts["kind"] == "pixel" else ", and one for `no object`"
            raise UsageError(f"{channels} classes{beside} are expected, found {columns}", option=wanted[-1])
        return values

    def _open(self, values: Mapping[str, np.ndarray]) -> StoreWriter:
        """Return what writes the store, which is laid out for the first image where nobody said for which."""
        if self._writer is not None:
            return self._writer
        channels, height, width = values["logits" if self._facts["kind"] == "pixel" else "mask_logits"].shape
        rows, columns = values["labels"].shape
        # Of the first image: a script has its arrays, and seldom knows the largest before it has made them all.
        self._logits_size = self._logits_size or (height, width)
        self._label_size = self._label_size or (max(1, rows), max(1, columns))
        return self._lay_out((channels, *self._logits_size))

    def _lay_out(self, shape: tuple[int, int, int]) -> StoreWriter:
        """Open the store for writing; the first image to be added makes it, if it is not there."""
        try:
            schema = version2.Schema(
                **self._facts,
                input_size=shape[1:],
                logits_shape=shape,
                label_shape=self._label_size or (1, 1),
                preview_size=(PREVIEW, PREVIEW),
                chunk_rows=version2.chunk_rows(shape, self._facts["precision"]),
            )
        except (ValueError, TypeError) as error:
            raise UsageError(f"no store can be like this: {error}") from error
        self._writer = StoreWriter(self._place, schema, self._overwrite)
        return self._writer


PREVIEW = 512
"""Pixels of a preview's longer side, at most."""


def _codes(labels: "ArrayLike", image: Image) -> np.ndarray:
    codes = np.asarray(labels)
    whole = codes.dtype.kind in "iub" and codes.ndim == 2
    if not whole or (codes.size and not 0 <= codes.min() <= codes.max() <= 255):
        raise UsageError(f"{image!r}: codes from 0 to 255 in two dimensions are expected", option="labels")
    return np.ascontiguousarray(codes, np.uint8)


def _preview(picture: "ArrayLike | None", image: Image) -> np.ndarray:
    """Return a picture in small: uint8 (h, w, 3), one grey pixel where there is none."""
    from PIL import Image as Pillow

    if picture is None:
        return np.full((1, 1, 3), 128, np.uint8)
    colours = np.asarray(picture)
    if colours.dtype != np.uint8 or colours.ndim != 3 or colours.shape[2] != 3:
        found = f"{image!r}: uint8 (H, W, 3) is expected, found {colours.dtype} {colours.shape}"
        raise UsageError(found, option="picture")
    small = Pillow.fromarray(np.ascontiguousarray(colours))
    small.thumbnail((PREVIEW, PREVIEW))
    return np.asarray(small)
