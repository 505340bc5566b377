"""What a store is, in pure functions: schemas, chunk arithmetic, codec, records. No file is opened here."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.documents import names_of
from logitpipe.cache.format.keys import IMAGES, METADATA
from logitpipe.cache.format.schema import FORMAT, canonical, fingerprint

Schema = version1.Schema | version2.Schema
"""What a store is, in whichever format version."""

VERSIONS: Mapping[int, type[version1.Schema] | type[version2.Schema]] = {1: version1.Schema, 2: version2.Schema}
"""By the attribute `format_version`."""

NEWEST = max(VERSIONS)


def parse(metadata: Any, store: object, read: Callable[[str], bytes | None]) -> Schema:  # noqa: ANN401 - of any type
    """Read a group's `zarr.json` back into a schema, believing nothing.

    Parameters
    ----------
    metadata : as it was parsed from JSON
    store : path or URL of the store, for errors
    read : returns the bytes under a key of the store, None where there are none

    Raises
    ------
    PipeError
        Not a logit store, or one of a newer format version.
    IntegrityError
        The attributes, the names of the images or the arrays' metadata are not what was written.
    """
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    # Another program's group is no damaged store, and is told as what it is.
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise PipeError(f"{store}: expected a logit store, but the attribute `format` is not {FORMAT!r}")
    version = _known_version(attributes.get("format_version"), store)
    # The fingerprint cannot be part of what it is computed over.
    rest = {name: value for name, value in attributes.items() if name != "fingerprint"}
    if fingerprint(rest) != attributes.get("fingerprint"):
        raise IntegrityError("the attributes do not match their fingerprint", store, file=METADATA)
    if version == version2.Schema.VERSION:  # it names its images in a file of their own
        try:
            rest["images"] = names_of(read(IMAGES), attributes.get("images_sha256"))
        except IntegrityError as error:
            raise error.at(store, file=IMAGES) from error
    try:
        # The schema's own checks run in its constructor. What they raise is damage here: a run that writes could
        # not have written these attributes.
        schema = VERSIONS[version](**{f.name: _tupled(rest[f.name]) for f in fields(VERSIONS[version])})
    except (KeyError, TypeError, ValueError) as error:
        fault = f"the attributes do not describe a store ({error!r})"
        raise IntegrityError(fault, store, file=METADATA) from error
    if canonical(metadata) != canonical(schema.metadata()):  # as text, since 1 == 1.0 == True
        raise IntegrityError("describes other arrays than its attributes imply", store, file=METADATA)
    return schema


def _known_version(version: object, store: object) -> int:
    # `type(...) is int`: JSON's true would otherwise pass for version 1.
    if type(version) is int and version in VERSIONS:
        return version
    if type(version) is int and version > NEWEST:
        raise PipeError(
            f"{store}: written by a newer version of logitpipe, in format version {version}, and this one reads "
            f"versions up to {NEWEST}",
            "upgrade",
        )
    raise PipeError(f"{store}: a format version from 1 to {NEWEST} was expected, and {version!r} was found")


def _tupled(value: Any) -> Any:  # noqa: ANN401 - JSON is of any type
    return tuple(value) if isinstance(value, list) else value
