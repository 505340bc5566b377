"""What no class covers: animals, lost load, odd shapes."""

import math
from collections.abc import Callable
from random import Random

from logitpipe.demo.scenes.classes import ANOMALY
from logitpipe.demo.scenes.palette import ODD, RUBBER, one_of, varied
from logitpipe.demo.scenes.view import View, box, panel, shaded

WHITE, ORANGE, WOOD = (240.0, 238.0, 230.0), (246.0, 104.0, 20.0), (168.0, 120.0, 66.0)
HIDES = ((122.0, 82.0, 48.0), (226.0, 220.0, 208.0), (40.0, 36.0, 34.0), (190.0, 150.0, 96.0), (128.0, 124.0, 128.0))
Paint = Callable[[View, float, float, float, Random], None]


def paint_anomaly(view: View, x: float, z: float, random: Random) -> None:
    """Paint one of the anomalies, in a size of its own."""
    paint, (least, most) = random.choice(ANOMALIES)
    paint(view, x, z, random.uniform(least, most), random)


def _paint_animal(view: View, x: float, z: float, size: float, random: Random) -> None:
    """Something with four legs, a neck, a head and a tail; `size` is the height of its back."""
    hide, spots = one_of(HIDES, random), one_of(HIDES, random)
    way, neck = random.choice((-1, 1)), random.uniform(0.1, 0.75)
    view.shadow(x, z, 0.8 * size, 0.3, 0.5)
    for leg, light in ((-0.5, 0.7), (0.42, 0.7), (-0.38, 1.0), (0.54, 1.0)):
        foot = x + leg * size
        view.stroke([(foot, 0.6 * size, z), (foot, 0, z)], 0.14 * size, shaded(hide, light), ANOMALY)
    view.disc((x, 0.74 * size, z), 0.68 * size, 0.29 * size, hide, ANOMALY)
    for _ in range(random.choice((0, 5, 9))):
        spot = (x + random.uniform(-0.45, 0.45) * size, random.uniform(0.65, 0.85) * size, z)
        view.disc(spot, 0.11 * size, 0.08 * size, spots)
    head = (x + way * 0.82 * size, (0.9 + neck) * size, z)
    view.stroke([(x + way * 0.5 * size, 0.78 * size, z), head], 0.22 * size, hide, ANOMALY)
    view.disc(head, 0.25 * size, 0.15 * size, shaded(hide, 1.1), ANOMALY)
    for ear in (-0.06, 0.1):
        tip = (head[0] + ear * size, head[1] + 0.3 * size, z)
        view.stroke([head, tip], 0.07 * size, shaded(hide, 0.8), ANOMALY)
    tail = [(x - way * 0.66 * size, 0.85 * size, z), (x - way * 0.9 * size, 0.5 * size, z)]
    view.stroke(tail, 0.06 * size, shaded(hide, 0.8), ANOMALY)


def _paint_crates(view: View, x: float, z: float, size: float, random: Random) -> None:
    """A heap of boxes, slatted or taped."""
    colour, places = one_of((WOOD, (204.0, 168.0, 112.0), *ODD[:2]), random), [(0.0, 0.0), (1.02, 0.0), (0.4, 1.0)]
    view.shadow(x + size / 2, z + size / 2, size, 0.5 * size, 0.6)
    for right, up in places[: random.randrange(1, 4)]:
        left, low = x + right * size, up * size
        tone = shaded(colour, random.uniform(0.85, 1.15))
        box(view, (left, low, z), (left + size, low + size, z + size), tone, ANOMALY)
        for slat in (0.0, 0.3, 0.6, 0.9):
            line = low + slat * size
            panel(view, (left, line), (left + size, line + 0.07 * size), z, shaded(tone, 0.6))


def _paint_cone(view: View, x: float, z: float, size: float, random: Random) -> None:
    colour = varied(ORANGE, random, 10)
    panel(view, (x - 0.36 * size, 0), (x + 0.36 * size, 0.07 * size), z, shaded(colour, 0.7), ANOMALY)
    for low, high, tone in ((0.05, 1.0, colour), (0.3, 0.48, WHITE), (0.66, 0.8, WHITE)):
        wide, narrow = 0.27 * (1.06 - low) * size, 0.27 * (1.06 - high) * size
        bottom, top = low * size, high * size
        corners = [(x - wide, bottom, z), (x + wide, bottom, z), (x + narrow, top, z), (x - narrow, top, z)]
        view.polygon(corners, tone, ANOMALY)


def _paint_tyres(view: View, x: float, z: float, size: float, random: Random) -> None:
    """Tyres in a stack, or one that stands."""
    view.shadow(x, z, size, 0.4 * size, 0.6)
    if random.random() < 0.4:
        view.disc((x, 0.6 * size, z), 0.6 * size, 0.6 * size, RUBBER, ANOMALY)
        view.disc((x, 0.6 * size, z), 0.3 * size, 0.3 * size, (92.0, 90.0, 92.0))
        return
    for layer in range(random.randrange(1, 4)):
        high = (0.2 + 0.32 * layer) * size
        view.disc((x, high, z), 0.66 * size, 0.22 * size, shaded(RUBBER, 0.7), ANOMALY)
        view.disc((x, high + 0.1 * size, z), 0.66 * size, 0.2 * size, shaded(RUBBER, 1.7), ANOMALY)
        view.disc((x, high + 0.1 * size, z), 0.32 * size, 0.09 * size, shaded(RUBBER, 0.4))


