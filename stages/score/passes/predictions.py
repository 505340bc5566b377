"""Which known class a network predicts at each pixel: it shows whether the channels have the right names."""

from dataclasses import replace

import numpy as np

from logitpipe.cache import Schema
from logitpipe.stages.score.methods.own import own_method
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import Protocol

CLASSES = "classes"
"""Name under which a plan has the map."""


def largest_logit(logits: np.ndarray) -> np.ndarray:
    """Class of the largest of the logits, (K, h, w), of a pixel network; void and outlier are none of them."""
    return logits.argmax(axis=0)


def largest_share(S: np.ndarray) -> np.ndarray:
    """Class of the largest S_k, (K, h, w), of a mask network: its semantic map, as its authors find it."""
    return S.argmax(axis=0)


def plan_classes(schema: Schema, protocol: Protocol) -> Plan:
    """Plan the map of predicted classes, whose scores are indices into `class_names`."""
    function = largest_logit if schema.kind == "pixel" else largest_share
    own = {CLASSES: own_method(CLASSES, function)}
    return make_plan(schema, replace(protocol, void_channel=False), [], [1.0], functions=own)


def class_names(schema: Schema) -> list[str]:
    """Return the names of the known classes, in the order of their channels."""
    return [name for c, name in enumerate(schema.classes) if c != schema.unknown_class]
