"""Protocols in Python: one of the named ones, with single choices made anew."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from logitpipe.cache.errors import UsageError

if TYPE_CHECKING:
    from logitpipe.stages.score.protocols import Protocol


def protocol(name: str = "standard", **choices: object) -> "Protocol":
    """Return a protocol: the choices that make published figures differ.

    Parameters
    ----------
    name : `standard`, `course` or `legacy`
    choices : fields of the protocol with another value, such as `fpr="linear"` or `skip_without_anomaly=True`;
        several names as a list, None for none

    Raises
    ------
    PipeError
        There is no such protocol, field or value.

    Examples
    --------
    >>> import logitpipe as lp
    >>> lp.protocol("standard", fpr="linear").name
    'standard+fpr=linear'
    """
    from logitpipe.stages.score.protocols import PROTOCOLS, with_choices

    if name not in PROTOCOLS:
        raise UsageError(f"{name!r} is no protocol; there are {', '.join(PROTOCOLS)}", option="protocol")
    return with_choices(
        PROTOCOLS[name], {field.replace("_", "-"): _as_text(value) for field, value in choices.items()}
    )


def as_protocol(given: "str | Protocol", label_codes: str | None = None) -> "Protocol":
    """Return a protocol that was given by name or as it is, with label codes if they are given too."""
    from logitpipe.stages.score.protocols import with_choices

    found = protocol(given) if isinstance(given, str) else given
    return found if label_codes is None else with_choices(found, {"label-codes": label_codes})


def codes_by_dataset(label_codes: str | Mapping[str, str] | None) -> list[str]:
    """Return label codes as a run takes them: `CODES` for all data sets, `DATASET:CODES` for one."""
    if label_codes is None:
        return []
    return [label_codes] if isinstance(label_codes, str) else [f"{name}:{of}" for name, of in label_codes.items()]


def _as_text(value: object) -> str:
    """Return a value as the command line spells it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
