"""Progress of a function that was called in Python: a line below the cell of a notebook, nothing in a script."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from logitpipe.console.audience import Caller, heard_by


def followed(progress: bool | None) -> AbstractContextManager[None]:
    """Return a context in which the caller is shown how far a run has come.

    Parameters
    ----------
    progress : True, as commands show it, on stderr where there is no notebook; False, not at all; None, in a
        notebook alone
    """
    show = None if progress is False else _notebook_line()
    return heard_by(None if progress and show is None else Caller(show))


def _notebook_line() -> Callable[[str], None] | None:
    """Return what redraws a line below the running cell; None outside of notebooks."""
    # Whoever runs in a notebook has IPython loaded; a script must not wait for its import.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    # Made with the first line: a function that shows nothing leaves no empty output below its cell.
    handle: list[Any] = []

    def show(line: str) -> None:
        """Draw a line, in the place of the one before."""
        content = {"text/plain": line}
        if handle:
            handle[0].update(content, raw=True)
        else:
            handle.append(display(content, raw=True, display_id=True))

    return show
