"""Weather and lens: how far one sees, in what light, with what blur and grain."""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from logitpipe.demo.scenes.classes import (
    ANOMALY,
    BUILDING,
    FENCE,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    VEGETATION,
    VOID,
    WALL,
)
from logitpipe.demo.scenes.view import HEIGHT, WIDTH, Colour

COARSE = 8
"""Pixels from one spot of the coarse texture to the next."""
TEXTURE = {
    ROAD: (5, 5),
    SIDEWALK: (6, 6),
    BUILDING: (7, 8),
    WALL: (11, 8),
    FENCE: (6, 4),
    VEGETATION: (22, 14),
    TERRAIN: (16, 8),
    SKY: (0, 5),
    ANOMALY: (10, 8),
}
"""Class -> standard deviation of its fine and coarse texture; what is not here has some of each."""
OTHERWISE = (4, 5)


@dataclass(frozen=True)
class Weather:
    """Sky and haze as colours, visibility in metres, light as a factor, the light's tint, rain as a share."""

    sky: Colour
    haze: Colour
    visibility: float
    light: float
    tint: Colour
    rain: float


def choose_weather(random: Random) -> Weather:
    """Choose one of five kinds of weather, and its degree."""
    grey, far, light = random.uniform(170, 215), random.uniform(180, 500), random.uniform(0.95, 1.15)
    clear = Weather((92, 146, 220), (206, 222, 236), far, light, (1, 1, 1), 0)
    overcast = Weather((grey, grey, grey + 4), (216, 218, 220), random.uniform(120, 300), 0.9, (0.97, 0.99, 1.03), 0)
    fog = Weather((206, 208, 212), (212, 214, 216), random.uniform(35, 80), 0.92, (1, 1, 1), 0)
    rain = Weather((136, 142, 152), (158, 164, 172), random.uniform(70, 140), 0.74, (0.94, 0.98, 1.05), 0.5)
    dusk = Weather((70, 78, 132), (236, 166, 120), random.uniform(150, 300), 0.62, (1.12, 0.96, 0.88), 0)
    return random.choices((clear, overcast, fog, rain, dusk), weights=(4, 3, 1, 1.5, 1.5))[0]


def finished(picture: Image.Image, classes: np.ndarray, weather: Weather, random: Random) -> np.ndarray:
    """Return the picture as a camera delivers it.

    Parameters
    ----------
    picture : what was painted, at the finished size
    classes : uint8 (H, W), which say what texture lies where

    Returns
    -------
    np.ndarray
        uint8 (H, W, 3)
    """
    noise = np.random.default_rng(random.getrandbits(32))
    light = np.asarray(picture, np.float32) + _texture(classes, noise)[..., None]
    light *= np.float32(weather.light) * np.asarray(weather.tint, np.float32)
    if weather.rain:
        light += _rain(noise, weather.rain)[..., None]
    light += noise.normal(0, random.uniform(1, 5), (HEIGHT, WIDTH, 1)).astype(np.float32)
    sharp = Image.fromarray(np.clip(light + 0.5, 0, 255).astype(np.uint8))
    return np.array(sharp.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.9))))


def _texture(classes: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """What surfaces add to their colour, float32 (H, W)."""
    strength = np.full((VOID + 1, 2), OTHERWISE, np.float32)
    for kind, pair in TEXTURE.items():
        strength[kind] = pair
    fine = noise.standard_normal((HEIGHT, WIDTH), np.float32)
    spots = noise.standard_normal((HEIGHT // COARSE, WIDTH // COARSE), np.float32)
    coarse = np.asarray(Image.fromarray(spots).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    return strength[classes, 0] * fine + strength[classes, 1] * coarse


def _rain(noise: np.random.Generator, share: float) -> np.ndarray:
    """Streaks: drops smeared along a slanted path of 12 pixels, float32 (H, W)."""
    drops = (noise.random((HEIGHT, WIDTH), np.float32) < 0.004 * share).astype(np.float32)
    streaks = np.zeros_like(drops)
    for step in range(12):
        streaks += np.roll(drops, (step, step // 4), (0, 1))
    return 34 * streaks
