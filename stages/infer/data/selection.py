"""Which pictures of a data set a run takes: by pattern, by list, with masks only, the first so many."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.layout import Sample


@dataclass(frozen=True)
class Selection:
    """A choice of pictures; of what is left the order stays.

    Parameters
    ----------
    globs : patterns of names, of which one must match; `*` matches `/` too. Empty: all
    names_file : text file of names, one a line, with or without the picture's ending
    labelled_only : leave pictures without a mask out
    limit : take only so many, the first ones
    """

    globs: tuple[str, ...] = ()
    names_file: Path | None = None
    labelled_only: bool = False
    limit: int | None = None

    def of(self, samples: Sequence[Sample], where: Path) -> list[Sample]:
        """Return the samples that are wanted, in their order, before the limit.

        Parameters
        ----------
        samples : in order
        where : folder of the data set, for errors

        Raises
        ------
        PipeError
            Nothing is left, or the list names a picture that is not there.
        """
        wanted = list(samples)
        if self.globs:
            # Capitals count on every system: a selection stands in the store, and must mean the same wherever it is
            # continued.
            wanted = [sample for sample in wanted if any(fnmatchcase(sample.name, glob) for glob in self.globs)]
            if not wanted:
                few = ", ".join(sample.name for sample in samples[:3])
                raise PipeError(f"{where}: no picture is called {' or '.join(self.globs)}; the names are {few} ...")
        if self.names_file:
            wanted = self._listed(wanted, self.names_file, where)
        if self.labelled_only and not (wanted := [sample for sample in wanted if sample.mask]):
            raise PipeError(f"{where}: no picture has a mask")
        return wanted

    def words(self) -> str | None:
        """Return the choice for people and for the store's record, its limit apart; None for all pictures."""
        parts = [f"names like {' or '.join(self.globs)}"] if self.globs else []
        if self.names_file:
            # By content: another machine keeps the list elsewhere, and a list that was edited is another selection.
            digest = hashlib.sha256(_lines(self.names_file)[0]).hexdigest()
            parts.append(f"names in {self.names_file.name} (sha256 {digest[:16]})")
        parts += ["with a mask"] if self.labelled_only else []
        return ", ".join(parts) or None

    def _listed(self, samples: Sequence[Sample], file: Path, where: Path) -> list[Sample]:
        names = _lines(file)[1]
        stems = {sample.name.rpartition(".")[0]: sample.name for sample in samples}
        known = {sample.name for sample in samples}
        # A name with its ending counts first: a stem may be the whole name of another picture.
        chosen = {name if name in known else stems.get(name, name) for name in names}
        if strange := [name for name in names if name not in known and name not in stems]:
            raise PipeError(
                f"{file}: {len(strange)} of its {len(names)} names are none of {where}: {', '.join(strange[:3])}"
            )
        if not chosen:
            raise PipeError(f"{file}: expected names of pictures, one a line, the file is empty")
        return [sample for sample in samples if sample.name in chosen]


EVERYTHING = Selection()
"""All pictures."""


def _lines(file: Path) -> tuple[bytes, list[str]]:
    """Return the bytes of a list of names, and the names."""
    try:
        data = file.read_bytes()
        return data, [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise PipeError(f"{file}: cannot be read as a list of names ({error})") from error
