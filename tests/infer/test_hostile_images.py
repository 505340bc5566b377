"""Pictures, masks and folders made to harm, through the commands that read them."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import fails, refused, write_sample
from hostile import posix
from PIL import Image

from logitpipe.cache import PipeError, open_store
from logitpipe.cli import cli
from logitpipe.stages.infer import run as infer_run
from logitpipe.stages.infer.data.datasets import read_dataset
from logitpipe.stages.infer.data.imagefile import FORMATS, MOST_BYTES, decode, read_bytes
from logitpipe.stages.infer.data.masks import read_codes
from logitpipe.stages.infer.data.preprocess import prepare

pytestmark = pytest.mark.usefixtures("within_limits")

SIZE = (16, 32)
MOST = Image.MAX_IMAGE_PIXELS


@pytest.fixture
def data(tmp_path) -> Path:
    """Give the folder of a data set of one picture and its mask."""
    write_sample(tmp_path / "data" / "Tiny", "0.png", SIZE, seed=0)
    return tmp_path / "data" / "Tiny"


@pytest.fixture
def picture(data) -> Path:
    return data / "images" / "0.png"


@pytest.fixture
def mask(data) -> Path:
    return data / "labels_masks" / "0.png"


def labels(folder: Path) -> Result:
    return CliRunner().invoke(cli, ["labels", str(folder)])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height: int, width: int, extra: bytes = b"", pixels: bytes = b"") -> bytes:
    """A grey PNG that claims a size, whatever its pixels are."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


# ---- Bombs


@pytest.mark.parametrize("size", [(2_000_000_000, 2_000_000_000), (20_000, 20_000), (10_000, 10_000)])
@pytest.mark.parametrize("folder", ["images", "labels_masks"])
def test_a_size_beyond_the_limit_is_refused_by_the_header(data, folder, size):
    file = data / folder / "0.png"
    file.write_bytes(png(*size))
    message = (
        f"{file}: an image may have at most {MOST} pixels, and this one has more; "
        "allow more with --max-pixels, reduce it, or take it out of the data set"
    )
    with refused(message):
        read_dataset(data.parent, "Tiny")
    with refused(message):
        decode(file.read_bytes(), file)  # where the file was exchanged after its header was read
    if folder == "labels_masks":
        fails(labels(data), f"pipe: {message}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_text_that_unpacks_to_much_is_refused(data, picture, kind):
    bomb = chunk(kind, b"a\0\0" + zlib.compress(bytes(300 << 20)))
    picture.write_bytes(png(*SIZE, extra=bomb, pixels=bytes(33 * 16)))
    with refused(
        f"{picture}: expected an image that decodes to its end "
        "(Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK); fetch the file anew"
    ):
        read_dataset(data.parent, "Tiny")


@pytest.mark.slow
def test_pixels_beyond_the_size_are_not_unpacked(mask):
    mask.write_bytes(png(*SIZE, pixels=bytes(33 * 16 + (300 << 20))))
    assert not read_codes(mask).any()


@posix
def test_a_file_larger_than_any_image_is_not_read(data, picture):
    os.truncate(picture, 1 << 40)
    with refused(f"{picture}: cannot be read ({1 << 40} bytes, and {MOST_BYTES} are the most)"):
        read_dataset(data.parent, "Tiny")


# ---- Formats


@pytest.mark.parametrize("form", FORMATS)
def test_the_content_tells_the_format_and_not_the_name(data, picture, form):
    NOISE.save(picture, form)
    assert prepare(read_dataset(data.parent, "Tiny").samples[0], SIZE).pixels.shape == (*SIZE, 3)


@pytest.mark.parametrize("form", ["GIF", "ICO", "TGA", "SGI", "PCX", "DDS", "JPEG2000", "EPS", "PDF"])
def test_rarer_formats_are_not_even_tried(data, picture, form):
    NOISE.save(picture, form)
    with refused(
        f"{picture}: expected an image (PNG, JPEG, WEBP, TIFF, BMP, PPM), and this file is none; "
        "take it out or fetch it anew"
    ):
        read_dataset(data.parent, "Tiny")


@posix
def test_postscript_starts_no_program(picture, tmp_path, monkeypatch):
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'marker'}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", str(ghostscript), raising=False)
    NOISE.save(picture, "EPS")
    with pytest.raises(OSError), Image.open(picture) as image:
        image.load()
    assert (tmp_path / "marker").exists()  # Pillow itself would
    (tmp_path / "marker").unlink()
    with refused(
        f"{picture}: expected an image (PNG, JPEG, WEBP, TIFF, BMP, PPM), and this file is none; "
        "take it out or fetch it anew"
    ):
        decode(read_bytes(picture), picture)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_several_pictures_in_one_file_are_refused(data, picture, form):
    NOISE.save(picture, form, save_all=True, append_images=[NOISE.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    sample = read_dataset(data.parent, "Tiny").samples[0]
    with refused(f"{picture}: expected one picture, this file is an animation; save one picture of it"):
        prepare(sample, SIZE)


def test_the_preview_that_a_camera_adds_is_left_alone(data, picture):
    NOISE.save(picture, "MPO", save_all=True, append_images=[NOISE.resize((8, 8))])
    with Image.open(picture) as image:
        expected = np.asarray(image.convert("RGB"))
    prepared = prepare(read_dataset(data.parent, "Tiny").samples[0], SIZE)
    assert np.array_equal(prepared.pixels, expected)


def test_pages_that_follow_each_other_in_a_circle_end(data, picture):
    NOISE.save(picture, "TIFF")
    content = bytearray(picture.read_bytes())
    start = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, start)[0]
    struct.pack_into("<I", content, start + 2 + 12 * entries, start)  # the next page is this one
    picture.write_bytes(content)
    sample = read_dataset(data.parent, "Tiny").samples[0]
    try:
        assert prepare(sample, SIZE).pixels.shape == (*SIZE, 3)
    except PipeError as error:
        assert str(error).startswith(f"{picture}: expected ")


@pytest.mark.parametrize("transparency", [bytes([0, 128, 255]), 1])
def test_a_transparent_palette_loses_its_transparency_in_silence(data, picture, transparency):
    plain = NOISE.quantize(8)
    plain.save(picture, "PNG", transparency=transparency)
    prepared = prepare(read_dataset(data.parent, "Tiny").samples[0], SIZE)
    assert np.array_equal(prepared.pixels, np.asarray(plain.convert("RGB")))


def test_a_turned_photograph_is_taken_as_it_lies(data, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    NOISE.save(picture, "PNG", exif=exif)
    prepared = prepare(read_dataset(data.parent, "Tiny").samples[0], SIZE)
    assert np.array_equal(prepared.pixels, np.asarray(NOISE))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_named(data, picture, form, share):
    NOISE.save(picture, form)
    content = picture.read_bytes()
    picture.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PipeError, match=f"^{picture}: expected an image"):
        prepare(read_dataset(data.parent, "Tiny").samples[0], SIZE)


# ---- What is no file


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "dangling link", "link to itself"])
def test_what_is_no_picture_file_is_never_opened(data, picture, mask, kind):
    for file in (picture, mask):
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to({"device": "/dev/zero", "dangling link": "/nowhere"}.get(kind, file))
    with refused(f"{picture}: expected nothing but pictures in {data}/images, this is no file; take it out"):
        read_dataset(data.parent, "Tiny")
    reason = {
        "folder": "Is a directory",
        "dangling link": "No such file or directory",
        "link to itself": "Too many levels of symbolic links",
    }.get(kind, "a device, pipe or socket and no file")
    fails(
        labels(data), f"pipe: {picture}: expected nothing but pictures in {data}/images, this is no file; take it out"
    )
    masks = data / "labels_masks"
    fails(labels(masks), f"pipe: {mask}: expected nothing but pictures in {masks}, this is no file; take it out")
    with refused(f"{picture}: cannot be read ({reason})"):
        read_bytes(picture)


