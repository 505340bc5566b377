"""Scenes: the same seed gives the same scene, every class and anomaly is where its label says, and files hold it."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from logitpipe.demo import dataset as demo_dataset
from logitpipe.demo.dataset import COUNT, write_scenes
from logitpipe.demo.scenes.classes import ANOMALY, CAR, ROAD, SKY, VOID
from logitpipe.demo.scenes.scene import draw_scene
from logitpipe.demo.scenes.view import HEIGHT, WIDTH, Camera, View, box, panel
from logitpipe.stages.infer.data.datasets import read_dataset
from logitpipe.stages.infer.data.preprocess import prepare

CAMERA = Camera(height=1.5, aside=0.0, focal=400.0, centre=256.0, horizon=100.0)
LABELS_OF_FOUR = "40c6a2d4948918c3cb7e522c53a2f13099c829bfba32c40cdcbfccd28c3dae01"
THUMBNAIL = [[[82, 75, 74], [72, 89, 81], [124, 128, 131]], [[83, 70, 59], [75, 75, 81], [117, 119, 122]]]


@pytest.fixture(scope="module")
def demo_scenes():
    return [draw_scene(seed, anomalies=True) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def plain_scenes():
    return [draw_scene(seed, anomalies=False) for seed in range(10)]


def test_a_seed_is_a_scene(demo_scenes):
    again = draw_scene(7, anomalies=True)
    for name in ("image", "classes", "anomaly"):
        assert np.array_equal(getattr(again, name), getattr(demo_scenes[7], name))
    assert not np.array_equal(again.classes, demo_scenes[8].classes)
    assert not np.array_equal(again.classes, draw_scene(7, anomalies=False).classes)


def test_the_labels_are_those_that_they_were(demo_scenes):
    digest = hashlib.sha256()
    for scene in demo_scenes[:4]:
        digest.update(scene.classes.tobytes() + scene.anomaly.tobytes())
    assert digest.hexdigest() == LABELS_OF_FOUR


def test_the_picture_is_the_one_it_was(demo_scenes):
    """Means of blocks: Pillow's blur and numpy's noise may differ in their last digits from version to version."""
    blocks = demo_scenes[0].image.reshape(4, 64, 8, 64, 3).mean((1, 3))
    assert np.abs(blocks[::2, ::3] - THUMBNAIL).max() < 2


def test_shapes_and_codes(demo_scenes, plain_scenes):
    for scene in demo_scenes + plain_scenes:
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        assert scene.classes.shape == scene.anomaly.shape == (HEIGHT, WIDTH)
        assert scene.image.dtype == scene.classes.dtype == scene.anomaly.dtype == np.uint8
        assert set(np.unique(scene.anomaly)) <= {0, 1, 255}
        assert np.array_equal(scene.anomaly == 0, scene.classes < 19)
        assert (scene.classes[scene.anomaly != 0] == 255).all()


def test_every_class_comes_often_enough_to_be_learned(demo_scenes):
    classes = np.stack([scene.classes for scene in demo_scenes])
    for kind in range(19):
        found = classes == kind
        assert found.any((1, 2)).sum() >= 20, kind
        assert found.mean() > 0.005, kind


def test_every_demo_scene_has_an_anomaly_and_no_plain_scene_has_one(demo_scenes, plain_scenes):
    shares = [(scene.anomaly == 1).mean() for scene in demo_scenes]
    assert min(shares) > 0.001
    assert max(shares) < 0.2
    assert 0.01 < np.mean(shares) < 0.05
    assert not any((scene.anomaly == 1).any() for scene in plain_scenes)


def test_the_border_and_the_own_car_are_void(demo_scenes):
    for scene in demo_scenes:
        void = scene.anomaly == 255
        inner = void.copy()
        inner[2:-2, 2:-2] = True
        assert inner.all()
        assert void[-8:, WIDTH // 2].all()
        assert not void[6 : HEIGHT // 2, 6:-6].any()
        assert void.mean() < 0.12


def test_an_anomaly_looks_unlike_what_surrounds_it(demo_scenes):
    """A person must see it: on average its colour differs from what is around it by a tenth of the range."""
    differences = []
    for scene in demo_scenes:
        anomalous = scene.anomaly == 1
        rows, columns = np.nonzero(anomalous)
        around = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        normal = scene.anomaly[around] == 0
        near, own = scene.image[around][normal], scene.image[anomalous]
        differences.append(np.abs(near.mean(0) - own.mean(0)).max())
    assert np.mean(differences) > 25


def test_a_point_is_seen_where_a_pinhole_sees_it():
    assert CAMERA.project((0, 1.5, 50)) == (512, 200)  # at eye level: on the horizon, whatever the distance
    assert CAMERA.project((2, 0, 10)) == (2 * (256 + 80), 2 * (100 + 60))
    assert CAMERA.project((1, 1.5, 0.1)) == CAMERA.project((1, 1.5, 2.0))


def painted() -> View:
    view = View(CAMERA, (200, 200, 200), 100.0)
    view.sky((90, 140, 220), SKY)
    view.ground((-50, 2), (50, 900), (80, 80, 80), ROAD)
    return view


def at(view: View, x: float, y: float, z: float) -> int:
    column, row = view.camera.project((x, y, z))
    return view.classes.getpixel((round(column), round(row)))


def test_what_is_near_hides_what_is_far():
    view = painted()
    box(view, (-1, 0, 20), (1, 2, 24), (200, 30, 30), CAR)
    assert (at(view, 0, 1, 20), at(view, 0, 0.3, 10), at(view, 0, 5, 20)) == (CAR, ROAD, SKY)
    panel(view, (-0.2, 0), (0.2, 3), 10, (90, 60, 30), ANOMALY)
    assert (at(view, 0, 1, 10), at(view, 0.9, 1, 20)) == (ANOMALY, CAR)


def test_a_box_shows_the_flank_that_faces_the_camera():
    left, right = painted(), painted()
    box(left, (-4, 0, 10), (-2, 1.4, 16), (200, 30, 30), CAR)
    box(right, (2, 0, 10), (4, 1.4, 16), (200, 30, 30), CAR)
    assert (at(left, -2, 0.7, 13), at(right, 2, 0.7, 13)) == (CAR, CAR)
    assert (at(left, -1.4, 0.2, 13), at(right, 1.4, 0.2, 13)) == (ROAD, ROAD)


def test_details_and_shadows_keep_the_class_below_them():
    view = painted()
    before = view.classes.tobytes(), view.picture.tobytes()
    view.shadow(0, 10, 1, 0.5, 0.6)
    view.disc((0, 1, 10), 0.4, 0.4, (255, 0, 0))
    view.stroke([(0, 0, 8), (1, 1, 8)], 0.2, (255, 0, 0))
    panel(view, (-3, 0), (-2, 1), 9, (255, 0, 0))
    assert view.classes.tobytes() == before[0]
    assert view.picture.tobytes() != before[1]


def test_distance_fades_to_haze():
    view = painted()
    for z in (5, 50, 500):
        panel(view, (-0.5, 0), (0.5, 1), z, (0, 0, 0))
        column, row = view.camera.project((0, 0.5, z))
        faded = 200 * (1 - np.exp(-z / 100))
        assert view.picture.getpixel((round(column), round(row))) == (round(faded),) * 3


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(demo_dataset, "COUNT", 3)


@pytest.mark.usefixtures("three")
def test_the_files_are_a_data_set_and_hold_the_scenes(tmp_path, demo_scenes):
    assert write_scenes(tmp_path) == tmp_path / "DemoScenes"
    dataset = read_dataset(tmp_path, "DemoScenes")
    assert [sample.name for sample in dataset.samples] == ["00.png", "01.png", "02.png"]
    assert dataset.label_shape == (256, 512)
    for sample, scene in zip(dataset.samples, demo_scenes, strict=False):
        prepared = prepare(sample, (256, 512))
        assert np.array_equal(prepared.pixels, scene.image)
        assert np.array_equal(prepared.labels, scene.anomaly)


@pytest.mark.usefixtures("three")
def test_files_that_are_there_stay_and_others_are_written(tmp_path):
    folder = write_scenes(tmp_path)
    whole = (folder / "images" / "01.png").read_bytes()
    Image.new("RGB", (1, 1)).save(folder / "images" / "00.png")
    kept = (folder / "images" / "00.png").read_bytes()
    (folder / "images" / "01.png").unlink()
    write_scenes(tmp_path)
    assert (folder / "images" / "00.png").read_bytes() == kept
    assert (folder / "images" / "01.png").read_bytes() == whole
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["00.png", "01.png", "02.png"]


def test_void_and_anomaly_are_no_class_of_a_network():
    assert min(ANOMALY, VOID) > 19
