"""`pipe maps`: one picture per image, with the photograph, the ground truth and the scores side by side."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import IncompleteError
from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.commands.completion import complete_methods
from logitpipe.console.messages import note
from logitpipe.console.options import (
    STORE,
    FilePath,
    map_temperature_option,
    mask_temperature_option,
    overwrite_option,
    protocol_option,
    require_temperature,
    statistics_option,
)
from logitpipe.console.output import prepare_folder, publish, refuse_to_replace
from logitpipe.console.progress import Progress
from logitpipe.console.text import listed, printable
from logitpipe.runs.fitting import statistics_of
from logitpipe.stores.names import find_images

if TYPE_CHECKING:
    from logitpipe.stages.score.labels.ground_truth import GroundTruth
    from logitpipe.stages.score.passes.maps import ScoreMap
    from logitpipe.stages.score.plan import Pair, Plan
    from logitpipe.stages.score.protocols import Protocol

STEM_LENGTH = 40
"""Characters of each name in a file's name: four of them fit what file systems allow."""


def parse_temperature(_context: click.Context, _option: click.Parameter, temperature: float) -> float:
    """Refuse what is no temperature; NaN is refused too."""
    return require_temperature(temperature)


def _parse_region(
    _context: click.Context, option: click.Parameter, text: str | None
) -> tuple[int, int, int, int] | None:
    """Read a pixel, or the four sides of a box."""
    if text is None:
        return None
    numbers = [int(part) if part.strip().isdecimal() else -1 for part in text.split(",")]
    if len(numbers) != (2 if option.name == "point" else 4) or min(numbers) < 0:
        raise click.BadParameter(f"expected {option.metavar}, whole numbers of pixels, and found {text!r}")
    left, top, right, bottom = numbers if len(numbers) == 4 else numbers * 2
    return left, top, right, bottom


@click.command()
@click.argument("path", metavar="STORE", type=STORE)
@click.option(
    "--method",
    metavar="ID",
    help="The score to draw, such as msp or entropy.",
    shell_complete=complete_methods,
)
@click.option("--classes", is_flag=True, help="Draw the classes that the network predicts instead.")
@click.option("--queries", is_flag=True, help="Draw the queries of a mask network that claim a region instead.")
@click.option(
    "--at", "point", callback=_parse_region, metavar="X,Y", help="With --queries: the pixel, from left and from top."
)
@click.option(
    "--box",
    callback=_parse_region,
    metavar="LEFT,TOP,RIGHT,BOTTOM",
    help="With --queries: the region  [default: the anomalous pixels]",
)
@click.option("--most", type=click.IntRange(1, 31), default=7, show_default=True, help="With --queries: how many.")
@click.option("--temperature", type=float, default=1.0, show_default=True, callback=parse_temperature, metavar="T")
@map_temperature_option
@mask_temperature_option
@statistics_option
@protocol_option
@click.option("--label-codes", metavar="CODES", help="What the masks' codes mean: normal=0,anomaly=1-2,void=255.")
@click.option("--images", "names", metavar="NAME,...", help="Draw these images only.")
@click.option("--limit", type=click.IntRange(min=1), help="Draw only so many images, the first ones.")
@click.option("--out", required=True, type=FilePath(file_okay=False), help="Folder for the pictures.")
@overwrite_option
def maps(
    path: Place,
    method: str | None,
    classes: bool,
    queries: bool,
    point: tuple[int, int, int, int] | None,
    box: tuple[int, int, int, int] | None,
    most: int,
    temperature: float,
    map_temperature: float,
    mask_temperature: float,
    statistics: Path | None,
    protocol_name: str,
    label_codes: str | None,
    names: str | None,
    limit: int | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Draw each image beside its ground truth and its scores.

    One PNG per image, whose path is printed. No image file is needed: the store holds what is drawn. With --classes
    it shows the predicted classes, in Cityscapes' colours where they are Cityscapes': channels that are named in a
    wrong order are seen at once. With --queries it shows which queries of a mask network claim a region, such as a
    false positive or a missed object: their masks, and a table of how much of the region each claims (the mean of
    its mask) and wins (no other query has more of its mask times its largest class), of its area and of its classes.

    \b
    Examples:
      pipe maps enet.zarr --method msp --temperature 0.5 --limit 5 --out maps
      pipe maps enet.zarr --classes --limit 3 --out maps
      pipe maps eomt.zarr --queries --images 07.png --out maps
      pipe maps eomt.zarr --queries --images 07.png --at 130,200 --out maps
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    # What contradicts itself is refused before numba is loaded.
    if (method is not None) + queries + classes != 1:
        raise click.UsageError("name a score with --method, or ask for --classes or --queries")
    if (point or box) and not queries:
        raise click.UsageError("--at and --box name a region for --queries")
    if point and box:
        raise click.UsageError("--at and --box exclude each other: name one region")
    if names is not None and limit is not None:
        raise click.UsageError("--images and --limit exclude each other: name the images, or say how many")
    from logitpipe.stages.score.labels.ground_truth import DrawnTruth
    from logitpipe.stages.score.passes.maps import plan_map
    from logitpipe.stages.score.passes.predictions import plan_classes
    from logitpipe.stages.score.passes.spread import is_tiny

    store = open_store(path)
    images = list(range(len(store.schema.images)))[:limit] if names is None else find_images(store, names)
    present, protocol = sorted(set(images) & set(store.completed())), _choose_protocol(protocol_name, label_codes)
    if queries:
        truth = DrawnTruth(store, protocol, present)
        _draw_queries(store, truth, present, point or box, temperature, most, out, overwrite)
        _require_all(store, images, present)
        return
    if method is None:
        plan = plan_classes(store.schema, protocol)
    else:
        fitted = statistics_of(store.schema, statistics, ())
        temperatures = temperature, map_temperature, mask_temperature
        plan = plan_map(store.schema, protocol, method, *temperatures, fitted, is_tiny(store))
    names_of = {image: picture_name(store, plan.pairs[0], image) for image in present}
    refuse_to_replace((out / name for name in names_of.values()), overwrite)
    prepare_folder(out)
    _draw_all(store, plan, DrawnTruth(store, plan.protocol, present), names_of, out)
    _require_all(store, images, present)


def _draw_queries(
    store: Store,
    truth: "GroundTruth",
    images: Sequence[int],
    box: tuple[int, int, int, int] | None,
    temperature: float,
    most: int,
    out: Path,
    overwrite: bool,
) -> None:
    """Draw the queries that claim a region of each image, and print their table below each path."""
    from logitpipe.runs.queries import diagnosed, require_queries

    require_queries(store)
    place = "" if box is None else "-".join(map(str, box[:2] if box[:2] == box[2:] else box))
    parts = ("queries", place, f"T{temperature:g}")
    names = {image: file_name(image, *_names(store, image), *filter(None, parts)) for image in images}
    refuse_to_replace((out / name for name in names.values()), overwrite)
    prepare_folder(out)
    for image, name in names.items():
        picture, table = diagnosed(store, truth, image, box, temperature, most)
        buffer = io.BytesIO()
        picture.save(buffer, "png")
        publish(out / name, buffer.getvalue())
        click.echo(out / name)
        click.echo("\n".join(map(printable, table.split("\n"))))


def picture_name(store: Store, pair: "Pair", image: int) -> str:
    """Return the file name of a picture: it carries image, store, method and temperature."""
    temperature = "" if pair.temperature is None else f"T{pair.temperature:g}"
    return file_name(image, *_names(store, image), pair.label, temperature)


def _names(store: Store, image: int) -> tuple[str, str]:
    """Return what pictures of an image are called after: the image, and the store."""
    place = str(store.path).rstrip("/").rpartition("/")[2].removesuffix(".zip").removesuffix(".zarr")
    return store.schema.images[image].rpartition(".")[0] or store.schema.images[image], place


def file_name(image: int, *names: str) -> str:
    """Return a file name made of names: safe whatever things are called, and never another image's.

    The index keeps names apart that differ in case, in the ending or beyond the length that is kept.
    """
    return "_".join([f"{image:04d}", *(safe for name in names if (safe := _safe(name)))]) + ".png"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:STEM_LENGTH].rstrip("._")


