"""What is said on stderr beside results and errors: less with `pipe -q`, more with `pipe -v`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from logitpipe.console.text import printable

SECONDS_BEFORE_WORD = 2.0


def is_quiet() -> bool:
    """Return whether the running command was asked to say nothing but results and errors."""
    return _asked("quiet")


def is_verbose() -> bool:
    """Return whether the running command was asked for details."""
    return _asked("verbose")


def caution(text: str) -> None:
    """Say what a reader of the results must know; -q does not silence it."""
    click.echo(printable(text), err=True)


def note(text: str) -> None:
    """Say what happens, unless -q was given."""
    if not is_quiet():
        click.echo(printable(text), err=True)


def detail(text: str) -> None:
    """Say what explains a run, if -v was given."""
    if is_verbose():
        click.echo(printable(text), err=True)


@contextmanager
def word_if_slow(what: str) -> Iterator[None]:
    """Say what takes so long, if it takes long, and how long it took."""
    started = time.monotonic()
    # The timer's thread has no click context, so -q is looked up here.
    timer = threading.Timer(SECONDS_BEFORE_WORD, click.echo, (f"{what} ...",), {"err": True})
    if not is_quiet():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident:  # it was started; its thread ends at once
            timer.join()
    if time.monotonic() - started > SECONDS_BEFORE_WORD:
        note(f"... done in {time.monotonic() - started:.0f} s")


def _asked(flag: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get(flag))
