"""What a layout is: a way in which the files of a data set lie, and what the codes of its masks mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from logitpipe.stages.infer.data.tree import Tree

STANDARD_CODES = "normal=0,anomaly=1-2,void=255"
"""What most benchmarks of road anomalies write, and what every protocol knows."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """A picture and its ground truth, if it has any.

    Parameters
    ----------
    name : the picture's path below the folder of pictures, with `/` between folders on every system
    image, mask : the files
    """

    name: str
    image: Path
    mask: Path | None = None


@dataclass(frozen=True)
class Listing:
    """What lies in the folder of a data set.

    Parameters
    ----------
    samples : in any order, names unique
    foreign : files and folders among the pictures that are none, by their paths
    unclaimed : files among the masks that belong to no picture, by their paths
    """

    samples: Sequence[Sample]
    foreign: Sequence[str] = ()
    unclaimed: Sequence[str] = ()


@dataclass(frozen=True)
class Source:
    """Where a data set is to be had.

    Parameters
    ----------
    title : what the link gives
    link : of the archive, or of the page where one registers for it
    licence, size : as the publisher states them; empty where nothing is stated
    checksum : as published, with its kind, such as "md5 0123..."; empty where there is none
    """

    title: str
    link: str
    licence: str = ""
    size: str = ""
    checksum: str = ""


@dataclass(frozen=True)
class Codes:
    """What the masks of a layout hold.

    Parameters
    ----------
    labels : which codes are normal, anomaly and void, in the form of --label-codes
    closed_set : code of each known class by the class's name; empty where the masks name no classes
    palette : code of each colour, where masks are coloured pictures
    """

    labels: str = STANDARD_CODES
    closed_set: Mapping[str, int] = field(default_factory=dict)
    palette: Mapping[Colour, int] = field(default_factory=dict)


class Layout(Protocol):
    """How the files of a data set lie.

    An own layout is any object with these members; it takes part once it stands in `LAYOUTS`.

    Parameters
    ----------
    drawing : the tree, as `pipe list layouts` prints it
    sources : where such trees come from
    codes : what the masks hold
    general : whether it fits so many folders that any other layout that fits comes first
    """

    @property
    def drawing(self) -> str:
        """The tree, as `pipe list layouts` prints it."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where such trees come from."""

    @property
    def codes(self) -> Codes:
        """What the masks hold."""

    @property
    def general(self) -> bool:
        """Whether any other layout that fits comes first."""

    def recognises(self, tree: Tree) -> bool:
        """Return whether a folder looks like this layout."""

    def listing(self, tree: Tree) -> Listing:
        """Return the samples of a folder.

        Raises
        ------
        PipeError
            The folder cannot be of this layout; the message names what is in the way.
        """
