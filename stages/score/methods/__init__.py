"""Every post-hoc method: formula, source, how it is computed and how its scores are counted.

A new method of the sums that there are is one entry in `pixel.py` or `mask.py`: a finisher, and its formula in
float64 beside it.
"""

from logitpipe.stages.score.methods.mask import MASK_METHODS
from logitpipe.stages.score.methods.method import Method
from logitpipe.stages.score.methods.pixel import PIXEL_METHODS

METHODS: dict[str, dict[str, Method]] = {"pixel": PIXEL_METHODS, "mask": MASK_METHODS}
"""Methods by kind of network and by name."""

METHOD_NAMES = tuple(dict.fromkeys(name for methods in METHODS.values() for name in methods))
"""All names, whichever kind of network they are for."""

CORE = tuple(dict.fromkeys(name for each in METHODS.values() for name, method in each.items() if method.core))
"""Names of the methods that are computed where none is named."""