def _choose_protocol(name: str, label_codes: str | None) -> "Protocol":
    from logitpipe.stages.score.protocols import PROTOCOLS, with_choices

    protocol = with_choices(PROTOCOLS[name], {} if label_codes is None else {"label-codes": label_codes})
    return replace(protocol, thin_above=None)  # thinning is for counting: a drawing shows every pixel


def _draw_all(store: Store, plan: "Plan", truth: "GroundTruth", names: Mapping[int, str], out: Path) -> None:
    from logitpipe.stages.score.passes.maps import DRAWN_PIXELS, score_map

    paths, skipped = [], []
    with Progress(f"drawing {plan.pairs[0].label}", len(names)) as progress:
        for image in names:
            name, scored = store.schema.images[image], score_map(store, plan, truth, image, DRAWN_PIXELS)
            if scored is None:
                skipped.append(name)
            else:
                publish(out / names[image], _draw(store, plan, image, scored))
                paths.append(out / names[image])
            progress.advance()
    for path in paths:
        click.echo(path)
    if skipped:
        reason = f"protocol {plan.protocol.name} skips images without an anomaly"
        note(f"not drawn, as {reason}: {listed(skipped)}")


def _draw(store: Store, plan: "Plan", image: int, scored: "ScoreMap") -> bytes:
    """Return one picture as the bytes of a PNG file."""
    from logitpipe.pictures.classes import draw_classes
    from logitpipe.pictures.scored import draw_scored
    from logitpipe.stages.score.passes.predictions import CLASSES, class_names

    if plan.pairs[0].method == CLASSES:
        picture = draw_classes(store, class_names(store.schema), image, scored)
    else:
        picture = draw_scored(store, plan, image, [scored])
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def _require_all(store: Store, images: Sequence[int], drawn: Sequence[int]) -> None:
    if missing := [store.schema.images[image] for image in images if image not in drawn]:
        raise IncompleteError(
            f"{store.path}: {len(missing)} of {len(images)} images were not drawn, as they are not in the store "
            f"({printable(listed(missing))}); run the same `pipe infer` again to add them"
        )
