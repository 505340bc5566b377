"""The errors that a user can cause, and what the command line makes of each."""


class PipeError(Exception):
    """A failure with a clear cause: the message says what was expected, what was found and what to do."""


class UsageError(PipeError):
    """What was asked for means nothing, whatever the data: a name that does not exist, a value of another form."""


class IncompleteError(PipeError):
    """A store, or a run over it, lacks images that it should have."""


class UnreachableError(PipeError):
    """A server does not hand out a store's bytes: nothing is known of them, neither that they are there nor sound."""


class IntegrityError(PipeError):
    """Stored bytes are not the bytes that were committed."""
