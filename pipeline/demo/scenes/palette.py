"""Colours of things by daylight, 0..255, and their chance variations."""

from collections.abc import Sequence
from random import Random

from logitpipe.demo.scenes.view import Colour

ASPHALT = (84.0, 84.0, 88.0)
PAVING = (158.0, 150.0, 146.0)
GRASS = (134.0, 142.0, 72.0)
LEAVES = (52.0, 92.0, 40.0)
BARK = (78.0, 60.0, 44.0)
CONCRETE = (176.0, 172.0, 160.0)
STEEL = (128.0, 132.0, 136.0)
GLASS = (44.0, 56.0, 72.0)
RUBBER = (26.0, 26.0, 28.0)
SKIN = (206.0, 158.0, 128.0)
FACADES = (
    (188.0, 132.0, 104.0),
    (204.0, 184.0, 146.0),
    (156.0, 92.0, 76.0),
    (196.0, 190.0, 182.0),
    (146.0, 138.0, 132.0),
    (214.0, 168.0, 110.0),
)
CLOTHES = (
    (44.0, 52.0, 92.0),
    (150.0, 40.0, 44.0),
    (40.0, 40.0, 44.0),
    (62.0, 104.0, 134.0),
    (178.0, 170.0, 160.0),
    (96.0, 62.0, 110.0),
)
RIDING = ((226.0, 206.0, 40.0), (240.0, 110.0, 30.0), (230.0, 70.0, 110.0))
CARS = (
    (196.0, 200.0, 206.0),
    (36.0, 38.0, 44.0),
    (150.0, 24.0, 30.0),
    (34.0, 66.0, 140.0),
    (120.0, 124.0, 130.0),
    (232.0, 232.0, 228.0),
)
BUSES = ((206.0, 40.0, 36.0), (232.0, 178.0, 34.0), (222.0, 96.0, 24.0))
TRAINS = ((36.0, 118.0, 74.0), (30.0, 96.0, 104.0), (64.0, 138.0, 60.0))
CARGO = ((214.0, 212.0, 204.0), (112.0, 130.0, 158.0), (160.0, 150.0, 120.0))
ODD = (
    (214.0, 60.0, 190.0),
    (120.0, 220.0, 220.0),
    (240.0, 236.0, 220.0),
    (150.0, 100.0, 52.0),
    (60.0, 40.0, 90.0),
    (236.0, 140.0, 60.0),
    (30.0, 30.0, 32.0),
)


def varied(colour: Colour, random: Random, spread: float = 14.0) -> Colour:
    """Return a colour a little lighter or darker, and a little off in hue."""
    light = random.uniform(-spread, spread)
    red, green, blue = (part + light + random.uniform(-spread, spread) / 3 for part in colour)
    return red, green, blue


def one_of(colours: Sequence[Colour], random: Random, spread: float = 14.0) -> Colour:
    """Return a variation of one of these."""
    return varied(random.choice(colours), random, spread)
