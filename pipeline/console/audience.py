"""Who hears a run: the terminal of a command, or whoever called a function of `logitpipe` in Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """A caller in Python: cautions reach it as warnings, notes not at all, progress where it can be shown.

    Parameters
    ----------
    show : takes a line of progress, which replaces the one before; None where nobody looks
    """

    show: Callable[[str], None] | None = None


# A context variable and no argument: what is said lies many calls below, and two threads may have two callers.
_CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller | None:
    """Return who called from Python; None in a command, whose user reads stderr."""
    return _CALLER.get()


@contextmanager
def heard_by(who: Caller | None) -> Iterator[None]:
    """Let a caller hear what the block says; None leaves it to stderr."""
    token = _CALLER.set(who)
    try:
        yield
    finally:
        _CALLER.reset(token)
