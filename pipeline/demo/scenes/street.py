"""The ground: grass everywhere, on it pavement and road with kerbs, slabs and marks."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from logitpipe.demo.scenes.classes import ROAD, SIDEWALK, TERRAIN
from logitpipe.demo.scenes.palette import ASPHALT, GRASS, PAVING, varied
from logitpipe.demo.scenes.view import NEAREST, Colour, View, shaded

PAINT = (216.0, 214.0, 206.0)
RAIL = (52.0, 48.0, 48.0)


@dataclass(frozen=True)
class Street:
    """Metres from the middle to the edge of the road, to that of the pavement, and from lane to lane.

    `rails` tells where tracks lie, if any do; `light` is what falls on things left and right of the street.
    """

    road: float
    pavement: float
    lane: float
    rails: float | None
    light: tuple[float, float]


def choose_street(random: Random) -> Street:
    """Choose the proportions of a street."""
    lane = random.uniform(3.0, 3.8)
    road = lane * random.choice((1.0, 1.5, 2.0))
    rails = random.choice((-1, 1)) * (road - lane / 2) if random.random() < 0.65 else None
    bright, dark = random.uniform(0.92, 1.08), random.uniform(0.62, 0.86)
    light = (bright, dark) if random.random() < 0.5 else (dark, bright)
    return Street(road, road + random.uniform(2.4, 4.5), lane, rails, light)


def paint_ground(view: View, street: Street, random: Random) -> None:
    """Paint grass, pavement and road."""
    _strip(view, -120, 120, varied(GRASS, random, 16), TERRAIN)
    paving = varied(PAVING, random, 16)
    for side in (-1, 1):
        _strip(view, side * street.road, side * street.pavement, paving, SIDEWALK)
        _paint_slabs(view, street, side, shaded(paving, 0.84))
    asphalt = varied(ASPHALT, random, 20)
    _strip(view, -street.road, street.road, asphalt, ROAD)
    for side in (-1, 1):
        _strip(view, side * street.road, side * (street.road + 0.25), shaded(paving, 1.22), SIDEWALK)
    _paint_marks(view, street, random)
    if street.rails is not None:
        for rail in (-0.72, 0.72):
            _strip(view, street.rails + rail - 0.07, street.rails + rail + 0.07, RAIL)
    if random.random() < 0.4:
        _paint_crossing(view, street, random.uniform(7, 22))
    for _ in range(random.randrange(4)):
        _paint_patch(view, street, shaded(asphalt, random.uniform(0.8, 1.15)), random)


def paint_side_road(view: View, edge: float, near: float, far: float) -> None:
    """Paint a road that leaves the street beyond the `edge` in metres to the left or right."""
    view.ground((edge, near), (120 if edge > 0 else -120, far), ASPHALT, ROAD)


def _strip(view: View, left: float, right: float, colour: Colour, kind: int | None = None) -> None:
    """Paint a strip along the street, in pieces, as each distance fades it by its own amount."""
    edges = (NEAREST, 9.0, 16.0, 28.0, 50.0, 90.0, 900.0)
    for near, far in pairwise(edges):
        view.ground((left, near), (right, far), colour, kind)


def _paint_slabs(view: View, street: Street, side: int, colour: Colour) -> None:
    for step in range(3, 26):
        view.ground((side * street.road, step), (side * street.pavement, step + 0.08), colour)


def _paint_marks(view: View, street: Street, random: Random) -> None:
    start = random.uniform(0, 6)
    for step in range(9):
        near = NEAREST + start + 8 * step
        view.ground((-0.08, near), (0.08, near + 3.5), PAINT)
    if random.random() < 0.5:
        for edge in (-street.road + 0.4, street.road - 0.52):
            _strip(view, edge, edge + 0.12, PAINT)


def _paint_crossing(view: View, street: Street, near: float) -> None:
    for bar in range(int(2 * street.road)):
        left = -street.road + bar + 0.2
        view.ground((left, near), (left + 0.5, near + 3), PAINT)


def _paint_patch(view: View, street: Street, colour: Colour, random: Random) -> None:
    left, near = random.uniform(-street.road, street.road - 1.5), random.uniform(4, 25)
    view.ground((left, near), (left + random.uniform(0.5, 1.5), near + random.uniform(0.5, 4)), colour)
