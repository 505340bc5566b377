"""People on foot and on two wheels."""

from random import Random

from logitpipe.demo.scenes.classes import BICYCLE, MOTORCYCLE, PERSON, RIDER
from logitpipe.demo.scenes.palette import CLOTHES, RIDING, RUBBER, SKIN, one_of, varied
from logitpipe.demo.scenes.view import Colour, View, shaded


def paint_person(view: View, x: float, z: float, random: Random) -> None:
    """Paint somebody who walks."""
    size, coat, trousers = random.uniform(0.88, 1.08), one_of(CLOTHES, random), one_of(CLOTHES, random)
    view.shadow(x, z, 0.5, 0.3, 0.5)
    stride = random.uniform(0.05, 0.3)
    for foot, light in ((-stride, 0.8), (stride, 1.0)):
        view.stroke([(x, 0.9 * size, z), (x + foot, 0, z)], 0.19, shaded(trousers, light), PERSON)
    for hand in (-0.34, 0.34):
        view.stroke([(x, 1.38 * size, z), (x + hand, 0.85 * size, z)], 0.14, shaded(coat, 0.85), PERSON)
    _torso(view, x, 0.85 * size, z, size, coat, PERSON)
    _head(view, x, 1.62 * size, z, varied((60.0, 44.0, 30.0), random), PERSON)


def paint_cyclist(view: View, x: float, z: float, random: Random) -> None:
    """Paint a rider on a bicycle."""
    turn = paint_bicycle(view, x, z, random)
    _paint_rider(view, x, z, turn, random)


def paint_motorcyclist(view: View, x: float, z: float, random: Random) -> None:
    """Paint a rider on a motorcycle."""
    turn = paint_motorcycle(view, x, z, random)
    _paint_rider(view, x, z, turn, random)


def paint_bicycle(view: View, x: float, z: float, random: Random) -> float:
    """Paint a bicycle; return how far it is turned, from nearly 0, seen along, to 1, seen from its side."""
    turn, frame = random.uniform(0.3, 1.0), one_of(((40.0, 170.0, 190.0), (200.0, 60.0, 130.0)), random)
    view.shadow(x, z, 0.9 * turn, 0.2, 0.5)
    for wheel in (-0.55, 0.55):
        centre = (x + wheel * turn, 0.36, z)
        view.disc(centre, 0.37 * max(turn, 0.3), 0.37, RUBBER, BICYCLE)
        view.disc(centre, 0.29 * max(turn, 0.25), 0.29, (150.0, 156.0, 160.0))
    bars = [(-0.55, 0.36), (-0.15, 0.85), (0.4, 0.85), (0.0, 0.36), (-0.55, 0.36)]
    view.stroke([(x + u * turn, v, z) for u, v in bars], 0.1, frame, BICYCLE)
    for (u, v), (s, t) in (((0.55, 0.36), (0.4, 1.05)), ((-0.15, 0.85), (-0.2, 0.98)), ((0.0, 0.36), (-0.2, 0.95))):
        view.stroke([(x + u * turn, v, z), (x + s * turn, t, z)], 0.1, frame, BICYCLE)
    view.stroke([(x + 0.25 * turn, 1.05, z), (x + 0.5 * turn, 1.05, z)], 0.1, RUBBER, BICYCLE)
    return turn


def paint_motorcycle(view: View, x: float, z: float, random: Random) -> float:
    """Paint a motorcycle; return how far it is turned, as `paint_bicycle` does."""
    turn, body = random.uniform(0.4, 1.0), one_of(((196.0, 30.0, 24.0), (30.0, 120.0, 40.0)), random)
    view.shadow(x, z, 1.1 * turn, 0.3, 0.6)
    for wheel in (-0.7, 0.7):
        view.disc((x + wheel * turn, 0.34, z), 0.36 * max(turn, 0.4), 0.36, RUBBER, MOTORCYCLE)
        view.disc((x + wheel * turn, 0.34, z), 0.14 * turn, 0.14, (190.0, 190.0, 194.0))
    for outline, colour in (
        ([(-0.7, 0.3), (0.5, 0.3), (0.4, 0.75), (-0.6, 0.7)], (64.0, 64.0, 70.0)),
        ([(-0.1, 0.6), (0.55, 0.6), (0.5, 1.0), (0.0, 0.95)], body),
        ([(-0.85, 0.68), (0.0, 0.68), (0.0, 0.86), (-0.9, 0.92)], RUBBER),
    ):
        view.polygon([(x + u * turn, v, z) for u, v in outline], colour, MOTORCYCLE)
    view.stroke([(x + 0.75 * turn, 0.4, z), (x + 0.45 * turn, 1.15, z)], 0.12, (170.0, 170.0, 174.0), MOTORCYCLE)
    return turn


def _paint_rider(view: View, x: float, z: float, turn: float, random: Random) -> None:
    coat, seat = one_of(RIDING, random, 10), x - 0.2 * turn
    view.stroke([(seat, 0.95, z), (x + 0.18 * turn, 0.65, z), (x, 0.3, z)], 0.18, (52.0, 50.0, 74.0), RIDER)
    view.stroke([(x, 1.4, z), (x + 0.42 * turn, 1.08, z)], 0.14, shaded(coat, 0.85), RIDER)
    _torso(view, x - 0.08 * turn, 0.88, z, 0.95, coat, RIDER)
    _head(view, x + 0.08 * turn, 1.64, z, one_of(((240.0, 240.0, 240.0), (230.0, 200.0, 30.0)), random), RIDER)


def _torso(view: View, x: float, low: float, z: float, size: float, colour: Colour, kind: int) -> None:
    outline = [(-0.19, 0), (0.19, 0), (0.25, 0.5), (0.14, 0.6), (-0.14, 0.6), (-0.25, 0.5)]
    view.polygon([(x + u * size, low + v * size, z) for u, v in outline], colour, kind)


def _head(view: View, x: float, y: float, z: float, cap: Colour, kind: int) -> None:
    view.disc((x, y, z), 0.13, 0.16, SKIN, kind)
    view.disc((x, y + 0.07, z), 0.14, 0.11, cap, kind)
