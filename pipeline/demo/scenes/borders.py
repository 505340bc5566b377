"""What lines the street: houses, walls, fences, hedges and meadows, plot after plot."""

from collections.abc import Callable
from random import Random

from logitpipe.demo.scenes.classes import BUILDING, FENCE, VEGETATION, WALL
from logitpipe.demo.scenes.palette import CONCRETE, FACADES, GLASS, LEAVES, one_of, varied
from logitpipe.demo.scenes.street import Street, paint_side_road
from logitpipe.demo.scenes.view import Colour, View, box, flank, panel, shaded

FARTHEST = 130.0
Plot = tuple[float, float, float]
"""Signed metres from the middle of the street, then from where to where along it."""


def paint_borders(view: View, street: Street, random: Random) -> None:
    """Paint the plots of both sides, the far ones first, and what closes the street at its end."""
    _paint_skyline(view, random)
    for side in (-1, 1):
        light = street.light[side > 0]
        far = FARTHEST
        while far > 5:
            near = max(2.2, far - random.uniform(7, 18) * (1 if far < 60 else 1.8))
            edge = side * (street.pavement + random.choice((0.0, 0.0, random.uniform(0.5, 6))))
            paint = random.choices(list(PLOTS), weights=list(PLOTS.values()))[0]
            paint(view, (edge, near, far), light, random)
            far = near


def _paint_skyline(view: View, random: Random) -> None:
    for _ in range(26):
        x, high = random.uniform(-150, 150), random.uniform(6, 22)
        if random.random() < 0.5:
            panel(view, (x, 0), (x + random.uniform(8, 25), high), 150, one_of(FACADES, random), BUILDING)
        else:
            view.disc((x, high / 3, 150), random.uniform(4, 12), high / 2, varied(LEAVES, random), VEGETATION)


def _paint_house(view: View, plot: Plot, light: float, random: Random) -> None:
    x, near, far = plot
    colour, high = one_of(FACADES, random, 22), random.choice((2, 3, 3, 4, 5, 6)) * 3.1 + 0.8
    _block(view, plot, 14, high, shaded(colour, light), BUILDING)
    glass = varied(GLASS, random, 24) if random.random() < 0.85 else (236.0, 204.0, 120.0)
    bays = max(1, min(8, int((far - near) / random.uniform(2.6, 3.6))))
    pitch, width = (far - near) / bays, random.uniform(0.4, 0.62)
    for floor in range(int(high / 3.1)):
        for bay in range(bays):
            start = near + (bay + (1 - width) / 2) * pitch
            low = 3.1 * floor + (0.3 if floor == 0 else 1.0)
            _window(view, x, (low, start), (3.1 * floor + 2.6, start + width * pitch), glass, shaded(colour, 1.25))
    flank(view, x, (high - 0.4, near), (high, far), shaded(colour, 0.6 * light))


def _window(
    view: View, x: float, low: tuple[float, float], high: tuple[float, float], glass: Colour, frame: Colour
) -> None:
    flank(view, x, (low[0] - 0.15, low[1] - 0.12), (high[0] + 0.1, high[1] + 0.12), frame)
    flank(view, x, low, high, glass)


def _paint_wall(view: View, plot: Plot, light: float, random: Random) -> None:
    x, near, far = plot
    colour, high = shaded(varied(CONCRETE, random, 12), light), random.uniform(1.7, 3.0)
    _block(view, plot, 0.35, high, colour, WALL)
    for course in range(1, int(high / 0.5)):
        flank(view, x, (0.5 * course, near), (0.5 * course + 0.06, far), shaded(colour, 0.72))
    for joint in range(int((far - near) / 1.6)):
        flank(view, x, (0, near + 1.6 * joint), (high, near + 1.6 * joint + 0.08), shaded(colour, 0.72))


def _paint_fence(view: View, plot: Plot, light: float, random: Random) -> None:
    x, near, far = plot
    colour, high = random.choice(((150.0, 104.0, 62.0), (62.0, 92.0, 84.0))), random.uniform(1.3, 2.1)
    gaps = shaded(colour, 0.35 * light)
    flank(view, x, (0, near), (high, far), gaps, FENCE)
    colour, start = shaded(varied(colour, random), light), near
    while start < far:
        flank(view, x, (0, start), (high + 0.1, min(far, start + 0.2)), colour, FENCE)
        start += 0.45
    for rail in (0.3, high - 0.3):
        flank(view, x, (rail, near), (rail + 0.14, far), shaded(colour, 1.1))


def _paint_hedge(view: View, plot: Plot, light: float, random: Random) -> None:
    x, near, far = plot
    leaves, high, side = shaded(varied(LEAVES, random), light), random.uniform(1.6, 6), 1 if x > 0 else -1
    for number in range(16):
        z = far - (far - near) * number / 15
        tuft = shaded(leaves, random.uniform(0.75, 1.3))
        centre = (x + side * random.uniform(0.8, 2.2), high * random.uniform(0.35, 0.6), z)
        view.disc(centre, random.uniform(0.9, 1.8), high * random.uniform(0.42, 0.6), tuft, VEGETATION)


def _paint_meadow(view: View, plot: Plot, light: float, random: Random) -> None:
    x, near, far = plot
    side = 1 if x > 0 else -1
    for _ in range(random.randrange(3)):
        bush = (x + side * random.uniform(4, 20), 0.8, random.uniform(near, far))
        view.disc(bush, 1.2, 1.1, shaded(varied(LEAVES, random), light), VEGETATION)


def _paint_opening(view: View, plot: Plot, _light: float, _random: Random) -> None:
    x, near, far = plot
    paint_side_road(view, x, near, min(far, near + 9))


def _block(view: View, plot: Plot, deep: float, high: float, colour: Colour, kind: int) -> None:
    """Paint a block along the street: the face towards the road, and the one towards the camera."""
    x, near, far = plot
    left, right = sorted((x, x + deep if x > 0 else x - deep))
    box(view, (left, 0, near), (right, high, far), colour, kind, sides=1.0)


PLOTS: dict[Callable[[View, Plot, float, Random], None], float] = {
    _paint_house: 5,
    _paint_wall: 2,
    _paint_fence: 2,
    _paint_hedge: 1.5,
    _paint_meadow: 1.2,
    _paint_opening: 0.5,
}
"""How often each comes."""
