"""Which channel of a network is which class: declared by a user, by a checkpoint's own files or by a convention."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.classes import CLASS_LISTS
from logitpipe.stages.infer.plainfile import why_unreadable

FIRST, LAST, NONE = "first", "last", "none"

MOST_BYTES = 1 << 20
"""Of a file with names of classes."""

REMEDY = "declare-classes"


@dataclass(frozen=True)
class Channels:
    """Names of a network's channels in their order, and what they rest on.

    Parameters
    ----------
    names : of all channels that the logits have, void and outlier among them; "no object" of mask networks is none
    void : index of the channel that was trained on what has no class, None where there is none
    outlier : index of the channel that was trained on outliers, None where there is none
    basis : who says so, for people
    """

    names: tuple[str, ...]
    void: int | None
    outlier: int | None
    basis: str

    def __str__(self) -> str:
        roles = {self.void: "void", self.outlier: "outlier"}
        special = [
            f"{index} is {role}" + (f" ({self.names[index]})" if self.names[index] != role else "")
            for index, role in roles.items()
            if index is not None
        ]
        classes = [index for index in range(len(self.names)) if index not in roles]
        shown = [f"{index} {self.names[index]}" for index in classes]
        if len(shown) > 3:
            shown = [shown[0], shown[1], "...", shown[-1]]
        parts = [f"{len(classes)} classes ({', '.join(shown)})", *(special or ["none is void"])]
        return f"{', '.join(parts)}; {self.basis}"


def name_channels(
    count: int,
    classes: str | Sequence[str] | None,
    void: str | None,
    outlier: str | None,
    basis: str,
) -> Channels:
    """Name the channels of a network.

    A void or outlier channel at the first or last place is added to the names where these are fewer than the
    channels; otherwise it is the first or last of them.

    Parameters
    ----------
    count : of channels
    classes : names; or a key of `CLASS_LISTS`; or the path of a file with a name on each line
    void, outlier : "first", "last", one of the names, or "none", as is None
    basis : who says so, for people

    Raises
    ------
    PipeError
        Nothing names the channels, or the names do not fit them.
    """
    if classes is None:
        raise UsageError(f"nothing says which classes the network's {count} channels are", REMEDY)
    names = read_classes(classes) if isinstance(classes, str) else list(classes)
    if void == outlier and void not in (None, NONE):
        raise UsageError(f"void and outlier cannot both be the class {void!r}", REMEDY)
    roles: dict[str, str] = {}
    for role, place in (("void", void), ("outlier", outlier)):
        # Lists of classes name no void; a network that was trained with one has a channel more.
        if place in (FIRST, LAST) and len(names) < count:
            names.insert(0 if place == FIRST else len(names), role)
            roles[role] = role
        elif place not in (None, NONE):
            roles[role] = names[0] if place == FIRST else names[-1] if place == LAST else place
    if len(names) != count:
        raise UsageError(f"{len(names)} classes are declared, and the network has {count} channels", REMEDY)
    # Scores are computed by channel, but label spaces find classes by name.
    if len(set(names)) < count:
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two channels are both called {twice!r}", REMEDY)
    if absent := [role for role in roles if roles[role] not in names]:
        raise UsageError(f"the {absent[0]} class is none of the channels' names: {roles[absent[0]]!r}", REMEDY)
    places = {role: names.index(name) for role, name in roles.items()}
    return Channels(tuple(names), places.get("void"), places.get("outlier"), basis)


def read_classes(name: str) -> list[str]:
    """Return the names of a known list, or those of a file, one on each line."""
    if name in CLASS_LISTS:
        return list(CLASS_LISTS[name])
    if reason := why_unreadable(Path(name), MOST_BYTES):
        raise PipeError(f"classes are {', '.join(CLASS_LISTS)} or a file of names; {name}: {reason}")
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PipeError(f"a file of classes is text, one name on each line; {name} is not: {error}") from error
    return [line.strip() for line in lines if line.strip()]
