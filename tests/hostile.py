"""What the tests of hostile input share: limits within which an attack must be refused, and bad names."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS = 20
MEGABYTES = 1500
"""Room to load a library and to read a small file; each bomb of the tests is larger."""

ESCAPES = "\x1b[31mred\x1b]0;title\x07\r\n\x00\x9b2J\u202egnp|`<b>\\"
"""Colour, the terminal's title, a new line, NUL, the 8-bit CSI, text from right to left, Markdown, HTML."""

RAW = "\x1b\x07\r\x00\x9b\u202e"
"""Characters of these that no command may print."""

posix = pytest.mark.skipif(os.name == "nt", reason="pipes, devices and links of POSIX")


@contextmanager
def bounded(seconds: int = SECONDS, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Fail what takes too long or, on Linux, makes room for too much beyond what the process has."""
    if os.name == "nt":
        yield
        return
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(seconds)
    if used is not None:
        resource.setrlimit(resource.RLIMIT_AS, (used * resource.getpagesize() + (megabytes << 20), before[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


class TooSlow(BaseException):
    """Raised by the alarm; no `except Exception` catches it."""


def _too_slow(_signal: int, _frame: object) -> None:
    raise TooSlow
