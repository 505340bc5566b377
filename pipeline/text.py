"""Names are data: what a terminal would act on is shown as an escape."""


def printable(text: str) -> str:
    """Return text without control characters or lone surrogates: each as its Python escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
