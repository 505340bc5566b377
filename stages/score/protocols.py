"""The choices that make published numbers differ, each by name; a protocol is a frozen set of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from logitpipe.cache import UsageError
from logitpipe.stages.score.figures.reading import Area, Pooling, Reading, Rule
from logitpipe.stages.score.labels.codes import LabelCodes
from logitpipe.stages.score.methods import METHOD_NAMES

Size = Literal["mask", "network"]
SigmoidPlace = Literal["network", "masks"]
Ties = Literal["none", "float32"]


@dataclass(frozen=True)
class Protocol:
    """How a store becomes figures.

    Parameters
    ----------
    name : as reports print it
    label_codes : what the codes of a mask mean; None: what the store says, or else the standard codes
    void_as_anomaly_on : data sets on which void counts as anomaly
    skip_without_anomaly : leave out images that show no anomaly at the evaluation size
    pixel_size : evaluation size of pixel stores: the mask's, or that of the picture as it was resized for the network
        (then the mask is resampled)
    void_channel : whether a pixel network's void channel takes part in softmax, maximum, entropy and energy
    sigmoid_at : where the sigmoid of mask logits is taken: as the "network"'s authors do, or at the "masks"' own size
    normalise_first : mask `msp` and `entropy`: divide S by its sum before it is resampled, not after
    sum_epsilon : mask `msp` and `entropy`: what is added to the sum of S before S is divided by it
    drop_last_class : mask `msp` and `entropy`: the last known class takes part in the sum of S, and in nothing else
    min_max : methods whose scores are brought to 0..1 in each image before they are pooled
    thin_above : mask stores with more pixels than this keep every tenth (None: all are kept)
    ties : "float32": where a score is 1 - max p, both are rounded to float32, so that confident pixels tie at 0
    fpr, auprc, pooling : as `figures.reading.Reading` has them
    """

    name: str
    label_codes: LabelCodes | None = None
    void_as_anomaly_on: frozenset[str] = frozenset()
    skip_without_anomaly: bool = False
    pixel_size: Size = "mask"
    void_channel: bool = False
    sigmoid_at: SigmoidPlace = "network"
    normalise_first: bool = False
    sum_epsilon: float = 0.0
    drop_last_class: bool = False
    min_max: frozenset[str] = field(default=frozenset())
    thin_above: int | None = None
    ties: Ties = "none"
    fpr: Rule = "first"
    auprc: Area = "step"
    pooling: Pooling = "pixels"

    @property
    def reading(self) -> Reading:
        """How figures are read off curves."""
        return Reading(self.fpr, self.auprc, self.pooling)


PROTOCOLS: dict[str, Protocol] = {
    "standard": Protocol("standard"),
    "course": Protocol("course", skip_without_anomaly=True, pixel_size="network", sigmoid_at="masks", fpr="linear"),
    "legacy": Protocol(
        "legacy",
        void_as_anomaly_on=frozenset({"fs_static", "FS_LostFound_full"}),
        skip_without_anomaly=True,
        pixel_size="network",
        void_channel=True,
        sigmoid_at="masks",
        normalise_first=True,
        min_max=frozenset({"maxlogit", "entropy", "rba-normalized"}),
        thin_above=20_000_000,
        fpr="linear",
    ),
}

_YES_NO = {"yes": True, "no": False}
_WORDS = {
    "pixel_size": Size,
    "sigmoid_at": SigmoidPlace,
    "ties": Ties,
    "fpr": Rule,
    "auprc": Area,
    "pooling": Pooling,
}
"""Fields whose value is one of a few words."""


def with_choices(protocol: Protocol, choices: Mapping[str, str]) -> Protocol:
    """Return a protocol with single fields set anew; its name then says so.

    Parameters
    ----------
    choices : field name (with `-` or `_`) -> value as text: yes/no, a word, a number, `none`, or a comma list

    Raises
    ------
    UsageError
        A field or a value that does not exist.
    """
    known = {f.name for f in fields(Protocol)} - {"name"}
    for name, text in choices.items():
        key = name.replace("-", "_")
        if key not in known:
            raise UsageError(
                f"no such field of a protocol; there are {', '.join(sorted(known)).replace('_', '-')}",
                option="set",
                value=name,
            )
        value: Any = _parse(key, text)
        # The name goes into every row: figures of a changed protocol cannot pass for those of the original.
        protocol = replace(protocol, **{key: value}, name=f"{protocol.name}+{name}={text}")
    return protocol


def alternatives(dataset: str) -> dict[str, tuple[str, ...]]:
    """Return the values, as text, that are worth a try for each field: words, yes and no, and what is in use.

    What the codes of the masks mean is not among them: that is no choice.

    Parameters
    ----------
    dataset : the data set of which void may count as anomaly
    """
    found: dict[str, tuple[str, ...]] = {}
    for each in fields(Protocol):
        if each.name in _WORDS:
            found[each.name] = get_args(_WORDS[each.name])
        elif isinstance(each.default, bool):
            found[each.name] = tuple(_YES_NO)
    in_use = {",".join(sorted(protocol.min_max)) or "none": None for protocol in PROTOCOLS.values()}
    sizes = {str(protocol.thin_above or "none"): None for protocol in PROTOCOLS.values()}
    return found | {
        "void_as_anomaly_on": ("none", dataset),
        "min_max": tuple(in_use),
        "thin_above": tuple(sizes),
        "sum_epsilon": ("0", "1e-8", "1e-6"),
    }


def to_document(protocol: Protocol) -> dict[str, Any]:
    """Return a protocol with all its fields as JSON has it; `from_document` reads it back."""
    plain = asdict(protocol)
    # JSON has no sets, and a sorted list makes equal protocols equal texts.
    if protocol.label_codes:
        plain["label_codes"] = {meaning: sorted(codes) for meaning, codes in plain["label_codes"].items()}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in plain.items()}


def from_document(document: Mapping[str, Any]) -> Protocol:
    """Return the protocol that `to_document` wrote down.

    Raises
    ------
    KeyError, TypeError
        It is not one.
    """
    codes = {meaning: frozenset(codes) for meaning, codes in (document["label_codes"] or {}).items()}
    sets = {name: frozenset(document[name]) for name in ("void_as_anomaly_on", "min_max")}
    return Protocol(**{**document, **sets, "label_codes": LabelCodes(**codes) if codes else None})


def _words(kind: object) -> dict[str, object]:
    return {word: word for word in get_args(kind)}


def _parse(key: str, text: str) -> object:
    values: dict[str, Mapping[str, object]] = {
        "skip_without_anomaly": _YES_NO,
        "void_channel": _YES_NO,
        "normalise_first": _YES_NO,
        "drop_last_class": _YES_NO,
        **{name: _words(kind) for name, kind in _WORDS.items()},
    }
    if key == "label_codes":
        return LabelCodes.parse(text)
    if key == "thin_above":
        if text != "none" and not (text.isdecimal() and len(text) < 16):
            raise UsageError(f"a number of pixels or `none` is expected, found {text!r}", option="set", value=key)
        return None if text == "none" else int(text)
    if key == "sum_epsilon":
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise UsageError(f"a number from 0 to 1 is expected, found {text!r}", option="set", value=key)
        return number
    if key in values:
        if text not in values[key]:
            raise UsageError(f"{' or '.join(values[key])} is expected, found {text!r}", option="set", value=key)
        return values[key][text]
    names = frozenset() if text == "none" else frozenset(text.split(","))
    if key == "min_max" and (unknown := sorted(names.difference(METHOD_NAMES))):
        raise UsageError(f"{unknown[0]!r} is no method; there are {', '.join(METHOD_NAMES)}", option="set", value=key)
    return names
