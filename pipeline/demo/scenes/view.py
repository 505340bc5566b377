"""The street as a camera sees it: shapes in metres, painted over one another, each pixel with its class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

HEIGHT, WIDTH = 256, 512
OVERSAMPLING = 2
"""Shapes are painted this much larger, so that their edges are smooth in the picture and sharp in the classes."""
NEAREST = 2.0
"""Metres. What comes closer is moved there: the image planes of long shapes would end at infinity."""

Colour = tuple[float, float, float]
Point = tuple[float, float, float]
"""Metres to the right of the camera's axis, above the ground, and ahead."""


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks along the street: metres, and pixels of the finished picture."""

    height: float
    aside: float
    focal: float
    centre: float
    horizon: float

    def project(self, point: Point) -> tuple[float, float]:
        """Return the painted pixel (x, y) of a point."""
        x, y, z = point
        scale = self.focal / max(z, NEAREST)
        column, row = self.centre + scale * (x - self.aside), self.horizon + scale * (self.height - y)
        return OVERSAMPLING * column, OVERSAMPLING * row


class View:
    """A picture and its classes, painted from far to near.

    Parameters
    ----------
    camera : where it is seen from
    haze : colour that distance fades to, 0..255
    visibility : metres at which 63 % of a colour has faded
    """

    def __init__(self, camera: Camera, haze: Colour, visibility: float) -> None:
        size = (OVERSAMPLING * WIDTH, OVERSAMPLING * HEIGHT)
        self.camera, self.haze, self.visibility = camera, haze, visibility
        self.picture, self.classes = Image.new("RGB", size), Image.new("L", size)
        self._layers = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.classes)

    def sky(self, deep: Colour, kind: int) -> None:
        """Fill everything with sky, `deep` at the top and fading to haze at the horizon."""
        self.classes.paste(kind, (0, 0, *self.classes.size))
        # Steps of four rows: the sky changes slowly, and a rectangle for each row would take four times as long.
        rows = max(1, round(OVERSAMPLING * self.camera.horizon))
        for row in range(0, rows, 4):
            colour = mixed(deep, self.haze, row / rows)
            self._layers[0].rectangle((0, row, self.picture.width, row + 4), fill=_integers(colour))

    def polygon(self, points: Sequence[Point], colour: Colour, kind: int | None = None) -> None:
        """Fill a polygon; without a class it is a detail of what lies below it."""
        outline = [self.camera.project(point) for point in points]
        picture, classes = self._layers
        picture.polygon(outline, fill=self._faded(colour, points[0][2]))
        if kind is not None:
            classes.polygon(outline, fill=kind)

    def ground(
        self, one: tuple[float, float], other: tuple[float, float], colour: Colour, kind: int | None = None
    ) -> None:
        """Fill a rectangle on the ground between two corners (x, z)."""
        (left, near), (right, far) = one, other
        self.polygon([(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)], colour, kind)

    def disc(self, centre: Point, across: float, up: float, colour: Colour, kind: int | None = None) -> None:
        """Fill an upright ellipse with these half axes in metres."""
        x, y, z = centre
        left, top = self.camera.project((x - across, y + up, z))
        right, bottom = self.camera.project((x + across, y - up, z))
        picture, classes = self._layers
        picture.ellipse((left, top, right, bottom), fill=self._faded(colour, z))
        if kind is not None:
            classes.ellipse((left, top, right, bottom), fill=kind)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, kind: int | None = None) -> None:
        """Draw a line of a width in metres."""
        path = [self.camera.project(point) for point in points]
        # At least two painted pixels, one finished one: thinner lines could fall between the pixels of the classes.
        pixels = max(2, round(OVERSAMPLING * self.camera.focal * width / max(points[0][2], NEAREST)))
        picture, classes = self._layers
        picture.line(path, fill=self._faded(colour, points[0][2]), width=pixels)
        if kind is not None:
            classes.line(path, fill=kind, width=pixels)

    def shadow(self, x: float, z: float, across: float, along: float, depth: float) -> None:
        """Darken an ellipse on the ground by a factor `depth` in 0..1; what lies there keeps its class."""
        left, top = self.camera.project((x - across, 0, z + along))
        right, bottom = self.camera.project((x + across, 0, max(NEAREST, z - along)))
        width, height = round(right - left), round(bottom - top)
        # Very near the camera a shadow becomes larger than the picture, and its mask would take much memory.
        if 0 < width < 2 * self.picture.width and height > 0:
            mask = Image.new("L", (width, height))
            ImageDraw.Draw(mask).ellipse((0, 0, width - 1, height - 1), fill=round(255 * depth))
            self.picture.paste((8, 8, 14), (round(left), round(top)), mask)

    def _faded(self, colour: Colour, z: float) -> tuple[int, int, int]:
        return _integers(mixed(self.haze, colour, math.exp(-max(z, 0.0) / self.visibility)))


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """Return a colour that is `other` to this share."""
    (r, g, b), (s, h, c) = one, other
    return r + share * (s - r), g + share * (h - g), b + share * (c - b)


def shaded(colour: Colour, factor: float) -> Colour:
    """Return a colour in more or less light."""
    red, green, blue = colour
    return red * factor, green * factor, blue * factor


def _integers(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(part))) for part in colour)
    return red, green, blue


def box(view: View, low: Point, high: Point, colour: Colour, kind: int, sides: float = 0.78) -> None:
    """Paint the faces of a box that the camera sees: flank, top, front. `sides`: light on the flanks."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    # Of the two flanks the camera sees at most the one that is turned towards it.
    x = x0 if x0 > view.camera.aside else x1
    if x0 > view.camera.aside or x1 < view.camera.aside:
        corners = [(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]
        view.polygon(corners, shaded(colour, sides), kind)
    if y1 < view.camera.height:
        view.polygon([(x0, y1, z0), (x0, y1, z1), (x1, y1, z1), (x1, y1, z0)], shaded(colour, 1.15), kind)
    panel(view, (x0, y0), (x1, y1), z0, colour, kind)


def panel(
    view: View, low: tuple[float, float], high: tuple[float, float], z: float, colour: Colour, kind: int | None = None
) -> None:
    """Paint an upright rectangle that faces the camera, from (x, y) to (x, y)."""
    (x0, y0), (x1, y1) = low, high
    view.polygon([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour, kind)


def flank(
    view: View, x: float, low: tuple[float, float], high: tuple[float, float], colour: Colour, kind: int | None = None
) -> None:
    """Paint an upright rectangle that runs along the street at `x`, from (y, z) to (y, z)."""
    (y0, z0), (y1, z1) = low, high
    view.polygon([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], colour, kind)
