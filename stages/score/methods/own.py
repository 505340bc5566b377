"""Methods of one's own: a plain Python function, named as FILE.py:FUNCTION, scores as the built-in ones do.

For pixel networks the function takes `logits`, float32 (K, h, w) of the known classes at the evaluation size, a band
of rows at a time. For mask networks it takes what it names of `S` (K, h, w) and `M` (Q, h, w), both float32 at the
evaluation size, `P` (Q, K + 1), the softmax of the class logits over the known classes and, last, the rest, and `z`,
the raw class logits (Q, K + 1). Either kind may ask for `T`, the temperature: a function that does not has none. It
returns scores (h, w), higher for what is more anomalous.
"""

import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from logitpipe.cache import UsageError
from logitpipe.cache.errors import PipeError
from logitpipe.stages.score.kernels.counting import Bins
from logitpipe.stages.score.methods import Method
from logitpipe.stages.score.methods.scales import Scale

ASKS = {"pixel": ("logits", "T"), "mask": ("S", "M", "P", "z", "T")}
"""What a function may ask for by the names of its parameters, by kind of network."""

OWN_SCALE = Scale(
    rank=lambda s, _T, _K: np.asarray(s, np.float64),
    formula=lambda rank, _T, _K: np.asarray(rank, np.float64),
    bins=Bins(11, negative=(-60, 60), positive=(-60, 60)),
)
"""Scores of any size: what their bins leave open, a second walk puts in order."""

_NAME = re.compile(r"(.+\.py):(\w+)")


def is_own(name: str) -> bool:
    """Return whether the name of a method names a function in a file."""
    return _NAME.fullmatch(name) is not None


def load_own(name: str) -> Method:
    """Return the method that a function in a file is: FILE.py:FUNCTION.

    Raises
    ------
    UsageError
        There is no such file or function, or it asks for something that no network has.
    """
    match = _NAME.fullmatch(name)
    assert match, name
    path, attribute = Path(match[1]), match[2]
    spec = importlib.util.spec_from_file_location(f"logitpipe_own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"there is no file {path}", option="methods", value=name)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever is wrong with a user's file
        raise UsageError(
            f"{path} cannot be run ({type(error).__name__}: {error})", option="methods", value=name
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise UsageError(f"{path} has no function {attribute!r}", option="methods", value=name)
    return own_method(name, function)


def own_method(name: str, function: Callable[..., np.ndarray]) -> Method:
    """Return the method that a function is; UsageError where it asks for something that no network has."""
    asked = list(inspect.signature(function).parameters)
    if not any(set(asked) <= set(known) for known in ASKS.values()) or set(asked) <= {"T"}:
        raise UsageError(
            "a function asks for logits and T, or for some of S, M, P, z and T, by its parameters' names; "
            f"this one asks for {', '.join(asked) or 'nothing'}",
            option="methods",
            value=name,
        )
    return Method(-1, "T" in asked, OWN_SCALE, name, function, own=True)


def serves(method: Method, kind: str) -> bool:
    """Return whether a network of a kind has all that a function asks for."""
    return set(inspect.signature(method.reference).parameters) <= set(ASKS[kind])


def score_band(method: Method, given: Mapping[str, object], shape: tuple[int, int]) -> np.ndarray:
    """Return what a function gives for a band of rows: float32 (h, w).

    Raises
    ------
    PipeError
        The function raises, or returns another shape, or NaN.
    """
    wanted = {name: given[name] for name in inspect.signature(method.reference).parameters}
    try:
        scores = np.asarray(method.reference(**wanted), np.float32)
    except Exception as error:  # whatever a user's function does
        raise PipeError(f"{method.formula} raised {type(error).__name__}: {error}") from error
    if scores.shape != shape or np.isnan(scores).any():
        found = f"scores of {scores.shape}" if scores.shape != shape else "NaN"
        raise PipeError(f"{method.formula}: scores of {shape} without NaN were expected, {found} came")
    return scores
