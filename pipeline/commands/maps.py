"""`pipe maps`: one picture per image, with the photograph, the ground truth and the scores side by side."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import IncompleteError, PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import Store, open_store
from logitpipe.commands.completion import complete_methods
from logitpipe.console.messages import note
from logitpipe.console.options import STORE, overwrite_option, protocol_option, require_temperature
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.progress import Progress
from logitpipe.console.text import listed, printable

if TYPE_CHECKING:
    from logitpipe.stages.score.ground_truth import GroundTruth
    from logitpipe.stages.score.passes.maps import ScoreMap
    from logitpipe.stages.score.plan import Pair, Plan
    from logitpipe.stages.score.protocols import Protocol

STEM_LENGTH = 40


def parse_temperature(_context: click.Context, _option: click.Parameter, temperature: float) -> float:
    """Refuse what is no temperature; NaN is refused too."""
    return require_temperature(temperature)


@click.command()
@click.argument("path", metavar="STORE", type=STORE)
@click.option(
    "--method",
    required=True,
    metavar="ID",
    help="The score to draw, such as msp or entropy.",
    shell_complete=complete_methods,
)
@click.option("--temperature", type=float, default=1.0, show_default=True, callback=parse_temperature, metavar="T")
@protocol_option
@click.option("--label-codes", metavar="CODES", help="What the masks' codes mean: normal=0,anomaly=1-2,void=255.")
@click.option("--images", "names", metavar="NAME,...", help="Draw these images only.")
@click.option("--limit", type=click.IntRange(min=1), help="Draw only so many images, the first ones.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the pictures."
)
@overwrite_option
def maps(
    path: Place,
    method: str,
    temperature: float,
    protocol_name: str,
    label_codes: str | None,
    names: str | None,
    limit: int | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Draw each image beside its ground truth and its scores.

    One PNG per image, whose path is printed. No image file is needed: the store holds what is drawn.
    """
    if names is not None and limit is not None:
        raise click.UsageError("--images and --limit exclude each other: name the images, or say how many")
    from logitpipe.stages.score.ground_truth import DrawnTruth
    from logitpipe.stages.score.passes.maps import plan_map

    store = open_store(path)
    images = list(range(len(store.schema.images)))[:limit] if names is None else find_images(store, names)
    plan = plan_map(store.schema, _choose_protocol(protocol_name, label_codes), method, temperature)
    present = sorted(set(images) & set(store.completed()))
    names_of = {image: picture_name(store, plan.pairs[0], image) for image in present}
    refuse_to_replace((out / name for name in names_of.values()), overwrite)
    prepare_folder(out)
    _draw_all(store, plan, DrawnTruth(store, plan.protocol, present), names_of, out)
    _require_all(store, images, present)


def find_images(store: Store, names: str) -> list[int]:
    """Return the indices of the images in a comma list, or of the one image of that name, comma included.

    Raises
    ------
    PipeError
        The store has no image of a name.
    """
    known = {name: image for image, name in enumerate(store.schema.images)}
    wanted = [names] if names in known else names.split(",")
    for name in wanted:
        if name not in known:
            raise PipeError(
                printable(f"--images: there is no image {name!r} in {store.path}; there are {listed(list(known))}")
            )
    return [known[name] for name in dict.fromkeys(wanted)]


def picture_name(store: Store, pair: "Pair", image: int) -> str:
    """Return the file name of a picture: it carries image, store, method and temperature."""
    place = str(store.path).rstrip("/").rpartition("/")[2].removesuffix(".zip").removesuffix(".zarr")
    stem = store.schema.images[image].rpartition(".")[0] or store.schema.images[image]
    temperature = "" if pair.temperature is None else f"T{pair.temperature:g}"
    return file_name(image, stem, place, pair.method, temperature)


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
    with Progress(f"drawing {plan.pairs[0].method}", len(names)) as progress:
        for image in names:
            name, scored = store.schema.images[image], score_map(store, plan, truth, image, DRAWN_PIXELS)
            if scored is None:
                skipped.append(name)
            else:
                paths.append(_write(out, names[image], _draw(store, plan, image, scored)))
            progress.advance()
    for path in paths:
        click.echo(path)
    if skipped:
        reason = f"protocol {plan.protocol.name} skips images without an anomaly"
        note(f"not drawn, as {reason}: {listed(skipped)}")


def _draw(store: Store, plan: "Plan", image: int, scored: "ScoreMap") -> bytes:
    """Return one picture as the bytes of a PNG file."""
    from logitpipe.pictures.scored import draw_scored

    buffer = io.BytesIO()
    draw_scored(store, plan, image, [scored]).save(buffer, "png")
    return buffer.getvalue()


def _require_all(store: Store, images: Sequence[int], drawn: Sequence[int]) -> None:
    if missing := [store.schema.images[image] for image in images if image not in drawn]:
        raise IncompleteError(
            f"{store.path}: {len(missing)} of {len(images)} images were not drawn, as they are not in the store "
            f"({printable(listed(missing))}); run the same `pipe infer` again to add them"
        )


def _write(out: Path, name: str, data: bytes) -> Path:
    try:
        Folder(out).publish(name, data)
    except OSError as error:
        raise PipeError(f"--out {out}: {name} cannot be written ({error.strerror}); choose another folder") from error
    return out / name
