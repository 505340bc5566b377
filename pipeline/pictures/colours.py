"""Colours that mean something: the ground truth's three, and a scale for scores.

The scale runs at an even pace from dark violet over red to pale yellow: its lightness in OKLab (B. Ottosson, 2020)
is linear in the score, so that equal steps of the score look equal, in greys and to colour-blind eyes too.
"""

import numpy as np

NORMAL, ANOMALY, VOID = (70, 102, 140), (255, 140, 40), (228, 228, 228)
STEPS = 256
"""As many as 8 bits have: more would be equal colours."""

_LIGHTNESS, _HUE_DEGREES, _CHROMA = (0.16, 0.97), (285.0, 465.0), (0.10, 0.09, 0.08)


def score_colours(shares: np.ndarray) -> np.ndarray:
    """Return the colours of scores.

    Parameters
    ----------
    shares : float (...), 0 for the lowest score of the scale and 1 for the highest; what lies beyond is cut off

    Returns
    -------
    uint8 (..., 3), RGB
    """
    return _SCALE[np.rint(np.clip(shares, 0, 1) * (STEPS - 1)).astype(np.intp)]


def _scale() -> np.ndarray:
    """Return uint8 (STEPS, 3)."""
    t = np.linspace(0, 1, STEPS)
    L, hue = np.interp(t, (0, 1), _LIGHTNESS), np.radians(np.interp(t, (0, 1), _HUE_DEGREES))
    start, hump, end = _CHROMA
    # Pale ends and a colourful middle: sRGB has no colourful colours that are very dark or very light.
    C = np.interp(t, (0, 1), (start, end)) + hump * np.sin(np.pi * t)
    return np.rint(255 * _srgb(np.stack([L, C * np.cos(hue), C * np.sin(hue)], axis=-1))).astype(np.uint8)


def _srgb(oklab: np.ndarray) -> np.ndarray:
    """Convert OKLab (..., 3) to sRGB in 0..1; what lies outside is cut off."""
    to_lms = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.707614701],
        ]
    )
    linear = np.clip((oklab @ to_lms.T) ** 3 @ to_rgb.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


_SCALE = _scale()
