"""Cars, trucks, buses and trams, as boxes with windows, lamps and wheels."""

from random import Random

from logitpipe.demo.scenes.classes import BUS, CAR, TRAIN, TRUCK
from logitpipe.demo.scenes.palette import BUSES, CARGO, CARS, GLASS, RUBBER, TRAINS, one_of, varied
from logitpipe.demo.scenes.view import Colour, View, box, flank, panel, shaded

CREAM = (232.0, 222.0, 190.0)
BRAKE, HEAD = (214.0, 28.0, 26.0), (250.0, 244.0, 214.0)
Extent = tuple[float, float, float, float]
"""Metres on the ground: left, right, near, far."""


def paint_car(view: View, x: float, z: float, random: Random) -> None:
    """Paint a car that drives along the street, or across it."""
    colour, across = one_of(CARS, random, 10), random.random() < 0.25
    half, deep = (2.1, 1.8) if across else (0.92, 4.2)
    low = random.uniform(0.85, 1.05)
    body = (x - half, x + half, z, z + deep)
    _ground_shadow(view, body)
    _wheels(view, body, 0.33, CAR)
    box(view, (body[0], 0.26, body[2]), (body[1], low, body[3]), colour, CAR)
    inset, front, back = (0.75, 0.1, 0.1) if across else (0.12, 0.5, 1.1)
    _cabin(view, (body[0] + inset, body[1] - inset, z + front, z + deep - back), low, colour)
    if not across:
        _lamps(view, body, 0.72, random)
        panel(view, (x - 0.26, 0.5), (x + 0.26, 0.63), z, (236.0, 236.0, 226.0))


def paint_truck(view: View, x: float, z: float, random: Random) -> None:
    """Paint a truck: a plain cargo box on a dark frame, with bars and a cab."""
    colour, high, long = one_of(CARGO, random), random.uniform(3.2, 4.0), random.uniform(5.5, 8)
    extent = (x - 1.25, x + 1.25, z, z + long)
    _ground_shadow(view, extent)
    cab = one_of(CARS, random)
    box(view, (x - 1.2, 0.4, z + long + 0.3), (x + 1.2, 2.9, z + long + 2.2), cab, TRUCK)
    box(view, (x - 1.15, 0.35, z), (x + 1.15, 1.05, z + long), (40.0, 40.0, 42.0), TRUCK)
    _wheels(view, extent, 0.5, TRUCK)
    box(view, (x - 1.25, 1.05, z), (x + 1.25, high, z + long), colour, TRUCK)
    for bar in (-0.04, -1.15, 1.07):
        panel(view, (x + bar, 1.1), (x + bar + 0.08, high - 0.1), z, shaded(colour, 0.6))
    for stripe in range(7):
        panel(view, (x - 1.2 + 0.35 * stripe, 0.8), (x - 1.02 + 0.35 * stripe, 1.0), z, (220.0, 60.0, 40.0))
    _lamps(view, extent, 0.85, random)


def paint_bus(view: View, x: float, z: float, random: Random) -> None:
    """Paint a bus: one bright colour, a band of windows all around, a lit number above."""
    colour, long = one_of(BUSES, random, 10), random.uniform(8, 12)
    extent = (x - 1.28, x + 1.28, z, z + long)
    _ground_shadow(view, extent)
    box(view, (x - 1.28, 0.3, z), (x + 1.28, 3.1, z + long), colour, BUS)
    _wheels(view, extent, 0.48, BUS)
    glass = varied(GLASS, random)
    _window_band(view, extent, (1.4, 2.5), glass, 1.5)
    panel(view, (x - 1.1, 1.35), (x + 1.1, 2.45), z, glass)
    panel(view, (x - 0.7, 2.6), (x + 0.7, 2.95), z, (18.0, 18.0, 18.0))
    panel(view, (x - 0.5, 2.68), (x + 0.4, 2.87), z, (250.0, 190.0, 40.0))
    _lamps(view, extent, 0.75, random)


def paint_train(view: View, x: float, z: float, random: Random) -> None:
    """Paint a tram: two-tone, long, a dark windscreen, a pantograph on its roof."""
    colour, long = one_of(TRAINS, random, 10), random.uniform(14, 26)
    extent = (x - 1.25, x + 1.25, z, z + long)
    _ground_shadow(view, extent)
    for reach in (-0.7, 0.7):
        view.stroke([(x + reach, 3.5, z + 4), (x, 4.4, z + 4)], 0.12, (50.0, 50.0, 54.0), TRAIN)
    box(view, (x - 1.25, 0.25, z), (x + 1.25, 3.5, z + long), colour, TRAIN)
    for side in _seen_flank(view, extent):
        flank(view, side, (1.55, z), (3.2, z + long), CREAM)
    panel(view, (x - 1.25, 1.55), (x + 1.25, 3.2), z, CREAM)
    glass = varied(GLASS, random, 8)
    _window_band(view, extent, (1.75, 2.8), glass, 2.2)
    view.polygon([(x - 1.05, 1.5, z), (x + 1.05, 1.5, z), (x + 0.85, 3.0, z), (x - 0.85, 3.0, z)], shaded(glass, 0.8))
    view.disc((x, 1.05, z), 0.2, 0.2, HEAD)
    box(view, (x - 1.0, 3.5, z + 1), (x + 1.0, 3.7, z + long - 1), (104.0, 106.0, 108.0), TRAIN)


def _cabin(view: View, extent: Extent, low: float, colour: Colour) -> None:
    """Windows on a car's body, under its roof."""
    left, right, near, far = extent
    box(view, (left, low, near), (right, low + 0.5, far), GLASS, CAR)
    for x in (left, (left + right) / 2, right - 0.1):
        panel(view, (x, low), (x + 0.1, low + 0.5), near, shaded(colour, 0.9))
    box(view, (left, low + 0.5, near), (right, low + 0.6, far), colour, CAR)


def _wheels(view: View, extent: Extent, radius: float, kind: int) -> None:
    left, right, near, far = extent
    for side in _seen_flank(view, extent):
        for z in (far - 1.6 * radius, near + 1.6 * radius):
            flank(view, side, (0, z - radius), (1.8 * radius, z + radius), RUBBER, kind)
    if right - left > far - near:
        for x in (left + 2.2 * radius, right - 2.2 * radius):
            view.disc((x, radius, near), radius, radius, RUBBER, kind)
        return
    for x in (left + 0.08, right - 0.4):
        panel(view, (x, 0), (x + 0.32, 1.2 * radius), near, RUBBER, kind)


def _window_band(view: View, extent: Extent, rows: tuple[float, float], glass: Colour, pitch: float) -> None:
    _, _, near, far = extent
    for side in _seen_flank(view, extent):
        start = near + 0.3
        while start + pitch < far:
            flank(view, side, (rows[0], start), (rows[1], start + 0.8 * pitch), glass)
            start += pitch


def _seen_flank(view: View, extent: Extent) -> list[float]:
    left, right, _, _ = extent
    return [left] if left > view.camera.aside else [right] if right < view.camera.aside else []


def _lamps(view: View, extent: Extent, high: float, random: Random) -> None:
    left, right, near, _ = extent
    colour = BRAKE if random.random() < 0.6 else HEAD
    for x in (left + 0.2, right - 0.2):
        panel(view, (x - 0.15, high), (x + 0.15, high + 0.14), near, colour)


def _ground_shadow(view: View, extent: Extent) -> None:
    left, right, near, far = extent
    view.shadow((left + right) / 2, (near + far) / 2, (right - left) * 0.6, (far - near) / 2 + 0.5, 0.6)
