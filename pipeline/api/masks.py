"""The codes of masks in Python: what `pipe labels` counts."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from logitpipe.api.arguments.progress import followed

if TYPE_CHECKING:
    import pandas


def labels(
    folder: str | PathLike[str], layout: str | None = None, progress: bool | None = None
) -> "pandas.DataFrame":
    """Count the codes in a folder of masks, or in those of a data set.

    Parameters
    ----------
    folder : a data set of any layout, or a folder of masks
    layout : how the files lie, where that is not clear
    progress : see `lp.score`

    Returns
    -------
    a row for each code: `code`, `pixels`, `share`, `masks` that hold it, and its `meaning`: normal, anomaly, void, or
    None where neither the layout nor the protocols know it

    Raises
    ------
    PipeError
        There are no masks, or one cannot be read.

    Examples
    --------
    >>> lp.labels("data/RoadAnomaly21")
    """
    from logitpipe.api.tables import frame_of
    from logitpipe.runs.codes import count_codes, describe_codes, find_masks

    place = Path(folder)
    with followed(progress):
        masks, rules = find_masks(place, layout)
        found = describe_codes(place, count_codes(masks, rules), rules.label_codes)["codes"]
    columns = ("code", "pixels", "share", "masks", "meaning")
    return frame_of({column: [code[column] for code in found] for column in columns})
