"""What a store says about itself: it comes back as it was, and no lie in it is believed."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from stores import make_schema

from logitpipe.cache import IntegrityError, Schema
from logitpipe.cache.format import parse, version1
from logitpipe.cache.format.schema import fingerprint

NO_FILES: dict[str, bytes] = {}
PIXEL, MASK = make_schema("pixel"), make_schema("mask")
SCHEMAS = [make_schema(kind, precision) for kind in ("pixel", "mask") for precision in ("float16", "float32")]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FACTS = st.dictionaries(st.text(), JSON, max_size=3)
NAMES = st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=5, unique=True).map(tuple)


def sealed(schema: Schema, **lies: object) -> dict:
    """The metadata of a store with other attributes, as someone would write it who knows the fingerprint."""
    metadata = schema.metadata()
    attributes = metadata["attributes"] | lies
    del attributes["fingerprint"]
    return metadata | {"attributes": attributes | {"fingerprint": fingerprint(attributes)}}


def damage(metadata: object) -> str:
    with pytest.raises(IntegrityError) as caught:
        parse(metadata, "here", NO_FILES.get)
    return str(caught.value)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: f"{schema.kind}-{schema.precision}")
def test_the_metadata_comes_back_as_the_schema(schema):
    assert parse(json.loads(json.dumps(schema.metadata())), "here", NO_FILES.get) == schema


@pytest.mark.slow
@given(facts=FACTS, preprocessing=FACTS, images=NAMES, dataset=st.text())
def test_facts_and_names_may_be_anything(facts, preprocessing, images, dataset):
    schema = replace(PIXEL, facts=facts, preprocessing=preprocessing, images=images, dataset=dataset)
    assert parse(json.loads(json.dumps(schema.metadata())), "here", NO_FILES.get) == schema


@pytest.mark.parametrize("name", [field.name for field in fields(version1.Schema)])
def test_a_changed_attribute_does_not_match_the_fingerprint(name):
    metadata = PIXEL.metadata()
    metadata["attributes"][name] = "another"
    assert damage(metadata) == "here: zarr.json: the attributes do not match their fingerprint"


@pytest.mark.parametrize("name", [field.name for field in fields(version1.Schema)])
def test_an_attribute_that_lacks_is_named(name):
    metadata = sealed(PIXEL)
    del metadata["attributes"][name], metadata["attributes"]["fingerprint"]
    metadata["attributes"]["fingerprint"] = fingerprint(metadata["attributes"])
    assert damage(metadata) == f"here: zarr.json: the attributes do not describe a store (KeyError('{name}'))"


LIES = {
    "kind": ["depth", ["pixel"], None, 1],
    "network": [None, 3, ["enet"]],
    "facts": [None, [], "x"],
    "weights_sha256": [None, 0],
    "dataset": [None, {}],
    "classes": [[], "abcde", None, ["a", "b", "c", "d"], ["a", "b", "c", "d", 5], {"a": 1}],
    "void_class": [5, -1, True, 1.0, "4"],
    "input_size": [[8], [8, 12, 3], [0, 12], [-8, 12], [8.0, 12], [True, 12], ["8", "12"], 8, None, [1 << 40, 12]],
    "logits_shape": [
        [5, 8],
        [4, 8, 12],
        [5, 0, 12],
        [5, 8, 1 << 31],
        [5, 1 << 30, 12],
        "abc",
        {"a": 1, "b": 2, "c": 3},
    ],
    "precision": ["float64", "int8", None, ["float16"]],
    "preprocessing": [None, []],
    "images": [[], "abc", ["a.png", "a.png"], ["a.png", 2], [["a.png"]], None],
    "label_shape": [[12], [12, 0], [12, -16], [1 << 16, 1 << 16], [12, 1e3]],
    "software": [None, "torch", {"torch": 2}, {"torch": ["2.13"]}],
}


@pytest.mark.parametrize(("name", "lie"), [(name, lie) for name, lies in LIES.items() for lie in lies])
def test_a_lie_with_a_fingerprint_is_found(name, lie):
    message = damage(sealed(PIXEL, **{name: lie}))
    assert message.startswith("here: zarr.json: the attributes do not describe a store (")


def test_every_field_has_its_lies():
    assert list(LIES) == [field.name for field in fields(version1.Schema)]


def test_sizes_that_no_machine_could_hold_are_refused_by_their_bytes():
    with pytest.raises(ValueError, match=r"^a chunk of 'labels' would have 4294967296 bytes, more than 2147483631$"):
        replace(PIXEL, label_shape=(1 << 16, 1 << 16))
    with pytest.raises(ValueError, match=r"^an image would have 10737418512 bytes, more than 8589934592$"):
        replace(PIXEL, logits_shape=(5, 1 << 20, 1 << 10))


@pytest.mark.parametrize("name", ["facts", "preprocessing"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_have_are_refused(name, number):
    with pytest.raises(ValueError, match=r"^Out of range float values are not JSON compliant"):
        replace(PIXEL, **{name: {"a": [number]}})


def test_another_true_description_of_other_arrays_is_refused():
    assert damage(sealed(PIXEL, label_shape=[13, 16])) == (
        "here: zarr.json: describes other arrays than its attributes imply"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shape", [3, 5, 8, 13]),
        ("shape", [3.0, 5, 8, 12]),
        ("data_type", "float32"),
        ("fill_value", 0),
        ("codecs", [{"name": "bytes", "configuration": {"endian": "little"}}]),
        ("dimension_names", ["image", "class", "x", "y"]),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1, 5, 4, 12]}}),
        ("zarr_format", True),
    ],
)
def test_array_metadata_is_what_the_attributes_imply(name, value):
    metadata = json.loads(json.dumps(PIXEL.metadata()))
    metadata["consolidated_metadata"]["metadata"]["logits"][name] = value
    assert damage(metadata) == "here: zarr.json: describes other arrays than its attributes imply"


@pytest.mark.parametrize("version", [3, 10**30])
def test_a_newer_format_version_says_so(version):
    with refused(
        f"here: written by a newer version of logitpipe, in format version {version}, and this one reads versions up "
        "to 2; upgrade logitpipe"
    ):
        parse(sealed(PIXEL, format_version=version), "here", NO_FILES.get)


@pytest.mark.parametrize("version", [0, -1, "1", "2", None, 1.0, 2.5, True, [1], {}])
def test_what_is_no_format_version_says_so(version):
    with refused(f"here: a format version from 1 to 2 was expected, and {version!r} was found"):
        parse(sealed(PIXEL, format_version=version), "here", NO_FILES.get)


@pytest.mark.parametrize(
    "metadata",
    [[], None, "logit-store", {}, {"attributes": []}, {"attributes": {}}, {"attributes": {"format": "another"}}],
)
def test_what_is_no_logit_store_says_so(metadata):
    with refused("here: expected a logit store, but the attribute `format` is not 'logit-store'"):
        parse(metadata, "here", NO_FILES.get)


OTHERS = {
    "kind": MASK,
    "network": replace(PIXEL, network="erfnet"),
    "facts": replace(PIXEL, facts={"depth": 2}),
    "weights_sha256": replace(PIXEL, weights_sha256="11" * 32),
    "dataset": replace(PIXEL, dataset="Other"),
    "classes": replace(PIXEL, classes=("a", "b", "c", "d", "e")),
    "void_class": replace(PIXEL, void_class=None),
    "input_size": replace(PIXEL, input_size=(16, 24)),
    "logits_shape": replace(PIXEL, logits_shape=(5, 4, 6)),
    "precision": replace(PIXEL, precision="float32"),
    "preprocessing": replace(PIXEL, preprocessing={"resize": "bilinear"}),
    "images": replace(PIXEL, images=("a.png",)),
    "label_shape": replace(PIXEL, label_shape=(24, 32)),
    "software": replace(PIXEL, software={"torch": "3"}),
}


@pytest.mark.parametrize("name", [field.name for field in fields(version1.Schema)])
def test_differences_name_the_field_and_leave_software_out(name):
    named = [line.partition(":")[0] for line in PIXEL.differences(OTHERS[name])]
    if name == "kind":
        assert named == ["kind", "network", "classes", "void_class"]
    else:
        assert named == ([] if name == "software" else [name])


def test_a_difference_shows_both_sides():
    assert PIXEL.differences(OTHERS["input_size"]) == ["input_size: [8, 12] in the store, [16, 24] asked for"]


def test_a_long_difference_shows_where_it_begins():
    names = tuple(f"{i:03}.png" for i in range(100))
    line, *more = replace(PIXEL, images=names).differences(replace(PIXEL, images=(*names[:50], "x", *names[51:])))
    assert more == []
    assert line == (
        'images: ....png", "048.png", "049.png", "050.png", "051.png", "052.png"... in the store, '
        '....png", "048.png", "049.png", "x", "051.png", "052.png", "053... asked for'
    )


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: f"{schema.kind}-{schema.precision}")
def test_a_chunk_holds_one_image_and_a_missing_chunk_is_no_result(schema):
    for spec in schema.arrays().values():
        assert spec.shape[0] == len(schema.images)
        assert spec.chunks[0] == 1
        assert spec.fill_value() == {"f": "NaN", "u": 255, "i": 0}[spec.dtype.kind]
    assert schema.image_bytes() == sum(
        np.empty(spec.image_shape, spec.dtype).nbytes for spec in schema.arrays().values()
    )
