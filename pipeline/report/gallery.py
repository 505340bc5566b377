"""The images that each method does best and worst on: photograph, ground truth and scores."""

import base64
import io
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.places import as_place
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.console.messages import word_if_slow
from logitpipe.console.progress import Progress
from logitpipe.console.text import listed, printable
from logitpipe.pictures.colours import ANOMALY, NORMAL, VOID, score_colours
from logitpipe.pictures.panels import photo_panel, score_panel, truth_panel
from logitpipe.pictures.scored import PERCENTILES, colour_limits
from logitpipe.report.markup import Html, fold, joined, tag
from logitpipe.report.words import at_temperature, per_cent
from logitpipe.results.per_image.histograms import read_per_image
from logitpipe.results.series import Entry, Series
from logitpipe.stages.score.figures.bootstrap import FIGURES, image_figures
from logitpipe.stages.score.figures.rows import pair_of
from logitpipe.stages.score.kernels.counting.bins import ANOMALY as ANOMALOUS
from logitpipe.stages.score.kernels.counting.bins import IGNORED
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods import CORE, METHODS
from logitpipe.stages.score.passes.maps import DRAWN_PIXELS, ScoreMap, score_map
from logitpipe.stages.score.passes.spread import is_tiny
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.plan import Plan, make_plan, with_pairs
from logitpipe.stages.score.statistics.single_images import ImageAreas

PANEL_WIDTH = 400
"""Pixels: three panels fit a page side by side."""

QUALITY = 82
"""Of JPEG."""


@dataclass(frozen=True)
class Scored:
    """A store opened again, and the AuPRC of each of its images.

    Parameters
    ----------
    plan : each method at the row that is drawn of it
    truth : ground truth of what is drawn: every pixel, also where the protocol thins what it counts
    areas : by image and pair of the plan
    """

    store: Store
    plan: Plan
    truth: GroundTruth
    areas: dict[int, list[float | None]]


def gallery(entry: Entry, workers: int) -> Html:
    """Return the best and the worst image of each method of a store.

    Raises
    ------
    PipeError
        The store cannot be read any more, or is not the one that was scored.
    """
    store, protocol = _open(entry), entry.run.protocol
    images = _images(entry, store)
    entry = replace(entry, series=tuple(s for s in entry.series if _can_be_drawn(s, store.schema.kind)))
    if not entry.series:
        return tag("p", "Scores of functions, and of methods with fitted statistics, are not drawn.", class_="note")
    pairs = [pair_of(series.rows[series.shown]) for series in entry.series]
    plan = with_pairs(make_plan(store.schema, protocol, None, [1.0], fine=is_tiny(store)), pairs)
    areas = _kept_areas(entry, store) or _counted_areas(entry, store, plan, images, workers)
    # Thinning leaves most pixels out of the figures; in a picture they would be holes.
    drawn = replace(plan, protocol=replace(protocol, thin_above=None))
    scored = Scored(store, drawn, GroundTruth(store, drawn.protocol, images), areas)
    if all(area is None for values in areas.values() for area in values):
        return tag("p", "No image has both normal and anomalous pixels.", class_="note")
    # Soon, as in overview.py.
    with word_if_slow(f"drawing the best and worst images of {entry.label}", after=0.3):
        drawn_methods = [(s.method in CORE, _of_method(scored, s, i)) for i, s in enumerate(entry.series)]
    core, others = ([part for is_core, part in drawn_methods if is_core == wanted] for wanted in (True, False))
    return joined(_key(), *core, *([fold("All other methods", *others)] if core and others else others))


def _can_be_drawn(series: Series, kind: str) -> bool:
    """Return whether a method can be computed again: not a function of the user's, nor one with fitted statistics."""
    method = METHODS[kind].get(series.rows[0].method)
    return method is not None and method.needs != "statistics"


def _kept_areas(entry: Entry, store: Store) -> dict[int, list[float | None]] | None:
    """Return the AuPRC of each image from the results; None where an earlier release has left none there."""
    try:
        found = read_per_image([series.origins[series.shown] for series in entry.series])
    except PipeError:
        return None
    areas = image_figures(found.counts, entry.run.protocol.reading)[..., FIGURES.index("auprc")].T
    # Results hold names with control characters escaped; the store holds them raw.
    images = {printable(name): image for image, name in enumerate(store.schema.images)}
    return {
        images[name]: [None if np.isnan(area) else area for area in row]
        for name, row in zip(found.images, areas.tolist(), strict=True)
    }


def _counted_areas(
    entry: Entry, store: Store, plan: Plan, images: list[int], workers: int
) -> dict[int, list[float | None]]:
    """Return the AuPRC of each image, counted again."""
    with Progress(f"finding the best and worst images of {entry.label}", len(images)) as progress:
        statistic, truth = ImageAreas(plan), GroundTruth(store, plan.protocol, images)
        return statistic.finish(walk(truth, images, statistic, workers, progress.advance))


