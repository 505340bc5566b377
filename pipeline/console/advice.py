"""What a user of the command line can do about an error: its remedy's name to words with flags in them."""

from collections.abc import Mapping

from logitpipe.cache.errors import PipeError

ADVICE: Mapping[str, str] = {
    "overwrite": "name another place with --out, or replace it with --overwrite",
    "score": "`pipe score --out {folder}` makes it",
    "score again": "run `pipe score --out {folder} --overwrite` again",
    "give-weights": "give the checkpoint with --weights",
    "leave-out": "leave {flag} out",
    "declare-classes": "name the channels with --classes cityscapes|coco|FILE, and say with --void-class and "
    "--outlier-class (first, last, NAME or none) which of them are no classes",
    "give-input-size": "give --input-size HxW",
    "weights-key": "say which with --weights-key",
    "save-merged": "merge or dequantise them, and save the state dict of the plain network",
}
"""Remedy -> words that follow the error, in which an error's `details` stand in braces."""


def with_advice(error: PipeError) -> str:
    """Return an error as one line: what is wrong and, where it names a remedy, what to do."""
    if error.remedy is None:
        return str(error)
    return f"{error}; {ADVICE[error.remedy].format(**error.details)}"
