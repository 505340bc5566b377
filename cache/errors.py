"""The errors that a user can cause: each states the invariant and what was found, as fields that callers can read.

What to *do* about an error depends on who is told: at the command line it is a flag, in Python an argument. So an
error only names its remedy, and `logitpipe.console.advice` has the words for the command line.
"""


class PipeError(Exception):
    """A failure with a clear cause.

    Parameters
    ----------
    message : the invariant and what was found, with neither flags nor advice
    remedy : what can be done about it, a key of `logitpipe.console.advice.ADVICE`; None where the message says it all
    option : what was given that the message is about, by its name in Python, such as `label_codes`; the command line
        makes a flag of it. None where it is about no single one
    value : what was given there, where that helps to find it
    details : what the words of the remedy need besides, by name
    """

    def __init__(
        self,
        message: str,
        remedy: str | None = None,
        *,
        option: str | None = None,
        value: object = None,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.option, self.value = option, value
        self.details = details

    def __str__(self) -> str:
        return self.about(self.option)

    def about(self, option: str | None) -> str:
        """Return the message with what it is about in front, under the name that whoever is told knows it by."""
        message = super().__str__()
        if option is None:
            return message
        return f"{option}: {message}" if self.value is None else f"{option} {self.value}: {message}"


class UsageError(PipeError):
    """What was asked for means nothing, whatever the data: a name that does not exist, a value of another form."""


class IncompleteError(PipeError):
    """A store, or a run over it, lacks images that it should have."""


class UnreachableError(PipeError):
    """A server does not hand out a store's bytes: nothing is known of them, neither that they are there nor sound."""


class IntegrityError(PipeError):
    """Stored bytes are not the bytes that were committed.

    Parameters
    ----------
    fault : what is wrong, without saying where
    store : path or URL of the store; None while whoever found the fault does not know it
    image : name of the image that is lost by it; None for metadata, which belongs to all images
    file : key of the file below the store; None where no single file is to blame
    remedy, details : as for `PipeError`
    """

    def __init__(
        self,
        fault: str,
        store: object = None,
        image: str | None = None,
        file: str | None = None,
        remedy: str | None = None,
        **details: object,
    ) -> None:
        super().__init__(fault, remedy)
        self.details = details
        self.fault, self.store, self.image, self.file = fault, store, image, file

    def __str__(self) -> str:
        where = [self.store, None if self.image is None else f"image {self.image!r}", self.file]
        return ": ".join(str(part) for part in (*where, self.fault) if part is not None)

    def at(self, store: object = None, image: str | None = None, file: str | None = None) -> "IntegrityError":
        """Return the same fault with its place told more fully; a field that is known already stays."""
        return IntegrityError(
            self.fault,
            self.store if self.store is not None else store,
            self.image if self.image is not None else image,
            self.file if self.file is not None else file,
            self.remedy,
            **self.details,
        )
