"""What a stream can show: whether a line can be redrawn on it, how wide it is, whether it knows bold."""

import os
from typing import TextIO


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def can_bold(stream: TextIO) -> bool:
    """Return whether bold text shows; who sets NO_COLOR (https://no-color.org) wants no escapes."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def columns(stream: TextIO) -> int | None:
    """Return the width of a terminal in cells, or None where the stream is none or does not tell."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None  # some serial lines tell 0
    except OSError:
        return None
