"""Locks on bytes of a file as the operating system gives them: they end with the process that took them."""

import errno
import os
import struct
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
CANNOT_LOCK = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

FLOCK = {
    "linux": ("hhqqi4x", ("type", "whence", "start", "len", "pid")),
    "darwin": ("qqihh", ("start", "len", "pid", "type", "whence")),
}
"""C's `struct flock` on systems where it is known: its layout, and the names of its members."""


class TakenError(Exception):
    """Another process has one of the bytes."""


def lock_bytes(descriptor: int, bytes_: range) -> bool:
    """Lock bytes of an open file; they need not exist. Return False where the file system cannot lock at all.

    Raises
    ------
    TakenError
        Another process has one of them.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, bytes_.start, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, len(bytes_))
        else:
            # POSIX record locks, not `flock`: they cover single bytes, and end with the process however it ends.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, len(bytes_), bytes_.start)
    except OSError as error:
        if error.errno in TAKEN:
            raise TakenError from error
        if error.errno not in CANNOT_LOCK:
            raise
        return False
    return True


def unlock_bytes(descriptor: int, bytes_: range) -> None:
    """Unlock bytes that were locked; a file system that cannot lock need not unlock either."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, bytes_.start, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, len(bytes_))
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, len(bytes_), bytes_.start)
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise


def holder(descriptor: int, bytes_: range) -> tuple[int | None, int]:
    """Return the pid that holds one of the bytes (None where that is not known) and the first byte it holds.

    On a network drive the process may be one of another machine.
    """
    if sys.platform == "win32" or sys.platform not in FLOCK:
        return None, bytes_.start
    layout, members = FLOCK[sys.platform]
    asked = {"type": fcntl.F_WRLCK, "whence": os.SEEK_SET, "start": bytes_.start, "len": len(bytes_), "pid": 0}
    # Only fcntl tells who holds a lock; `fcntl.lockf` does not. The struct must have the C library's own layout.
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(layout, *(asked[name] for name in members)))
    found = dict(zip(members, struct.unpack(layout, answer), strict=True))
    if found["type"] == fcntl.F_UNLCK:  # it was let go meanwhile
        return None, bytes_.start
    # The other process's lock may begin before the bytes that were asked for.
    return found["pid"] or None, max(found["start"], bytes_.start)
