"""Cityscapes (Cordts et al., CVPR 2016), for closed-set figures and as pictures without anomalies."""

from dataclasses import replace

from logitpipe.stages.classes import CITYSCAPES
from logitpipe.stages.infer.data.layout import Codes, Source
from logitpipe.stages.infer.data.paired import Pair, Paired

_VOID_COLOURS = (
    *((0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140)),
    *((180, 165, 180), (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110)),
)
PALETTE = {each.colour: code for code, each in enumerate(CITYSCAPES)} | dict.fromkeys(_VOID_COLOURS, 255)
"""Train id by colour. A pole group has a pole's colour and a licence plate a car's, so they count as these."""

TRAIN_IDS = Paired(
    drawing="""\
cityscapes/
  leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png
  gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelTrainIds.png
                          made by cityscapesscripts' createTrainIdLabelImgs""",
    pairs=(Pair("leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_labelTrainIds"),),
    codes=Codes("normal=0-18,void=255", {each.name: code for code, each in enumerate(CITYSCAPES)}),
    sources=(
        Source(
            "pictures (leftImg8bit_trainvaltest.zip) and masks (gtFine_trainvaltest.zip)",
            "https://www.cityscapes-dataset.com/downloads/",
            "non-commercial, after registration",
            "11 GB and 241 MB",
        ),
    ),
)

LABEL_IDS = replace(
    TRAIN_IDS,
    drawing=TRAIN_IDS.drawing.replace("labelTrainIds", "labelIds").partition("\n      ")[0],
    pairs=(Pair("leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_labelIds"),),
    codes=Codes(
        "normal=7-8+11-13+17+19-28+31-33,void=0-6+9-10+14-16+18+29-30+255",
        {each.name: each.code for each in CITYSCAPES},
    ),
    not_beside="_gtFine_labelTrainIds",
)

COLOURS = replace(
    TRAIN_IDS,
    drawing=TRAIN_IDS.drawing.replace("labelTrainIds", "color").partition("\n      ")[0],
    pairs=(Pair("leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_color"),),
    codes=replace(TRAIN_IDS.codes, palette=PALETTE),
    not_beside="Ids",
)
"""The coloured masks, where neither of the others lies beside them."""
