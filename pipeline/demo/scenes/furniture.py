"""What stands along the street: trees, poles, signs, traffic lights."""

import math
from random import Random

from logitpipe.demo.scenes.classes import POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION
from logitpipe.demo.scenes.palette import BARK, LEAVES, STEEL, varied
from logitpipe.demo.scenes.view import Point, View, panel, shaded

WHITE, RED, BLUE, YELLOW = (240.0, 240.0, 236.0), (206.0, 24.0, 32.0), (24.0, 74.0, 176.0), (244.0, 198.0, 20.0)
LAMPS = ((226.0, 30.0, 24.0), (240.0, 180.0, 30.0), (40.0, 210.0, 96.0))


def paint_tree(view: View, x: float, z: float, random: Random) -> None:
    """Paint a trunk and a crown of many tufts."""
    trunk, crown, leaves = random.uniform(1.8, 3), random.uniform(1.2, 2.4), varied(LEAVES, random, 16)
    view.shadow(x, z, 1.2, 0.8, 0.4)
    view.stroke([(x, 0, z), (x, trunk + crown, z)], 0.32, varied(BARK, random), VEGETATION)
    for number in range(14):
        angle, reach = random.uniform(0, 2 * math.pi), crown * math.sqrt(random.random())
        centre = (x + 0.8 * reach * math.cos(angle), trunk + crown + reach * math.sin(angle), z)
        tuft = crown * random.uniform(0.35, 0.6)
        view.disc(centre, tuft, tuft, shaded(leaves, 0.7 + 0.045 * number), VEGETATION)


def paint_pole(view: View, x: float, z: float, random: Random) -> None:
    """Paint a street lamp."""
    high, steel, reach = random.uniform(4.5, 8), varied(STEEL, random), 1.6 if x < 0 else -1.6
    view.stroke([(x, 0, z), (x, high, z)], 0.26, steel, POLE)
    view.stroke([(x, high, z), (x + reach, high + 0.3, z)], 0.18, steel, POLE)
    view.disc((x, 0.25, z), 0.24, 0.3, shaded(steel, 0.7), POLE)


def paint_sign(view: View, x: float, z: float, random: Random) -> None:
    """Paint one of four traffic signs on its pole."""
    high, size = random.uniform(2.1, 2.9), random.uniform(0.42, 0.62)
    view.stroke([(x, 0, z), (x, high + size, z)], 0.16, varied(STEEL, random), POLE)
    plate = random.choice((_prohibition, _warning, _direction, _priority))
    plate(view, (x, high, z), size)
    if random.random() < 0.3:
        panel(view, (x - size, high - size - 0.5), (x + size, high - size - 0.1), z, WHITE, TRAFFIC_SIGN)
        panel(view, (x - 0.7 * size, high - size - 0.35), (x + 0.7 * size, high - size - 0.25), z, (30, 30, 30))


def paint_traffic_light(view: View, x: float, z: float, random: Random) -> None:
    """Paint a pole with a black box of three lamps, one of them lit."""
    high, size, lit = random.uniform(2.4, 3.4), random.uniform(0.3, 0.42), random.randrange(3)
    view.stroke([(x, 0, z), (x, high + 1, z)], 0.2, varied((104.0, 106.0, 104.0), random), POLE)
    panel(view, (x - size - 0.08, high - 0.08), (x + size + 0.08, high + 3.3 * size), z, WHITE, TRAFFIC_LIGHT)
    panel(view, (x - size, high), (x + size, high + 3.2 * size), z, (22, 24, 24), TRAFFIC_LIGHT)
    for lamp, colour in enumerate(LAMPS):
        centre = (x, high + (2.7 - 1.05 * lamp) * size, z)
        view.disc(centre, 0.48 * size, 0.48 * size, colour if lamp == lit else shaded(colour, 0.3))


def _prohibition(view: View, centre: Point, size: float) -> None:
    view.disc(centre, size, size, RED, TRAFFIC_SIGN)
    view.disc(centre, 0.7 * size, 0.7 * size, WHITE)
    x, y, z = centre
    panel(view, (x - 0.4 * size, y - 0.12 * size), (x + 0.4 * size, y + 0.12 * size), z, (30, 30, 30))


def _warning(view: View, centre: Point, size: float) -> None:
    for part, colour in ((1.15, RED), (0.75, WHITE)):
        view.polygon(_regular(centre, part * size, 3), colour, TRAFFIC_SIGN)


def _direction(view: View, centre: Point, size: float) -> None:
    x, y, z = centre
    panel(view, (x - size, y - size), (x + size, y + size), z, BLUE, TRAFFIC_SIGN)
    view.polygon(_regular(centre, 0.6 * size, 3), WHITE)


def _priority(view: View, centre: Point, size: float) -> None:
    for part, colour in ((1.2, WHITE), (0.95, YELLOW)):
        view.polygon(_regular(centre, part * size, 4), colour, TRAFFIC_SIGN)


def _regular(centre: Point, size: float, corners: int) -> list[Point]:
    """Corners of a regular polygon that stands with one of them up."""
    x, y, z = centre
    angles = [2 * math.pi * corner / corners for corner in range(corners)]
    return [(x + size * math.sin(angle), y + size * math.cos(angle), z) for angle in angles]