def _open(entry: Entry) -> Store:
    """Open the store by its absolute path, or else by the path as typed; refuse one with another fingerprint."""
    there, here = as_place(entry.facts["path"]), as_place(entry.facts["store"])
    try:
        store = open_store(there)
    except PipeError:
        if here == there:  # a URL, which leads to the same from everywhere
            raise
        store = open_store(here)
    # A store of other weights at the same path would show pictures that do not belong to the figures.
    if store.fingerprint != entry.facts["fingerprint"]:
        raise PipeError(f"{store.path}: another store than the one that was scored; its fingerprint has changed")
    return store


def _images(entry: Entry, store: Store) -> list[int]:
    """Return the images that were scored."""
    missing = set(entry.facts["missing"])
    images = [image for image, name in enumerate(store.schema.images) if name not in missing]
    if gone := set(images) - set(store.completed()):
        names = listed([store.schema.images[image] for image in sorted(gone)])
        raise PipeError(f"{store.path}: images that were scored are no longer in it ({names})")
    return images


def _key() -> Html:
    """Return what the colours of ground truth and of scores mean."""
    truth = [
        tag("span", name, class_="patch", style=f"--patch: rgb{colour}")
        for name, colour in (("normal", NORMAL), ("anomaly", ANOMALY), ("void", VOID))
    ]
    bar = Image.fromarray(score_colours(np.linspace(0, 1, 128))[None])
    colours = tag("img", src=_data_uri(bar, "png"), alt="from dark to bright", class_="colours", width=128, height=1)
    low, high = PERCENTILES
    ends = f" high, from the {low}st to the {high}th percentile of each image."
    return tag("p", "Ground truth: ", *truth, " Scores: low ", colours, ends, class_="note")


def _of_method(scored: Scored, series: Series, pair: int) -> Html:
    areas = {image: area for image, values in scored.areas.items() if (area := values[pair]) is not None}
    row = series.rows[series.shown]
    title = tag("h4", series.method, tag("small", at_temperature(row)))
    # The index breaks ties, so that the page of the same results is the same on every machine.
    ranked = sorted(areas, key=lambda image: (-areas[image], image))
    median = float(np.median(list(areas.values())))
    words = f"AuPRC of single images: {per_cent(areas[ranked[-1]])} to {per_cent(areas[ranked[0]])}, "
    spread = tag("p", f"{words}median {per_cent(median)} of {len(areas)} images.", class_="note")
    shown = {"best": ranked[0], "worst": ranked[-1]} if len(ranked) > 1 else {"only": ranked[0]}
    draw = partial(_card, scored, pair)
    cards = tag("div", *(draw(which, i, areas[i]) for which, i in shown.items()), class_="cards")
    return tag("div", title, spread, cards, class_="method")


def _card(scored: Scored, pair: int, which: str, image: int, area: float) -> Html:
    """Return photograph, ground truth and scores of one image, with what they are in words."""
    chosen = scored.plan.pairs[pair]
    plan = replace(scored.plan, pairs=(chosen,))
    drawn = score_map(scored.store, plan, scored.truth, image, DRAWN_PIXELS)
    if drawn is None:  # the protocol skips it, and then it has no area either
        raise AssertionError(image)
    name = scored.store.schema.images[image]
    size = (PANEL_WIDTH, max(1, round(PANEL_WIDTH * drawn.labels.shape[0] / drawn.labels.shape[1])))
    photo = photo_panel(scored.store.read("preview", image), size)
    scores = score_panel(drawn.scores, colour_limits(drawn.scores), size)
    panels = [
        _picture(photo, "jpeg", f"Photograph {name}", "photo"),
        _picture(truth_panel(drawn.labels, size), "png", f"Ground truth of {name}: {_anomalous(drawn)}", "truth"),
        _picture(scores, "jpeg", f"Scores of {chosen.method} on {name}, AuPRC {per_cent(area)}", "scores"),
    ]
    caption = tag("figcaption", tag("b", f"{which.capitalize()}: "), f"{name}, AuPRC {per_cent(area)}")
    return tag("figure", *panels, caption, class_="card")


def _anomalous(drawn: ScoreMap) -> str:
    counted = max(1, int((drawn.labels != IGNORED).sum()))
    share = (drawn.labels == ANOMALOUS).sum() / counted
    return f"{100 * share:.1f} per cent of the scored pixels are anomalous"


def _picture(image: Image.Image, kind: str, words: str, role: str) -> Html:
    return tag("img", src=_data_uri(image, kind), alt=words, class_=role, width=image.width, height=image.height)


def _data_uri(image: Image.Image, kind: str) -> Html:
    """Return a picture as an address: markup already, as base64 needs no escaping and is long."""
    buffer = io.BytesIO()
    if kind == "jpeg":
        image.save(buffer, kind, quality=QUALITY, optimize=True)
    else:
        # Ground truth has few colours, so that nothing is lost; with JPEG its edges would be.
        image.quantize(256).save(buffer, kind, optimize=True)
    return Html(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}")
