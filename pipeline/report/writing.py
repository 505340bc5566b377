"""The page as a file, with what the stores of its results still have to show."""

from pathlib import Path
from typing import TYPE_CHECKING

from logitpipe.cache.errors import PipeError
from logitpipe.cache.files.folder import Folder
from logitpipe.console.advice import with_advice
from logitpipe.console.audience import caller
from logitpipe.console.messages import caution
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.report.gallery import gallery
from logitpipe.report.markup import tag
from logitpipe.report.page import page
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    from logitpipe.report.markup import Html
    from logitpipe.results.series import JoinedResults


def write_report(results: "JoinedResults", target: Path, overwrite: bool) -> None:
    """Write the page of results.

    Raises
    ------
    PipeError
        Something lies at `target` and is not to be replaced, or it cannot be written.
    """
    if target.is_dir():
        found = f"it is a folder; name the page to write, such as {target / 'report.html'}"
        raise PipeError(found, option="out", value=target)
    refuse_to_replace([target], overwrite)
    prepare_folder(target.parent)
    text = page(results, _galleries(results))
    try:
        Folder(target.parent).publish(target.name, text.encode())
    except OSError as error:
        raise PipeError(f"{target}: the page cannot be written ({error.strerror})", "other-page") from error


def _galleries(results: "JoinedResults") -> "dict[str, Html]":
    """Return the gallery of each store by its fingerprint, or the reason why it has none."""
    found = {}
    for entry in results.entries:
        store = entry.facts["fingerprint"]
        try:
            found[store] = gallery(entry, available_cores())
        except PipeError as error:
            reason = str(error) if caller() else with_advice(error)
            # Of results that came without their stores the page is worth having all the same.
            caution(f"no gallery of {entry.label}: {reason}")
            found[store] = tag("p", f"The gallery is left out: {reason}.", class_="note")
    return found
