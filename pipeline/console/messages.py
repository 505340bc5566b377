"""What is said beside results and errors: on stderr, less with `pipe -q`, more with `pipe -v`.

A caller in Python hears less (see audience.py).
"""

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import click

from logitpipe.console.audience import caller
from logitpipe.console.streams import columns, is_terminal
from logitpipe.console.text import printable, shortened

SECONDS_BEFORE_WORD = 2.0
"""A shorter silence worries nobody, and a word for each would hide those that matter."""

COMPILING = "compiling the scoring kernels, once where their code can be kept"
"""What `word_if_slow` says while kernels are compiled or loaded."""


def is_quiet() -> bool:
    """Return whether nothing but results and errors is wanted: `pipe -q`, or a caller in Python."""
    return caller() is not None or _asked("quiet")


def is_verbose() -> bool:
    """Return whether the running command was asked for details."""
    return _asked("verbose")


def caution(text: str) -> None:
    """Say what a reader of the results must know; -q does not silence it. In Python it is a warning."""
    if caller():
        warnings.warn(printable(text), stacklevel=2)
    else:
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
def word_if_slow(what: str, after: float | None = None) -> Iterator[None]:
    """Say what takes so long, if it takes long, and how long it took; on a terminal the seconds are counted.

    Parameters
    ----------
    after : seconds of silence before that; None: SECONDS_BEFORE_WORD. Less where one silence follows another
    """
    seconds, started, who = SECONDS_BEFORE_WORD if after is None else after, time.monotonic(), caller()
    # The thread has neither click's context nor a caller, so -q and who listens are looked up here.
    say = who.show if who else None if is_quiet() else partial(click.echo, err=True)
    if say is None:
        yield
        return
    ended = threading.Event()
    # A thread, since what takes so long (a compiler, a foreign library) gives no sign of life itself.
    teller = threading.Thread(target=_tell, args=(say, what, seconds, ended, who is None and is_terminal(sys.stderr)))
    teller.start()
    try:
        yield
    finally:
        ended.set()
        # Waited for, so that its line never falls into what is printed next.
        teller.join()
    if time.monotonic() - started > seconds:
        note(f"... done in {time.monotonic() - started:.0f} s")


def _tell(say: Callable[[str], object], what: str, seconds: float, ended: threading.Event, on_terminal: bool) -> None:
    """Say that something goes on, once it has gone on for a while; on a terminal again every second."""
    if ended.wait(seconds):
        return
    if not on_terminal:
        say(f"{what} ...")
        return
    width = columns(sys.stderr)
    while True:
        line = f"{what} ... {seconds:.0f} s"
        sys.stderr.write(f"\r{line if width is None else shortened(line, width - 1)}")
        sys.stderr.flush()
        if ended.wait(1.0):
            break
        seconds += 1
    sys.stderr.write("\n")


def _asked(flag: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get(flag))
