"""A whole scene from a seed: street, traffic, people, weather, and anomalies where they are wanted."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import ImageDraw

from logitpipe.demo.scenes import furniture, people, vehicles
from logitpipe.demo.scenes.anomalies import paint_anomaly
from logitpipe.demo.scenes.borders import paint_borders
from logitpipe.demo.scenes.classes import ANOMALY, SKY, VOID
from logitpipe.demo.scenes.street import Street, choose_street, paint_ground
from logitpipe.demo.scenes.view import HEIGHT, OVERSAMPLING, WIDTH, Camera, View
from logitpipe.demo.scenes.weather import choose_weather, finished

Paint = Callable[[View, float, float, Random], object]
Thing = tuple[float, float, Paint]
"""Metres ahead, metres to the right, and who paints it."""


@dataclass(frozen=True)
class Scene:
    """A street and what is true of it, all (256, 512) and uint8.

    Parameters
    ----------
    image : RGB, (256, 512, 3)
    classes : Cityscapes' training ids 0..18; 255 on anomalies and void
    anomaly : 0 normal, 1 anomaly, 255 void, as the masks of the anomaly data sets have it
    """

    image: np.ndarray
    classes: np.ndarray
    anomaly: np.ndarray


def draw_scene(seed: int, anomalies: bool) -> Scene:
    """Draw the scene of a seed; the same seed gives the same scene.

    Parameters
    ----------
    seed : 0 or more
    anomalies : whether there are any; with and without them a seed's scenes have nothing else in common
    """
    # Even numbers without anomalies, odd ones with: no scene of one sort shares a random sequence with the other.
    random = Random(2 * seed + anomalies)
    weather, street = choose_weather(random), choose_street(random)
    view = View(_choose_camera(random), weather.haze, weather.visibility)
    view.sky(weather.sky, SKY)
    paint_ground(view, street, random)
    paint_borders(view, street, random)
    things = _place_things(street, random) + (_place_anomalies(street, random) if anomalies else [])
    # From far to near, so that what is near hides what is behind it; there is no other test of depth.
    for z, x, paint in sorted(things, key=lambda thing: -thing[0]):
        paint(view, x, z, random)
    _paint_own_car(view, random)
    # Classes take every second painted pixel and are not averaged: the mean of two class numbers is a third class.
    classes = np.array(view.classes)[::OVERSAMPLING, ::OVERSAMPLING]
    image = finished(view.picture.reduce(OVERSAMPLING), classes, weather, random)
    anomaly = np.select([classes == ANOMALY, classes == VOID], [np.uint8(1), np.uint8(255)], np.uint8(0))
    return Scene(image, np.where(classes == ANOMALY, np.uint8(VOID), classes), anomaly)


def _choose_camera(random: Random) -> Camera:
    return Camera(
        height=random.uniform(1.4, 2.1),
        aside=random.uniform(-0.5, 2.2),
        focal=random.uniform(340, 470),
        centre=WIDTH * random.uniform(0.38, 0.62),
        horizon=HEIGHT * random.uniform(0.36, 0.48),
    )


def _place_things(street: Street, random: Random) -> list[Thing]:
    """Choose what is on the street, and where."""
    return _place_traffic(street, random) + _place_on_pavements(street, random)


def _place_traffic(street: Street, random: Random) -> list[Thing]:
    """Vehicles one behind the other in their lanes, some parked at the kerb; two-wheelers between them."""
    things: list[Thing] = []
    middles = (1.4 - street.road, -street.lane / 2, street.lane / 2, street.road - 1.4)
    lanes = middles if street.road > 1.7 * street.lane else middles[1:3]
    for lane in (lane for lane in lanes if street.rails is None or abs(lane - street.rails) > 2.4):
        z = random.uniform(6, 30)
        while z < 60:
            paint = random.choices(list(TRAFFIC), weights=list(TRAFFIC.values()))[0]
            things.append((z, lane + random.uniform(-0.3, 0.3), paint))
            z += random.uniform(12, 45)
    if street.rails is not None and random.random() < 0.85:
        things.append((random.uniform(9, 30), street.rails, vehicles.paint_train))
    for _ in range(random.randrange(1, 5)):
        paint = random.choice((people.paint_cyclist, people.paint_motorcyclist))
        things.append((random.uniform(5.5, 24), random.uniform(-street.road, street.road), paint))
    return things


def _place_on_pavements(street: Street, random: Random) -> list[Thing]:
    """People, parked two-wheelers and furniture, which stands near the kerb."""
    things: list[Thing] = []
    for paint, (most, farthest) in ON_PAVEMENTS.items():
        for _ in range(random.randrange(most + 1)):
            side = random.choice((-1, 1))
            near_kerb = paint in AT_THE_KERB
            inside = 0.5 if near_kerb else random.uniform(0.4, street.pavement - street.road)
            things.append((random.uniform(5.5, farthest), side * (street.road + inside), paint))
    return things


def _place_anomalies(street: Street, random: Random) -> list[Thing]:
    """One to four anomalies, the first of them ahead on the road, where it is seen."""
    # Metres ahead and to either side: the first stands within 11 m and 2.4 m of the middle of the road.
    reaches = [(11, 2.4), *((24, street.pavement + 2) for _ in range(random.randrange(4)))]
    return [(random.uniform(6, far), random.uniform(-reach, reach), paint_anomaly) for far, reach in reaches]


def _paint_own_car(view: View, random: Random) -> None:
    """Paint what is no street: the bonnet of the camera's own car, and the black edge of a rectified picture."""
    width, height = view.picture.size
    low, centre, reach = height * random.uniform(0.9, 0.97), width * random.uniform(0.45, 0.55), 0.62 * width
    tone = random.randrange(14, 60)
    bonnet = (centre - reach, low, centre + reach, low + 0.5 * height)
    edge = OVERSAMPLING * random.randrange(2, 6)
    for layer, dark, black in ((view.picture, (tone, tone, tone + 8), (0, 0, 0)), (view.classes, VOID, VOID)):
        draw = ImageDraw.Draw(layer)
        draw.ellipse(bonnet, fill=dark)
        draw.rectangle((0, 0, width - 1, height - 1), outline=black, width=edge)


TRAFFIC: dict[Paint, float] = {
    vehicles.paint_car: 5,
    vehicles.paint_truck: 1.6,
    vehicles.paint_bus: 1.6,
}
"""How often each comes."""
ON_PAVEMENTS: dict[Paint, tuple[int, float]] = {
    people.paint_person: (7, 26),
    people.paint_bicycle: (2, 18),
    people.paint_motorcycle: (2, 18),
    furniture.paint_tree: (4, 45),
    furniture.paint_pole: (4, 40),
    furniture.paint_sign: (4, 24),
    furniture.paint_traffic_light: (3, 22),
}
"""The most of each, and the farthest in metres."""
AT_THE_KERB = (furniture.paint_pole, furniture.paint_sign, furniture.paint_traffic_light)
