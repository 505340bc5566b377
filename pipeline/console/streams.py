"""Standard output and standard error, whatever a shell has connected them to: a terminal, a full disk, nothing."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


class OutputError(OSError):
    """Standard output cannot be written."""


class _Results(io.TextIOWrapper):
    """Standard output, whose errors are told from those of other files."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error


class _Messages(io.TextIOWrapper):
    """Standard error; where it cannot be written nobody can be told so, and the work goes on."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def guard_streams() -> None:
    """Make stdout raise `OutputError` where it cannot be written, and stderr ignore such failures.

    Characters that the encoding lacks are escaped, as a name may hold any. A stream that the shell has closed is
    opened on the null device: otherwise the next file to be opened would get its number, and prints would go into
    that file. stdout is opened for reading only, so that printing results fails, as it does on a full disk.
    """
    if sys.stdout is None:
        sys.stdout = _reopened(1, os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _reopened(2, os.O_WRONLY)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _rewrapped(sys.stdout, _Results)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _rewrapped(sys.stderr, _Messages)


def _reopened(number: int, flags: int) -> TextIO:
    # The lowest free number is given out, which may be 0 where stdin is closed too; hence dup2 to the number wanted.
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding="utf-8")


def _rewrapped(stream: io.TextIOWrapper, kind: type[io.TextIOWrapper]) -> io.TextIOWrapper:
    # Read before detach(): a detached stream answers no more questions.
    encoding, lines = stream.encoding, stream.line_buffering
    return kind(stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines)


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