@posix
def test_a_mask_that_is_no_file_is_refused(data, mask):
    mask.unlink()
    mask.symlink_to("/dev/zero")
    with refused(f"{mask}: expected nothing but pictures in {data}/labels_masks, this is no file; take it out"):
        read_dataset(data.parent, "Tiny")


@posix
def test_a_link_out_of_the_folder_is_the_file_that_it_leads_to(data, picture, tmp_path):
    picture.rename(tmp_path / "elsewhere.png")
    picture.symlink_to(tmp_path / "elsewhere.png")
    prepared = prepare(read_dataset(data.parent, "Tiny").samples[0], SIZE)
    assert prepared.pixels.shape == (*SIZE, 3)


@posix
def test_a_link_to_another_kind_of_file_shows_nothing_of_it(data, picture):
    picture.unlink()
    picture.symlink_to("/etc/passwd")
    with refused(
        f"{picture}: expected an image (PNG, JPEG, WEBP, TIFF, BMP, PPM), and this file is none; "
        "take it out or fetch it anew"
    ):
        read_dataset(data.parent, "Tiny")


def test_a_file_that_vanishes_after_it_was_listed_is_named(run, data_root, tmp_path, monkeypatch):
    victim = data_root / "Tiny" / "images" / "3.png"
    monkeypatch.setattr(infer_run, "prepare", vanishing(victim, tmp_path / "gone.png"))
    fails(run(), f"pipe: {victim}: cannot be read (No such file or directory)")
    assert len(open_store(tmp_path / "store").completed()) < 5


def vanishing(victim: Path, place: Path):
    """Prepare samples, but move one picture away first."""

    def call(sample, *rest):
        if sample.image == victim:
            victim.rename(place)
        return prepare(sample, *rest)

    return call


@posix
@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        ("Tiny/images/1.png", 1, "cannot be read (Permission denied)"),
        ("Tiny/images", 1, "Permission denied"),
        ("", 2, "is not readable"),
    ],
)
def test_what_may_not_be_read_is_named(run, data_root, what, code, reason):
    path = data_root / what
    path.chmod(0)
    try:
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        result = run()
    finally:
        path.chmod(0o755)
    assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1)
    assert str(path) in result.stderr
    assert reason in result.stderr


def test_a_folder_that_may_not_be_listed_is_one_line(run, data_root, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    fails(run(), f"pipe: {data_root}/Tiny/images: Permission denied")


def test_a_root_with_too_long_a_name_is_one_line(run):
    name = "x" * 5000
    result = run("--data-root", name)
    fails(result, f"pipe: {'x' * 994} ... {'x' * 980}: File name too long")