def _paint_boulders(view: View, x: float, z: float, size: float, random: Random) -> None:
    colour = one_of(((120.0, 112.0, 108.0), (150.0, 128.0, 104.0), (96.0, 88.0, 110.0)), random)
    view.shadow(x, z, size, 0.4 * size, 0.5)
    for stone in range(random.randrange(1, 5)):
        centre, reach = x + 0.5 * stone * size, size * random.uniform(0.35, 0.6)
        view.polygon(_ragged(centre, reach, z, reach, random), shaded(colour, random.uniform(0.8, 1.2)), ANOMALY)
        view.polygon(_ragged(centre - 0.1 * reach, 1.3 * reach, z, 0.5 * reach, random), shaded(colour, 1.3))


def _paint_ball(view: View, x: float, z: float, size: float, random: Random) -> None:
    """A ball or balloon with bands of two colours."""
    one, other = random.sample(ODD, 2)
    view.shadow(x, z, size, 0.3 * size, 0.6)
    for band in range(6):
        reach = size * (1 - band / 6)
        view.disc((x, size, z), reach, size * (1 - 0.06 * band), one if band % 2 else other, ANOMALY)
    view.disc((x - 0.35 * size, 1.4 * size, z), 0.16 * size, 0.16 * size, WHITE)


def _paint_barrel(view: View, x: float, z: float, size: float, random: Random) -> None:
    one, other = random.sample((ORANGE, WHITE, *ODD), 2)
    view.shadow(x, z, 0.6 * size, 0.3 * size, 0.6)
    for hoop in range(5):
        low, wide = 0.2 * hoop * size, 0.34 * size * (1.12 if hoop == 2 else 1)
        panel(view, (x - wide, low), (x + wide, low + 0.21 * size), z, one if hoop % 2 else other, ANOMALY)
    view.disc((x, size, z), 0.34 * size, 0.08 * size, shaded(one, 0.8), ANOMALY)


def _paint_sofa(view: View, x: float, z: float, size: float, random: Random) -> None:
    colour = one_of(ODD, random)
    view.shadow(x, z, 1.2 * size, 0.5 * size, 0.6)
    box(view, (x - size, 0.3 * size, z + 0.5 * size), (x + size, 1.05 * size, z + 0.8 * size), colour, ANOMALY)
    box(view, (x - size, 0.1 * size, z), (x + size, 0.5 * size, z + 0.6 * size), shaded(colour, 0.85), ANOMALY)
    for side in (-1, 1):
        arm = sorted((x + side * 0.8 * size, x + side * 1.05 * size))
        box(view, (arm[0], 0, z - 0.05), (arm[1], 0.7 * size, z + 0.6 * size), shaded(colour, 1.1), ANOMALY)


def _paint_blob(view: View, x: float, z: float, size: float, random: Random) -> None:
    """A ragged shape with stripes, spots or a chequered skin, as nothing on a street has it."""
    one, other = random.sample(ODD, 2)
    view.shadow(x, z, size, 0.3 * size, 0.6)
    view.polygon(_ragged(x, size, z, size, random), one, ANOMALY)
    pattern = random.randrange(3)
    for row in range(-3, 4):
        for column in range(-3, 4):
            if row * row + column * column > 9 or (pattern == 0 and (row + column) % 2) or (pattern == 1 and row % 2):
                continue
            u, v, cell = x + 0.18 * column * size, size + 0.18 * row * size, 0.09 * size
            if pattern == 2:
                view.disc((u, v, z), 0.7 * cell, 0.7 * cell, other)
            else:
                panel(view, (u - cell, v - cell), (u + cell, v + cell), z, other)


def _ragged(x: float, y: float, z: float, size: float, random: Random) -> list[tuple[float, float, float]]:
    """Corners around (x, y) at chance distances."""
    angles = [2 * math.pi * corner / 11 for corner in range(11)]
    reaches = [size * random.uniform(0.7, 1.0) for _ in angles]
    return [
        (x + reach * math.cos(angle), max(0.0, y + reach * math.sin(angle)), z)
        for reach, angle in zip(reaches, angles, strict=True)
    ]


ANOMALIES: tuple[tuple[Paint, tuple[float, float]], ...] = (
    (_paint_animal, (0.5, 2.2)),
    (_paint_animal, (0.8, 1.8)),
    (_paint_crates, (0.4, 1.1)),
    (_paint_cone, (0.6, 1.2)),
    (_paint_tyres, (0.5, 1.0)),
    (_paint_boulders, (0.5, 1.4)),
    (_paint_ball, (0.25, 0.9)),
    (_paint_barrel, (0.8, 1.4)),
    (_paint_sofa, (0.7, 1.2)),
    (_paint_blob, (0.5, 1.3)),
)
"""Painters, with the least and the greatest size that each takes, in metres."""
