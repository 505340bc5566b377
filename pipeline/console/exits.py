"""The exit codes of `pipe`, and which of them an error deserves."""

from logitpipe.cache.errors import IncompleteError, IntegrityError, PipeError, UsageError

DONE, FAILED, USAGE, INCOMPLETE, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 4, 130

BY_SIGNAL = 128
"""Plus the signal's number, as shells have it: 129 by SIGHUP, 143 by SIGTERM."""


def exit_code(error: PipeError) -> int:
    """Return 2 for wrong usage, 3 for what is incomplete, 4 for what is damaged, 1 for any other failure."""
    codes = {UsageError: USAGE, IncompleteError: INCOMPLETE, IntegrityError: DAMAGED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), FAILED)
