"""Data sets on disk: found, ordered, checked by their headers, and refused in clear words."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, write_sample
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from logitpipe.stages.infer.data.datasets import DataSet, dataset_names, natural_key, read_dataset
from logitpipe.stages.infer.data.masks import read_codes


def names(dataset: DataSet) -> list[str]:
    return [sample.name for sample in dataset.samples]


def test_a_data_set_is_ordered_by_number_and_knows_its_largest_mask(data_root):
    dataset = read_dataset(data_root, "Tiny")
    assert names(dataset) == ["0.png", "1.png", "2.png", "3.png", "10.png"]
    assert dataset.label_shape == (24, 40)
    assert dataset.samples[4].mask == data_root / "Tiny" / "labels_masks" / "10.png"


def test_the_limit_takes_the_first_pictures(data_root):
    assert names(read_dataset(data_root, "Tiny", limit=2)) == ["0.png", "1.png"]
    assert len(read_dataset(data_root, "Tiny", limit=99).samples) == 5


@given(st.lists(st.integers(0, 10**6), unique=True), st.randoms(use_true_random=False))
def test_names_are_ordered_by_the_value_of_their_numbers(numbers, shuffler: random.Random):
    shuffled = [f"frame_{number}_left.png" for number in numbers]
    shuffler.shuffle(shuffled)
    assert sorted(shuffled, key=natural_key) == [f"frame_{number}_left.png" for number in sorted(numbers)]


@pytest.mark.slow
@given(st.lists(st.text(max_size=5)))
def test_any_names_have_an_order(names):
    assert sorted(sorted(names, reverse=True), key=natural_key) == sorted(sorted(names), key=natural_key)


@pytest.mark.parametrize("on_disk", ["RoadObsticle21", "RoadObstacle21"])
@pytest.mark.parametrize("asked", ["RoadObsticle21", "RoadObstacle21"])
def test_both_spellings_mean_the_official_one(tmp_path, on_disk, asked):
    write_sample(tmp_path / on_disk, "0.png", (8, 8), seed=0)
    assert read_dataset(tmp_path, asked).name == "RoadObsticle21"
    assert dataset_names(tmp_path) == ["RoadObsticle21"]


def test_the_root_may_be_the_data_set_itself(data_root, monkeypatch):
    monkeypatch.chdir(data_root / "Tiny")
    assert len(read_dataset(data_root / "Tiny", "Tiny").samples) == 5
    assert dataset_names(Path()) == ["Tiny"]


def test_all_data_sets_under_a_root_are_found(data_root):
    write_sample(data_root / "Another", "0.jpg", (8, 8), seed=0)
    (data_root / "notes").mkdir()
    assert dataset_names(data_root) == ["Another", "Tiny"]


def test_files_of_the_system_are_ignored(data_root):
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini"):
        (data_root / "Tiny" / "images" / name).write_bytes(b"\0")
    assert len(read_dataset(data_root, "Tiny").samples) == 5


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_links_to_files_are_files(data_root, tmp_path):
    linked = tmp_path / "linked" / "Tiny"
    for folder in ("images", "labels_masks"):
        (linked / folder).mkdir(parents=True)
        for file in (data_root / "Tiny" / folder).iterdir():
            (linked / folder / file.name).symlink_to(file)
    assert names(read_dataset(tmp_path / "linked", "Tiny")) == names(read_dataset(data_root, "Tiny"))


def test_webp_masks_are_found(data_root):
    mask = data_root / "Tiny" / "labels_masks" / "1.png"
    expected = read_codes(mask)
    Image.open(mask).save(mask.with_suffix(".webp"), lossless=True)
    mask.unlink()
    assert np.array_equal(read_codes(read_dataset(data_root, "Tiny").samples[1].mask), expected)


def test_a_missing_root_is_named(tmp_path):
    with refused(f"--data-root {tmp_path / 'nowhere'}: expected a folder, there is none"):
        dataset_names(tmp_path / "nowhere")


def test_a_root_without_data_sets_says_what_it_holds(tmp_path):
    with refused(f"--data-root {tmp_path}: expected data sets NAME/images/ in it, found nothing"):
        dataset_names(tmp_path)


def test_a_missing_data_set_says_what_is_there(data_root):
    with refused(
        f"--dataset tiny: expected the folder {data_root / 'tiny'} with images/ and labels_masks/ in it; "
        f"{data_root} holds Tiny"
    ):
        read_dataset(data_root, "tiny")


def test_an_empty_data_set_is_refused(tmp_path):
    images = tmp_path / "Empty" / "images"
    images.mkdir(parents=True)
    (images / ".DS_Store").touch()
    with refused(f"{images}: expected pictures, the folder is empty"):
        read_dataset(tmp_path, "Empty")


def test_a_file_that_is_no_picture_is_named(data_root):
    notes = data_root / "Tiny" / "images" / "notes.txt"
    notes.write_text("to do")
    with refused(
        f"{notes}: expected an image (PNG, JPEG, WEBP, TIFF, BMP, PPM), and this file is none; "
        "take it out or fetch it anew"
    ):
        read_dataset(data_root, "Tiny")


def test_a_folder_among_the_pictures_is_named(data_root):
    images = data_root / "Tiny" / "images"
    (images / "more").mkdir()
    with refused(f"{images / 'more'}: expected nothing but pictures in {images}, this is no file; take it out"):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize(("first", "second"), [("a.jpg", "a.png"), ("A.png", "a.png"), ("A.jpg", "a.png")])
def test_two_pictures_may_not_share_a_mask(tmp_path, first, second):
    for name in (first, second):
        write_sample(tmp_path / "Twins", name, (8, 8), seed=0)
    if len(list((tmp_path / "Twins" / "images").iterdir())) < 2:
        pytest.skip("this file system ignores case")
    with refused(
        f"{tmp_path / 'Twins' / 'images'}: each picture needs a mask of its own, but {first} and {second} "
        "differ only in ending, case or Unicode form; rename or remove one"
    ):
        read_dataset(tmp_path, "Twins")


def test_missing_masks_are_counted_and_the_first_named(data_root):
    folder = data_root / "Tiny"
    for mask in (folder / "labels_masks").iterdir():
        mask.unlink()
    expected = ", ".join(f"images/{i}.png needs {folder / 'labels_masks' / f'{i}.png'}" for i in range(3))
    with refused(f"{folder}: every picture needs a mask (.png or .webp), 5 lack theirs: {expected}, and 2 more"):
        read_dataset(data_root, "Tiny")


def test_a_mask_of_another_size_is_refused_with_both_sizes(data_root):
    folder = data_root / "Tiny"
    Image.new("L", (7, 5)).save(folder / "labels_masks" / "2.png")
    with refused(
        f"{folder}: every mask must be of its picture's size (HxW), 1 not so: "
        "images/2.png is 24x40, labels_masks/2.png is 5x7"
    ):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize("limit", [600, 300])  # Pillow warns above its limit and raises above twice as much
def test_a_picture_over_the_pixel_limit_is_refused(data_root, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    picture = data_root / "Tiny" / "images" / "0.png"
    with refused(
        f"{picture}: an image may have at most {limit} pixels, and this one has more; "
        "reduce it, or take it out of the data set"
    ):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize(
    ("name", "count", "shape"), [("RoadAnomaly21", 10, (720, 1280)), ("fs_static", 30, (1024, 2048))]
)
def test_the_real_data_sets_are_read(real_data, name, count, shape):
    dataset = read_dataset(real_data, name)
    assert names(dataset)[:3] == [f"{i}{dataset.samples[0].image.suffix}" for i in range(3)]
    assert (len(dataset.samples), dataset.label_shape) == (count, shape)
    assert set(np.unique(read_codes(dataset.samples[0].mask))) <= {0, 1, 255}
