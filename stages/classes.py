"""Lists of classes: what networks are trained on, which of these are held to be the same, which code each has."""

from typing import NamedTuple


class ClassOf(NamedTuple):
    """A class of a data set: its name, the code that its masks have for it, the RGB colour that shows it."""

    name: str
    code: int
    colour: tuple[int, int, int]


CITYSCAPES = (
    ClassOf("road", 7, (128, 64, 128)),
    ClassOf("sidewalk", 8, (244, 35, 232)),
    ClassOf("building", 11, (70, 70, 70)),
    ClassOf("wall", 12, (102, 102, 156)),
    ClassOf("fence", 13, (190, 153, 153)),
    ClassOf("pole", 17, (153, 153, 153)),
    ClassOf("traffic light", 19, (250, 170, 30)),
    ClassOf("traffic sign", 20, (220, 220, 0)),
    ClassOf("vegetation", 21, (107, 142, 35)),
    ClassOf("terrain", 22, (152, 251, 152)),
    ClassOf("sky", 23, (70, 130, 180)),
    ClassOf("person", 24, (220, 20, 60)),
    ClassOf("rider", 25, (255, 0, 0)),
    ClassOf("car", 26, (0, 0, 142)),
    ClassOf("truck", 27, (0, 0, 70)),
    ClassOf("bus", 28, (0, 60, 100)),
    ClassOf("train", 31, (0, 80, 100)),
    ClassOf("motorcycle", 32, (0, 0, 230)),
    ClassOf("bicycle", 33, (119, 11, 32)),
)
"""Cityscapes' 19 evaluation classes: the place in this list is the trainId, `code` the id of `*_labelIds.png`.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.
"""

_COCO_THINGS = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
_COCO_STUFF = (
    "banner, blanket, bridge, cardboard, counter, curtain, door-stuff, floor-wood, flower, fruit, gravel, house, "
    "light, mirror-stuff, net, pillow, platform, playingfield, railroad, river, road, roof, sand, sea, shelf, snow, "
    "stairs, tent, towel, wall-brick, wall-stone, wall-tile, wall-wood, water-other, window-blind, window-other, "
    "tree-merged, fence-merged, ceiling-merged, sky-other-merged, cabinet-merged, table-merged, "
    "floor-other-merged, pavement-merged, mountain-merged, grass-merged, dirt-merged, paper-merged, "
    "food-other-merged, building-other-merged, rock-merged, wall-other-merged, rug-merged"
)
COCO = tuple(f"{_COCO_THINGS}, {_COCO_STUFF}".split(", "))
"""COCO panoptic's 133 classes: 80 things, 53 kinds of stuff (Kirillov et al., "Panoptic Segmentation", CVPR 2019)."""

CLASS_LISTS: dict[str, tuple[str, ...]] = {
    "cityscapes": tuple(each.name for each in CITYSCAPES),
    "coco": COCO,
}
"""Name of a list, as `--classes` takes it -> names of its classes in the order of the channels."""

COCO_TO_CITYSCAPES: dict[str, str] = {
    **{name: name for name in ("person", "bicycle", "car", "motorcycle", "bus", "train", "truck", "traffic light")},
    "stop sign": "traffic sign",
    "road": "road",
    "pavement-merged": "sidewalk",
    "building-other-merged": "building",
    "house": "building",
    **{f"wall-{of}": "wall" for of in ("brick", "stone", "tile", "wood", "other-merged")},
    "fence-merged": "fence",
    "tree-merged": "vegetation",
    "grass-merged": "terrain",
    "dirt-merged": "terrain",
    "sky-other-merged": "sky",
}
"""COCO panoptic's classes as Cityscapes has them; it knows no pole and no rider, and of traffic signs one."""

MACRO_CLASSES: dict[str, tuple[str, ...]] = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""Cityscapes' categories (Cordts et al. 2016, table 1)."""

CLASS_CODES: dict[str, dict[str, int]] = {
    "train-ids": {each.name: code for code, each in enumerate(CITYSCAPES)},
    "label-ids": {each.name: each.code for each in CITYSCAPES},
}
"""How masks of Cityscapes name its classes."""
