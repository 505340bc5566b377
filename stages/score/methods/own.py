"""Methods of one's own: a plain Python function, named as FILE.py:FUNCTION, scores as the built-in ones do.

For pixel networks the function takes what it names of `logits`, float32 (K, h, w) of the known classes at the
evaluation size, a band of rows at a time, and `p`, their softmax(logits / T). For mask networks it takes what it
names of `S` (K, h, w) and `M` (Q, h, w), both float32 at the evaluation size, `P` (Q, K + 1), the softmax of the
class logits over the known classes and, last, the rest, and `z`, the raw class logits (Q, K + 1). Either kind may ask
for `T`, the temperature, a mask network's function also for `T_S` and `T_m`. It returns scores (h, w), higher for
what is more anomalous.

A function is computed at every temperature that it names, or that its attribute `temperatures` names, as
`f.temperatures = ("T", "T_m")`. With `f.at = "masks"` the maps have the size of the masks, all rows at once, and its
scores are resampled.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from logitpipe.cache import UsageError
from logitpipe.cache.errors import PipeError
from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.methods import Method
from logitpipe.stages.score.methods.method import TEMPERATURES, Own
from logitpipe.stages.score.methods.scales import Scale

ASKS = {"pixel": ("logits", "p", "T"), "mask": ("S", "M", "P", "z", "T", "T_S", "T_m")}
"""What a function may ask for by the names of its parameters, by kind of network."""

SHARED = ("P", "z")
"""What is the same for all bands of an image."""

PLACES = ("evaluation", "masks")
"""What the attribute `at` may be; the first is the default."""

OWN_SCALE = Scale(
    rank=lambda s, _T, _K: np.asarray(s, np.float64),
    formula=lambda rank, _T, _K: np.asarray(rank, np.float64),
    bins=Bins(11, negative=(-60, 60), positive=(-60, 60)),
)
"""Scores of any size: what their bins leave open, a second walk puts in order."""


def load_own(name: str) -> Method:
    """Return the method that a function in a file is: FILE.py:FUNCTION.

    Raises
    ------
    UsageError
        There is no such file or function, or it asks for something that no network has.
    """
    file, _, attribute = name.rpartition(":")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(f"logitpipe_own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"there is no file {path}", option="methods", value=name)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up there while it is run. It does not stay: who scores on another machine is sent
    # the function itself.
    sys.modules[spec.name] = module
    try:
        # It is the user's own file, named in the command: code that runs here is code they asked for.
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever is wrong with a user's file
        raise UsageError(
            f"{path} cannot be run ({type(error).__name__}: {error})", option="methods", value=name
        ) from error
    finally:
        del sys.modules[spec.name]
    function = getattr(module, attribute, None)
    if not callable(function):
        raise UsageError(f"{path} has no function {attribute!r}", option="methods", value=name)
    return own_method(name, function)


def own_method(name: str, function: Callable[..., np.ndarray]) -> Method:
    """Return the method that a function is; UsageError where it asks for something that no network has."""
    try:
        names = arguments(function)
    except (TypeError, ValueError):  # one that is written in C tells nobody what it asks for
        names = ("what cannot be found out",)
    if not any(set(names) <= set(known) for known in ASKS.values()) or set(names) <= set(TEMPERATURES):
        raise UsageError(
            "a function asks for logits, p and T, or for some of S, M, P, z, T, T_S and T_m, by its parameters' "
            f"names; this one asks for {', '.join(names) or 'nothing'}",
            option="methods",
            value=name,
        )
    # As attributes, since parameters are what the function takes from the image.
    at, changed = getattr(function, "at", PLACES[0]), getattr(function, "temperatures", ())
    if at not in PLACES:
        raise UsageError(f"`at` is {' or '.join(PLACES)}, found {at!r}", option="methods", value=name)
    if isinstance(changed, str) or not set(changed) <= set(TEMPERATURES):
        known = ", ".join(TEMPERATURES)
        raise UsageError(f"`temperatures` are some of {known}, found {changed!r}", option="methods", value=name)
    temperatures = tuple(each for each in TEMPERATURES if each in names or each in changed)
    own = Own(function, at_masks=at == "masks")
    return Method(name, "a function of your own", temperatures, OWN_SCALE, own, function)


def arguments(function: Callable[..., object]) -> tuple[str, ...]:
    """Return what a function asks for by the names of its parameters; others that have a default keep it."""
    known = {name for names in ASKS.values() for name in names}
    parameters = inspect.signature(function).parameters
    return tuple(name for name, each in parameters.items() if name in known or each.default is each.empty)


def serves(method: Method, kind: str) -> bool:
    """Return whether a network of a kind has all that a function asks for."""
    asked = {*arguments(method.reference), *method.temperatures}
    at_masks = isinstance(method.computed, Own) and method.computed.at_masks
    return asked <= set(ASKS[kind]) and not (at_masks and kind == "pixel")


def score_band(method: Method, given: Mapping[str, object], shape: tuple[int, int]) -> np.ndarray:
    """Return what a function gives for a band of rows: float32 (h, w).

    Raises
    ------
    PipeError
        The function raises, or returns another shape, or NaN.
    """
    # Copies of what other bands are given as well: a function may change what it gets.
    wanted = {name: np.array(given[name]) if name in SHARED else given[name] for name in arguments(method.reference)}
    try:
        scores = np.asarray(method.reference(**wanted), np.float32)
    except (Exception, SystemExit) as error:  # whatever a user's function does
        raise PipeError(f"{method.formula} raised {type(error).__name__}: {error}") from error
    if scores.shape != shape or np.isnan(scores).any():
        found = f"scores of {scores.shape}" if scores.shape != shape else "NaN"
        raise PipeError(f"{method.formula}: scores of {shape} without NaN were expected, {found} came")
    return scores
