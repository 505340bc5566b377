"""Plots of results and of images, as `pipe figure` and `pipe maps` draw them: `lp.plot` in Python.

Plots of results are figures of matplotlib, which keep a paper's type wherever they are shown or saved; none of
matplotlib's settings is changed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from logitpipe.api.arguments.methods import OneMethod
from logitpipe.api.arguments.protocol import as_protocol
from logitpipe.api.maps import planned, scored_maps
from logitpipe.api.results import Results
from logitpipe.api.stores import Image, LogitStore
from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.results.selection import Temperature

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image as Picture

    from logitpipe.results.series import JoinedResults
    from logitpipe.stages.score.protocols import Protocol

__all__ = ["image", "pr", "ranking", "roc", "scores", "sweep"]

Width = Literal["column", "page"] | float
"""88 or 180 mm, or millimetres."""

Font = Literal["serif", "sans"]


def sweep(results: Results, dataset: str | None = None, *, width: Width = "page", font: Font = "sans") -> "Figure":
    """Return AuPRC and FPR95 of every method over temperature, a column for each network.

    Parameters
    ----------
    results : with several temperatures
    dataset : one of the data sets; may be left out where there is one
    width : `column` (88 mm), `page` (180 mm), or millimetres
    font : `serif` or `sans`

    Raises
    ------
    PipeError
        There is nothing to draw, or there are several data sets to choose from.

    Examples
    --------
    >>> lp.plot.sweep(results).savefig("sweep.pdf")
    """
    return _drawn("sweep", results, dataset, 1.0, width, font)


def pr(
    results: Results,
    dataset: str | None = None,
    temperature: Temperature = 1.0,
    *,
    width: Width = "page",
    font: Font = "sans",
) -> "Figure":
    """Return precision over recall of every method, a panel for each network; parameters and errors as for `sweep`.

    Parameters
    ----------
    temperature : of the methods that have one, or `best`: that of each method's best AuPRC on these labels

    Examples
    --------
    >>> lp.plot.pr(results, temperature="best")
    """
    return _drawn("pr", results, dataset, temperature, width, font)


def roc(
    results: Results,
    dataset: str | None = None,
    temperature: Temperature = 1.0,
    *,
    width: Width = "page",
    font: Font = "sans",
) -> "Figure":
    """Return ROC curves of every method, a panel for each network; parameters and errors as for `pr`.

    Examples
    --------
    >>> lp.plot.roc(results)
    """
    return _drawn("roc", results, dataset, temperature, width, font)


def scores(
    results: Results,
    dataset: str | None = None,
    temperature: Temperature = 1.0,
    *,
    network: str | None = None,
    width: Width = "page",
    font: Font = "sans",
) -> "Figure":
    """Return how the scores of normal and anomalous pixels are spread; parameters and errors as for `pr`.

    Parameters
    ----------
    network : whose scores; may be left out where there is one

    Examples
    --------
    >>> lp.plot.scores(results, network="erfnet")
    """
    return _drawn("scores", results, dataset, temperature, width, font, network)


def ranking(
    results: Results, temperature: Temperature = 1.0, *, width: Width = "page", font: Font = "sans"
) -> "Figure":
    """Return AuPRC of every network and method, the best on top, a panel for each data set; parameters as for `pr`.

    Examples
    --------
    >>> lp.plot.ranking(results)
    """
    return _drawn("ranking", results, None, temperature, width, font)


def image(
    store: LogitStore,
    image: Image,
    methods: OneMethod | Sequence[OneMethod] = "core",
    temperature: float = 1.0,
    protocol: "str | Protocol" = "standard",
    *,
    label_codes: str | None = None,
    progress: bool | None = None,
) -> "Picture":
    """Return one image under several methods: photograph, ground truth, and each method's scores in colours.

    Parameters
    ----------
    store : opened
    image : name or index
    methods, temperature, protocol, label_codes : as for `LogitStore.score_map`
    progress : see `lp.score`

    Raises
    ------
    PipeError
        As for `LogitStore.score_map`.

    Examples
    --------
    >>> lp.plot.image(store, "1.png", methods=["msp", "entropy"]).save("1.png")
    """
    from logitpipe.pictures.scored import draw_scored

    index, files = store._index(image), store._store
    plan = planned(files, methods, temperature, as_protocol(protocol, label_codes))
    return draw_scored(files, plan, index, scored_maps(files, plan, index, progress))


def _drawn(
    kind: str,
    results: Results,
    dataset: str | None,
    temperature: Temperature,
    width: Width,
    font: Font,
    network: str | None = None,
) -> "Figure":
    """Return the one figure of a kind that a data set and a network name."""
    try:
        from logitpipe.pictures import plots
    except ModuleNotFoundError as error:
        raise PipeError("plots need matplotlib, which is not installed", "install", extra="'.[plot]'") from error
    if isinstance(width, str) and width not in plots.WIDTHS:
        raise UsageError(f"column, page or millimetres are expected, found {width!r}", option="width")
    if font not in plots.FONTS:
        raise UsageError(f"{' or '.join(plots.FONTS)} is expected, found {font!r}", option="font")
    chosen = _chosen(results, dataset, network)
    millimetres = plots.WIDTHS[width] if isinstance(width, str) else float(width)
    with plots.in_print(font):
        drawn = dict(plots.KINDS[kind](chosen, millimetres, temperature))
    if not drawn:
        raise PipeError(f"there is nothing to draw: no figures at this temperature, or none of several for {kind}")
    if len(drawn) > 1:
        raise UsageError(f"there are several to draw ({', '.join(drawn)}); name the data set and the network")
    (figure,) = drawn.values()
    return figure


def _chosen(results: Results, dataset: str | None, network: str | None) -> "JoinedResults":
    """Return what is drawn of results: all of it, or the stores over a data set, or of a network."""
    from logitpipe.results.series import JoinedResults

    found = results._arranged
    if dataset is not None and dataset not in found.datasets:
        raise UsageError(f"there is no {dataset!r}; there are {', '.join(found.datasets)}", option="dataset")
    labels = dict.fromkeys(entry.label for entry in found.entries)
    if network is not None and network not in labels:
        raise UsageError(f"there is no {network!r}; there are {', '.join(labels)}", option="network")
    chosen = {
        name: [entry for entry in entries if network in (None, entry.label)]
        for name, entries in found.datasets.items()
        if dataset in (None, name)
    }
    return JoinedResults(found.runs, {name: entries for name, entries in chosen.items() if entries})
