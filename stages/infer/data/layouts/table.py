"""A CSV file that names each picture, its mask and what to call it: for data sets that lie in any other way."""

import csv
from pathlib import Path

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.layout import Codes, Listing, Sample, Source
from logitpipe.stages.infer.data.tree import Tree

COLUMNS = ("image", "mask", "name")


class Table:
    """A file NAME.csv with a column `image` and, as far as needed, `mask` and `name`."""

    drawing = """\
NAME.csv                  paths from the file's own folder; mask and name may be empty or absent
  image,mask,name
  photos/a.jpg,masks/a.png,first
  photos/b.jpg,,"""
    sources: tuple[Source, ...] = ()
    codes = Codes()
    general = False

    def recognises(self, tree: Tree) -> bool:
        """Return whether it is a CSV file."""
        return tree.path.suffix.lower() == ".csv" and tree.path.is_file()

    def listing(self, tree: Tree) -> Listing:
        """Return one sample for each line.

        Raises
        ------
        PipeError
            The file is no such table, a name occurs twice, or a file that it names is not there.
        """
        rows = _rows(tree.path)
        samples = [_sample(tree.path.parent, row) for row in rows]
        names = [sample.name for sample in samples]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise PipeError(f"{tree.path}: each name may occur once, and {twice!r} occurs several times", "csv-names")
        files = [path for sample in samples for path in (sample.image, sample.mask) if path]
        if lacking := [str(path) for path in files if not path.is_file()]:
            raise PipeError(f"{tree.path}: {len(lacking)} of its files are not there: {', '.join(lacking[:3])}")
        return Listing(samples)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        # Spreadsheets put a byte order mark in front, which would be part of the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or ()]
            if "image" not in columns or not set(columns) <= set(COLUMNS):
                raise PipeError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(columns)}")
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise PipeError(f"{path}: cannot be read as CSV ({error})") from error
    for line, row in enumerate(rows, 2):
        # csv.DictReader puts surplus values under None.
        if None in row or not row["image"]:
            raise PipeError(f"{path}: line {line}: expected a picture and as many values as there are columns")
    return rows


def _sample(root: Path, row: dict[str, str]) -> Sample:
    mask = row.get("mask")
    return Sample(row.get("name") or row["image"], root / row["image"], root / mask if mask else None)
