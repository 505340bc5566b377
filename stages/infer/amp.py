"""Error of mixed precision: one picture runs through the network with --amp and in float32."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from logitpipe.cache.format import Schema
from logitpipe.cache.format.schema import AMP_CHANGE
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.device.transfer import Transfer
from logitpipe.stages.infer.forward import launch
from logitpipe.stages.infer.model import Model


def with_change(schema: Schema, model: Model, dataset: DataSet) -> Schema:
    """Return the schema with what the model's --amp changes among its `software`; without --amp as it is.

    That is measured on the first picture of the data set, not of a shard, so that all shards find the same.

    Raises
    ------
    PipeError
        The picture cannot be decoded, its logits are not finite, or the device has too little memory.
    """
    if model.amp == "none":
        return schema
    sample = dataset.samples[0]
    # Without its mask's rules: only the pixels are looked at.
    prepared = prepare(sample, model.resize)
    # In float32 both, so that the rounding to the store's precision is not counted as autocast's.
    exact, rounded = (
        launch(each, Transfer(model.device), [prepared], "float32", [sample.name])[0]()
        for each in (replace(model, amp="none"), model)
    )
    change = f"{_change(exact, rounded)} of {sample.name!r}"
    return replace(schema, software={**schema.software, AMP_CHANGE: change})


def _change(exact: Mapping[str, np.ndarray], rounded: Mapping[str, np.ndarray]) -> str:
    """Say how far the logits of one picture are apart, by array, and where the argmax of its classes is another."""
    apart = {array: np.abs(exact[array] - rounded[array]) for array in exact}
    words = [f"{array} by up to {d.max():.3g} and {d.mean():.3g} on average" for array, d in apart.items()]
    array, axis, what = ("logits", 0, "pixels") if "logits" in exact else ("class_logits", -1, "queries")
    changed = (exact[array].argmax(axis) != rounded[array].argmax(axis)).mean()
    return f"{', '.join(words)}, and the argmax in {100 * changed:.3g} % of the {what}"
