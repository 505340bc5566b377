"""A network over a data set in Python: what `pipe infer` does, and the store that comes of it."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logitpipe.api.arguments.progress import followed
from logitpipe.api.stores import LogitStore
from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.places import as_place
from logitpipe.cache.reading.store import open_store

if TYPE_CHECKING:
    from logitpipe.cache.format.schema import Precision
    from logitpipe.stages.infer.model import Amp


def infer(
    network: str,
    weights: str | PathLike[str] | None = None,
    *,
    dataset: str,
    data_root: str | PathLike[str],
    out: str | PathLike[str],
    resize: str | None = None,
    input_size: tuple[int, int] | None = None,
    config: str | PathLike[str] | None = None,
    weights_key: str | None = None,
    classes: str | None = None,
    void_class: str | None = None,
    outlier_class: str | None = None,
    masked_attention: Literal["on", "off", "checkpoint"] | None = None,
    base_weights: str | PathLike[str] | None = None,
    network_options: Mapping[str, object] | None = None,
    declare: Mapping[str, object] | None = None,
    trust_model: bool = False,
    layout: str | None = None,
    images: Sequence[str] = (),
    select: str | PathLike[str] | None = None,
    labelled_only: bool = False,
    limit: int | None = None,
    mask_resize: bool = False,
    device: str = "auto",
    batch_size: int | None = None,
    precision: "Precision" = "float16",
    amp: "Amp" = "none",
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    repair: bool = False,
    progress: bool | None = None,
) -> LogitStore:
    """Run a network over a data set once and keep its logits; called again, it goes on where it stopped.

    Parameters
    ----------
    network : `erfnet`, `enet`, `eomt`, `hf`, FILE.py:NAME, package.module:NAME or MODEL.pt2 (docs/networks.md)
    weights : checkpoint; None where the network brings its own
    dataset, data_root : name of the data set, and the folder that holds it (docs/data.md)
    out : the store: a path, or s3://BUCKET/...
    resize : how pictures come to the network's input, such as "windows:1024" or "short:512" (docs/networks.md); None:
        what its authors do
    input_size : height and width of the network's input, the same as `resize="HxW"`
    config, masked_attention, base_weights : of EoMT
    weights_key : which of several state dicts in the checkpoint
    classes, void_class, outlier_class : what the channels are
    network_options, declare : of a network of your own
    trust_model : whether MODEL.pt2, which can run code, is read
    layout : how the files lie, where that is not clear
    images, select, labelled_only, limit : which pictures: patterns of names, a file of names, those with a mask, the
        first so many
    mask_resize : whether masks of another size are brought to their pictures'
    device : `auto`, `cpu`, `cuda`, `cuda:1` or `mps`
    batch_size : pictures in a forward pass; None: what suits the device
    precision : of the logits on disk, `float16` or `float32`
    amp : `none`, or `bf16`, mixed precision
    shard : (i, n): every n-th picture from the i-th on
    overwrite : begin anew where a store exists
    repair : read all of the store first, and compute damaged images again
    progress : see `lp.score`

    Raises
    ------
    PipeError
        Network, weights, data set and store do not fit each other, or one of them cannot be read or written.

    Examples
    --------
    >>> store = lp.infer("erfnet", "weights/erfnet.pth", dataset="RoadAnomaly21", data_root="data", out="erfnet.zarr")
    """
    from logitpipe.runs.inference import ALL, fill_stores, torch_at_hand
    from logitpipe.stages.infer.networks import find_load
    from logitpipe.stages.infer.networks.seam import Source

    # Before torch is loaded, which takes seconds: a name that is none is refused at once.
    find_load(network)
    if dataset == ALL:
        raise UsageError("one data set is expected, as one store comes of it", option="dataset")
    if overwrite and (repair or shard[1] > 1):
        raise UsageError("it would remove what other shards write, or what repair mends", option="overwrite")
    if resize and input_size:
        raise UsageError("it is another name for `resize`, which was given too", option="input_size")
    given = {
        "config": _path(config),
        "masked_attention": masked_attention,
        "base_weights": _path(base_weights),
        "network_options": network_options and dict(network_options),
        "declare": declare and dict(declare),
        "trust_model": trust_model,
    }
    own = {name: value for name, value in given.items() if value}
    source = Source(
        network, _path(weights), resize or input_size, weights_key, classes, void_class, outlier_class, own
    )
    with torch_at_hand():
        from logitpipe.stages.infer.data.selection import Selection
    with followed(progress):
        (place,) = fill_stores(
            source,
            Path(data_root),
            [dataset],
            as_place(fspath(out)),
            layout=layout,
            selection=Selection(tuple(images), _path(select), labelled_only, limit),
            mask_resize=mask_resize,
            device=device,
            amp=amp,
            precision=precision,
            batch_size=batch_size,
            shard=shard,
            overwrite=overwrite,
            repair=repair,
        )
    return LogitStore(open_store(place))


def _path(given: str | PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)
