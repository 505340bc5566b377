"""Methods as people type them: in any case, by other names, with parameters such as `gen:gamma=0.1,top=19`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from logitpipe.cache import UsageError
from logitpipe.stages.score.methods import CORE, METHOD_NAMES, METHODS, Method
from logitpipe.stages.score.methods.method import Parameter

NOTES = {
    "rba": "rba is -sum_k tanh(S_k), as its paper has it; course tables mean rba-normalized by RbA, and the IoU "
    "script of the pixel-versus-mask comparison means rba-plus1",
}
"""What is said to whoever types such a name in another way, as it is in use for several formulas."""

GROUPS = {"core": CORE, "all": METHOD_NAMES}
"""Names for several methods at once."""

STANDARD = "z:"
"""Begins the name of a mean of z-scores, as in z:msp or z:msp+maxlogit."""

_JOINED = re.compile(r"(?<=.)\+(?=[^+])")
"""A plus between two methods; the one at the end of `sml+` is none."""

_PARAMETERS = re.compile(r"([\w. +-]+):(\w+=.*)")
_OWN = re.compile(r"(.+\.py):(\w+)")


class Asked(NamedTuple):
    """A method that somebody asked for.

    Parameters
    ----------
    name : its id, or FILE.py:FUNCTION
    parameters : those that differ from their defaults, as `gamma=0.2,top=5`
    note : what there is to say about how it was typed; empty where nothing
    """

    name: str
    parameters: str = ""
    note: str = ""


def is_own(name: str) -> bool:
    """Return whether the name of a method names a function in a file."""
    return _OWN.fullmatch(name) is not None


def split_list(text: str) -> list[str]:
    """Return the methods of a comma list; a comma before NAME=VALUE goes on with the parameters of a method."""
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if found and re.fullmatch(r"\w+=[^:]*", part) and ":" in found[-1]:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def asked(texts: Sequence[str]) -> list[Asked]:
    """Return the methods that some texts ask for, `core` and `all` among them, each once.

    Raises
    ------
    UsageError
        There is no such method or parameter.
    """
    return list({(each.name, each.parameters): each for text in texts for each in _of_text(text)}.values())


def parts_of(name: str) -> list[tuple[str, str]]:
    """Return ids and parameters of the methods that a mean of z-scores is of; nothing for any other method."""
    if not name.startswith(STANDARD) or is_own(name):
        return []
    parts = (part.partition(":") for part in _JOINED.split(name.removeprefix(STANDARD)))
    return [(method, parameters) for method, _, parameters in parts]


def parse(name: str, text: str) -> dict[str, float | None]:
    """Return all parameters of a method by name, from `gamma=0.2,top=5` and its defaults.

    Raises
    ------
    UsageError
        It has no such parameter, or a value is none that it can take.
    """
    known = parameters_of(name)
    pairs = [part.partition("=")[::2] for part in text.split(",") if part]
    given = dict(pairs)
    if len(given) < len(pairs):
        raise UsageError(f"a parameter is given twice in {text!r}", option="methods", value=name)
    for key in given:
        if key not in known:
            there = f"its parameters are {', '.join(known)}" if known else "it has none"
            raise UsageError(f"there is no parameter {key!r}; {there}", option="methods", value=name)
    return {key: _value(name, key, given[key], each) if key in given else each.default for key, each in known.items()}


def parameters_of(name: str) -> Mapping[str, Parameter]:
    """Return the parameters of a method by its id; none of a function of the user's."""
    return next((methods[name].parameters for methods in METHODS.values() if name in methods), {})


def _of_text(text: str) -> Iterator[Asked]:
    if (group := text.strip().casefold()) in GROUPS:
        yield from map(Asked, GROUPS[group])
    elif is_own(text):
        yield Asked(text)
    elif text.strip().casefold().startswith(STANDARD):
        yield _standard(text)
    else:
        match = _PARAMETERS.fullmatch(text)
        typed, values = (match[1], match[2]) if match else (text, "")
        name = _find(typed)
        values = values.replace(" ", "")
        parsed = parse(name, values)
        changed = [
            f"{key}={value:.15g}"
            for key, value in parsed.items()
            if value is not None and value != _default(name, key)
        ]
        yield Asked(name, ",".join(changed), _note(typed, name))


def _standard(text: str) -> Asked:
    """Return a mean of z-scores: of methods by name, each once."""
    typed = [part.strip() for part in _JOINED.split(text.strip()[len(STANDARD) :])]
    if several := [part for part in typed if part.casefold() in GROUPS or is_own(part)]:
        raise UsageError(f"z-scores are those of methods by name, found {several[0]!r}", option="methods", value=text)
    parts = asked(typed)
    for part in parts:
        if any(methods[part.name].needs == "statistics" for methods in METHODS.values() if part.name in methods):
            found = f"{part.name} compares with fitted statistics itself, so that none are fitted of it"
            raise UsageError(found, option="methods", value=text)
    names = (f"{part.name}:{part.parameters}" if part.parameters else part.name for part in parts)
    return Asked(STANDARD + "+".join(names), note=next((part.note for part in parts if part.note), ""))


def _default(name: str, key: str) -> float | None:
    return parameters_of(name)[key].default


def _find(typed: str) -> str:
    """Return the id of a method, whatever case and name it goes by."""
    plain = _plain(typed)
    for name in METHOD_NAMES:
        if plain == name:
            return name
    # After the ids: no alias may hide a method of that very name.
    for name, method in _all():
        if plain in map(_plain, method.aliases):
            return name
    raise UsageError(f"{typed!r} is no method; there are {', '.join(METHOD_NAMES)}", option="methods")


def _all() -> Iterator[tuple[str, Method]]:
    for methods in METHODS.values():
        yield from methods.items()


def _plain(typed: str) -> str:
    return re.sub(r"[\s_]+", "-", typed.strip().casefold())


def _note(typed: str, name: str) -> str:
    """Return what to say where an id was typed otherwise than it is written, and that could surprise."""
    if typed == name:
        return ""
    if name in NOTES:
        return NOTES[name]
    return "" if _plain(typed) == name else f"{typed} is computed as {name}, which has the same order of scores"


def _value(name: str, key: str, text: str, parameter: Parameter) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    is_number = parameter.least <= value <= parameter.most and value not in parameter.excluded
    if not is_number or (parameter.whole and value != int(value)):
        kind = "a whole number" if parameter.whole else "a number"
        but = "".join(f" other than {each:g}" for each in parameter.excluded)
        raise UsageError(
            f"{key} is {kind} from {parameter.least:g} to {parameter.most:g}{but}, found {text!r}",
            option="methods",
            value=name,
        )
    return value
