"""Methods as they are given in Python: by name, or as functions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from logitpipe.cache.errors import UsageError

if TYPE_CHECKING:
    from logitpipe.stages.score.methods import Method

OneMethod = str | Callable[..., np.ndarray]
"""A name (`msp`, `FILE.py:FUNCTION`), or a function as docs/extending.md describes it."""


def as_methods(
    given: OneMethod | Sequence[OneMethod],
) -> "tuple[list[str], dict[str, Method]]":
    """Return the names of methods as they were given, and those that are functions by their names.

    A function that is called like a built-in method is `own:NAME`.

    Raises
    ------
    UsageError
        Two functions have one name, or one asks for something that no network has.
    """
    from logitpipe.stages.score.methods import METHOD_NAMES
    from logitpipe.stages.score.methods.names import split_list
    from logitpipe.stages.score.methods.own import own_method

    each = [given] if isinstance(given, str) or callable(given) else list(given)
    names = [name for text in each if isinstance(text, str) for name in split_list(text)]
    functions: dict[str, Method] = {}
    for function in each:
        if isinstance(function, str):
            continue
        name = getattr(function, "__name__", type(function).__name__)
        if name in METHOD_NAMES:  # its figures must not pass for those of the method that is built in
            name = f"own:{name}"
        if name in functions:
            raise UsageError(
                f"two functions are called {name!r}, and results could not tell them apart", option="methods"
            )
        functions[name] = own_method(name, function)
    return names, functions
