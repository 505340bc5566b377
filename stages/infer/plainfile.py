"""Files that others made: what must be known of one before it is opened."""

import errno
import os
import stat
from pathlib import Path


def why_unreadable(path: Path, most: int) -> str | None:
    """Say in a few words why a file must not be opened, None where it may be.

    A pipe would make its reader wait for ever, a device such as /dev/zero never ends, and a file may be larger
    than memory. A link is what it leads to.

    Parameters
    ----------
    path : of the file
    most : bytes that it may have
    """
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or type(error).__name__
    if stat.S_ISDIR(status.st_mode):
        return os.strerror(errno.EISDIR)
    if not stat.S_ISREG(status.st_mode):
        return "a device, pipe or socket and no file"
    return f"{status.st_size} bytes, and {most} are the most" if status.st_size > most else None
