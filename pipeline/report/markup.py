"""HTML and SVG elements, every text in them escaped."""

from html import escape

from logitpipe.console.text import printable


class Html(str):
    """Markup, as opposed to text: what is not of this type is escaped where it enters an element."""


def tag(element: str, /, *children: str, **attributes: str | float | None) -> Html:
    """Return an element.

    Parameters
    ----------
    children : markup as it is, any other text escaped
    attributes : a trailing `_` keeps a name from being a keyword, other `_` stand for `-`; None is left out
    """
    words = [
        f' {key.removesuffix("_").replace("_", "-")}="{_quoted(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = f"<{element}{''.join(words)}>"
    return Html(opening if element in VOID_ELEMENTS else f"{opening}{joined(*children)}</{element}>")


def joined(*children: str) -> Html:
    """Return markup and text one after another."""
    # The one place where text becomes markup: names of stores and images are data, and may hold tags.
    return Html("".join(child if isinstance(child, Html) else escape(printable(child)) for child in children))


def fold(words: str, *children: str, anchor: str | None = None, class_: str | None = None) -> Html:
    """Return a collapsed <details> element; a link to an element inside it opens it."""
    return tag("details", tag("summary", words), tag("div", *children, id=anchor), class_=class_)


VOID_ELEMENTS = ("img", "meta", "br")


def _quoted(value: str | float) -> str:
    if isinstance(value, Html):
        return value
    return escape(printable(value)) if isinstance(value, str) else f"{value:.6g}"
