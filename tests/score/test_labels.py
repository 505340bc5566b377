"""Codes become labels as they are told to, and an unknown one is never passed over."""

import numpy as np
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reference import label, nearest

from logitpipe.stages.score.labels.codes import STANDARD_CODES, UNKNOWN, LabelCodes, classify, resize_nearest

FORM = "--label-codes: normal=0,anomaly=1-2,void=255 is the form; found "


@pytest.mark.parametrize("void_as_anomaly", [False, True])
def test_standard_codes_mean_what_the_table_says(void_as_anomaly):
    codes = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (9, 7))
    found = classify(codes, STANDARD_CODES.table(void_as_anomaly), "here")
    assert np.array_equal(found, label(codes, void_as_anomaly))


def test_all_other_codes_are_unknown():
    table = STANDARD_CODES.table(False)
    assert np.array_equal(np.flatnonzero(table == UNKNOWN), np.arange(3, 255))


def test_an_unknown_code_is_named_with_its_count():
    codes = np.zeros((4, 5), np.uint8)
    codes[0, :3], codes[2, 2] = 7, 254
    with refused(
        "store: image 'a.png': its mask holds codes that the protocol does not know: 7 (3 pixels), 254 (1 pixels); "
        "say what they mean with --label-codes normal=...,anomaly=...,void=..."
    ):
        classify(codes, STANDARD_CODES.table(False), "store: image 'a.png'")


def test_codes_are_read():
    found = LabelCodes.parse("normal=0-12,anomaly=13+20-22,void=255")
    assert found == LabelCodes(frozenset(range(13)), frozenset({13, 20, 21, 22}), frozenset({255}))
    assert LabelCodes.parse("anomaly=1,normal=0").void == frozenset()
    assert LabelCodes.parse("normal=0,anomaly=1-2,void=255") == STANDARD_CODES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal=0,odd=1", FORM + "'odd=1'"),
        ("normal=0,normal=1,anomaly=2", FORM + "'normal=1'"),
        ("", FORM + "''"),
        ("normal=0,void=255", "--label-codes: both `normal` and `anomaly` need a code"),
        ("normal=0,anomaly=0-1", "--label-codes: a code has two meanings in 'normal=0,anomaly=0-1'"),
        *(
            (
                f"normal=0,anomaly={part}",
                f"--label-codes: a code or a range from 0 to 255 is expected, found {part!r}",
            )
            for part in ("256", "-1", "2-1", "x", "", "1-", "1.5")
        ),
    ],
)
def test_what_is_no_code_is_refused(text, message):
    with refused(message):
        LabelCodes.parse(text)


SIDE = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE), st.integers(0, 99))
def test_masks_are_resized_as_pillow_does_it(source, target, seed):
    codes = np.random.default_rng(seed).integers(0, 256, source, dtype=np.uint8)
    found = resize_nearest(codes, target)
    picture = Image.fromarray(codes).resize(target[::-1], Image.Resampling.NEAREST)
    assert found.shape == target
    assert np.array_equal(found, np.asarray(picture))


@pytest.mark.parametrize(
    ("source", "target"), [((24, 40), (16, 32)), ((20, 36), (16, 32)), ((720, 1280), (512, 1024))]
)
def test_the_nearest_code_is_that_under_the_centre(source, target):
    codes = np.random.default_rng(0).integers(0, 256, source, dtype=np.uint8)
    assert np.array_equal(resize_nearest(codes, target), nearest(codes, target))
