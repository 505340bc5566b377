"""Pictures and masks, from files to arrays: every honest form reads the same, any other names its file."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, write_sample
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from logitpipe.cache import PipeError
from logitpipe.stages.infer.data.datasets import read_dataset
from logitpipe.stages.infer.data.masks import MaskRules, read_codes
from logitpipe.stages.infer.data.preprocess import prepare


def saved(folder: Path, image: Image.Image, ending: str = "png") -> Path:
    path = folder / f"mask.{ending}"
    image.save(path, **({"lossless": True} if ending == "webp" else {}))
    return path


CODES = np.array([[0, 1, 255], [2, 7, 0]], np.uint8)


def _palette() -> Image.Image:
    image = Image.fromarray(CODES).convert("P")
    image.frombytes(CODES.tobytes())
    image.putpalette([200, 10, 30] * 256)
    return image


@pytest.mark.parametrize(
    ("image", "ending"),
    [
        (Image.fromarray(CODES), "png"),
        (_palette(), "png"),
        (Image.fromarray(CODES.astype(np.uint16)), "png"),
        (Image.fromarray(np.stack([CODES] * 3, axis=-1)), "png"),
        (Image.fromarray(np.stack([CODES] * 3, axis=-1)), "webp"),
        (Image.merge("RGBA", [Image.fromarray(CODES)] * 3 + [Image.new("L", (3, 2), 9)]), "png"),
        (Image.merge("LA", [Image.fromarray(CODES), Image.new("L", (3, 2), 9)]), "png"),
    ],
    ids=["grey", "palette", "16 bits", "RGB", "WebP", "RGBA", "grey with alpha"],
)
def test_every_honest_way_to_save_codes_reads_the_same(tmp_path, image, ending):
    found = read_codes(saved(tmp_path, image, ending))
    assert found.dtype == np.uint8
    assert np.array_equal(found, CODES)


def test_a_mask_of_one_bit_holds_0_and_1(tmp_path):
    assert read_codes(saved(tmp_path, Image.fromarray(CODES).point(lambda v: v, "1"))).max() == 1


def test_codes_beyond_8_bits_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0, 300]], np.uint16)))
    with refused(
        f"{path}: the codes of a mask must lie in 0..255, but 0..300 was found; save it with 8 bits per pixel"
    ):
        read_codes(path)


def test_a_coloured_mask_is_refused(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (2, 2), (1, 2, 3)))
    with refused(
        f"{path}: a mask must hold one code per pixel, but its colour channels differ; "
        "save it as grey or with a palette, and without loss"
    ):
        read_codes(path)


def test_a_mask_in_another_mode_is_refused(tmp_path):
    path = saved(tmp_path, Image.new("F", (2, 2)), "tiff")
    with refused(f"{path}: a mask must hold one 8-bit code per pixel, but its mode is F; save it as grey"):
        read_codes(path)


def test_a_prepared_sample_is_what_pillow_gives(data_root):
    sample = read_dataset(data_root, "Tiny").samples[1]
    prepared = prepare(sample, (16, 32))
    picture = Image.open(sample.image).convert("RGB").resize((32, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(prepared.pixels, np.asarray(picture))
    halved = prepared.pixels.reshape(8, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(prepared.preview - halved).max() <= 0.5
    assert np.array_equal(prepared.labels, np.asarray(Image.open(sample.mask)))
    codes, counts = np.unique(prepared.labels, return_counts=True)
    status = sample.mask.stat()
    assert prepared.sources["image_sha256"] == hashlib.sha256(sample.image.read_bytes()).hexdigest()
    assert prepared.sources["mask_sha256"] == hashlib.sha256(sample.mask.read_bytes()).hexdigest()
    assert prepared.sources["mask_stamp"] == f"{status.st_size} bytes, {status.st_mtime_ns} ns"
    assert prepared.sources["mask_codes"] == " ".join(f"{c}:{n}" for c, n in zip(codes, counts, strict=True))


def test_a_picture_without_a_mask_has_labels_of_no_size(data_root):
    sample = replace(read_dataset(data_root, "Tiny").samples[1], mask=None)
    prepared = prepare(sample, (16, 32))
    assert prepared.labels.shape == (0, 0)
    assert set(prepared.sources) == {"image_sha256", "image_stamp"}


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_masks_with_loss_are_refused_where_it_shows(tmp_path, form):
    path = tmp_path / "mask.jpg"
    edges = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((5, 5))).astype(np.uint8) * 255
    Image.fromarray(edges).save(path, form, quality=60)
    rules = MaskRules("normal=0,anomaly=1-2,void=255")
    with pytest.raises(PipeError, match=r"loses detail, and \d+ of 1600 pixels have codes other than normal=0"):
        read_codes(path, rules)
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(path, form)
    assert (read_codes(path, rules) == 255).all()


def test_coloured_masks_become_codes_by_a_palette(tmp_path):
    colours = np.array([[[128, 64, 128], [70, 130, 180]], [[0, 0, 0], [128, 64, 128]]], np.uint8)
    path = saved(tmp_path, Image.fromarray(colours))
    rules = MaskRules(palette={(128, 64, 128): 0, (70, 130, 180): 10, (0, 0, 0): 255})
    assert read_codes(path, rules).tolist() == [[0, 10], [255, 0]]
    with refused(f"{path}: 2 pixels have colours that the layout's palette lacks, such as (128, 64, 128)"):
        read_codes(path, MaskRules(palette={(70, 130, 180): 10, (0, 0, 0): 255}))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_any_8_bit_mode_become_rgb(data_root, mode):
    sample = read_dataset(data_root, "Tiny").samples[0]
    picture = Image.open(sample.image).convert(mode)
    picture.save(sample.image, format="TIFF" if mode == "CMYK" else "PNG")
    assert prepare(sample, (16, 32)).pixels.shape == (16, 32, 3)


def test_a_truncated_picture_is_named(data_root):
    sample = read_dataset(data_root, "Tiny").samples[0]
    Image.open(sample.image).save(sample.image, format="JPEG")
    sample.image.write_bytes(sample.image.read_bytes()[:-200])
    read_dataset(data_root, "Tiny")  # the header is whole
    with pytest.raises(
        PipeError, match=rf"{re.escape(str(sample.image))}: expected an image that decodes to its end \(.*\); fetch"
    ):
        prepare(sample, (16, 32))


@given(st.data())
def test_damaged_bytes_decode_or_name_the_file(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    write_sample(folder / "One", "0.png", (8, 8), seed=0)
    sample = read_dataset(folder, "One").samples[0]
    damaged = bytearray(sample.mask.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    sample.mask.write_bytes(damaged)
    try:
        prepare(sample, (8, 8))
    except PipeError as error:
        assert str(sample.mask) in str(error)


def test_a_picture_of_16_bits_is_refused(data_root):
    sample = read_dataset(data_root, "Tiny").samples[0]
    Image.fromarray(np.zeros((24, 40), np.uint16)).save(sample.image)
    with refused(f"{sample.image}: expected a picture with 8 bits per channel, its mode is I;16; convert it"):
        prepare(sample, (16, 32))


def test_a_file_that_vanished_is_named(data_root):
    sample = read_dataset(data_root, "Tiny").samples[0]
    sample.mask.unlink()
    with refused(f"{sample.mask}: cannot be read (No such file or directory)"):
        prepare(sample, (16, 32))
