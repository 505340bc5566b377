"""Every byte of some images, read by several threads, and what that found in words."""

from collections.abc import Sequence
from functools import partial

from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import Store
from logitpipe.cache.reading.verify import Damage, ImageCheck, check_image
from logitpipe.console.progress import Progress
from logitpipe.console.text import printable
from logitpipe.stages.cores import available_cores
from logitpipe.stages.streams import ahead, thread_pool


def check_images(store: Store, images: Sequence[int]) -> list[ImageCheck]:
    """Read all of the images, and return what was found in each."""
    # Hashing and decompressing let other threads run, so that all cores read at once.
    threads, checks = available_cores(), []
    with Progress(f"reading {printable(str(store.path))}", len(images)) as progress, thread_pool(threads) as pool:
        for check in ahead(pool, partial(check_image, store), images, threads):
            checks.append(check)
            progress.advance()
    return checks


def damage_line(path: Place, damage: Damage) -> str:
    """Return where a damage lies, the image that is lost by it, and what it is."""
    image = "" if damage.image is None else f"image {damage.image!r}: "
    return printable(f"{path}/{damage.file}: {image}{damage.kind}")
