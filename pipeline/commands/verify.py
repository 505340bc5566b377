"""`pipe verify`: every byte of a store is read, and all that is wrong is told."""

from collections.abc import Sequence

import click

from logitpipe.cache.errors import IntegrityError
from logitpipe.cache.files.places import Place
from logitpipe.cache.reading.store import open_store
from logitpipe.cache.reading.verify import ImageCheck, check_metadata, stray_files
from logitpipe.console.exits import DAMAGED, DONE, INCOMPLETE
from logitpipe.console.messages import note
from logitpipe.console.options import stores_argument
from logitpipe.console.text import byte_size, counted, listed, printable
from logitpipe.stores.checking import check_images, damage_line


@click.command()
@stores_argument()
@click.pass_context
def verify(ctx: click.Context, stores: tuple[Place, ...]) -> None:
    """Read every byte of stores and check it.

    Each damage is one line: file, image, what is wrong. The exit code is 0 if all is sound, 3 if images are
    missing and the rest is sound, 4 if anything is damaged.

    \b
    Example:
      pipe verify enet.zarr erfnet.zarr
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    # The worst of all: the codes rise from sound over incomplete to damaged.
    code = max(_verify(path) for path in stores)
    if code == DAMAGED:
        click.echo(
            "pipe: to mend a store, call the `pipe infer` that made it once more, with --repair: "
            "it computes the damaged images again and touches no others",
            err=True,
        )
    ctx.exit(code)


def _verify(path: Place) -> int:
    """Check one store, print what was found, and return the exit code that it deserves."""
    try:
        store = open_store(path)
    except IntegrityError as error:
        # Told and not raised, so that the stores after it are checked too.
        click.echo(printable(str(error)))
        click.echo(printable(f"{path}: damaged, and nothing else was checked, as its metadata says what to check"))
        return DAMAGED
    checks = check_images(store, range(len(store.schema.images)))
    damages = check_metadata(store) + [damage for check in checks for damage in check.damages]
    for damage in damages:
        click.echo(damage_line(path, damage))
    for stray in stray_files(store):
        note(f"{path}/{stray}: not part of a store; it does no harm")
    missing = [check.name for check in checks if not check.committed]
    click.echo(printable(f"{path}: {_amount(checks)}: {_verdict(len(damages), missing, len(checks))}"))
    return DAMAGED if damages else INCOMPLETE if missing else DONE


def _amount(checks: Sequence[ImageCheck]) -> str:
    images, chunks = sum(check.committed for check in checks), sum(check.chunks for check in checks)
    return (
        f"{counted(images, 'image')}, {counted(chunks, 'chunk')}, {byte_size(sum(check.stored for check in checks))}"
    )


def _verdict(damages: int, missing: Sequence[str], total: int) -> str:
    state = f"damaged in {counted(damages, 'place')}" if damages else "sound"
    return f"{state}; missing: {len(missing)} of {counted(total, 'image')} ({listed(missing)})" if missing else state
