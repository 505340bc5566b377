"""Every byte of some images, read by several threads, and what that found in words."""

from collections.abc import Sequence
from functools import partial

from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import Store, readers
from logitpipe.cache.reading.verify import Damage, ImageCheck, check_image
from logitpipe.console.progress import Progress
from logitpipe.console.text import printable
from logitpipe.stages.cores import available_cores
from logitpipe.stages.streams import in_order


def check_images(store: Store, images: Sequence[int]) -> list[ImageCheck]:
    """Read all of the images, and return what was found in each."""
    threads, checks = readers(store, available_cores()), []
    with Progress(f"reading {printable(str(store.path))}", len(images)) as progress:
        for check in in_order(partial(check_image, store), images, threads):
            checks.append(check)
            progress.advance()
    return checks


def damage_line(path: Place, damage: Damage) -> str:
    """Return where a damage lies, the image that is lost by it, and what it is."""
    image = "" if damage.image is None else f"image {damage.image!r}: "
    return printable(f"{path}/{damage.file}: {image}{damage.kind}")
