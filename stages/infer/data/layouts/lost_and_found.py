"""Lost and Found (Pinggera et al., IROS 2016), and the part of it that SegmentMeIfYouCan evaluates."""

from dataclasses import replace

from logitpipe.stages.infer.data.layout import Codes, Source
from logitpipe.stages.infer.data.paired import Pair, Paired

_PAGE = "http://wwwlehre.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset/"
_LICENCE = "non-commercial, by Daimler AG"
# 01_..., 02_...: the numbers of the scenes. Cityscapes' coarse masks have the same names without them, and codes
# that mean something else.
_SCENE = r"(^|/)\d\d_[^/]*/[^/]*$"

LABEL_IDS = Paired(
    drawing="""\
LostAndFound/
  leftImg8bit/test/01_Hanns_Klemm_Str_45/01_..._000000_000080_leftImg8bit.png
  gtCoarse/test/01_Hanns_Klemm_Str_45/01_..._000000_000080_gtCoarse_labelIds.png""",
    pairs=(Pair("leftImg8bit", "gtCoarse", "_leftImg8bit", "_gtCoarse_labelIds"),),
    codes=Codes("normal=1,anomaly=2-200,void=0+255"),
    sources=(
        Source("pictures", f"{_PAGE}leftImg8bit.zip", _LICENCE, checksum="md5 08eaa79ce05126f6bd22a3ca563746d0"),
        Source("masks", f"{_PAGE}gtCoarse.zip", _LICENCE),
    ),
    marks=_SCENE,
)

TRAIN_IDS = replace(
    LABEL_IDS,
    drawing=LABEL_IDS.drawing.replace("labelIds", "labelTrainIds"),
    pairs=(Pair("leftImg8bit", "gtCoarse", "_leftImg8bit", "_gtCoarse_labelTrainIds"),),
    codes=Codes("normal=1,anomaly=2,void=0+255"),
    not_beside="_gtCoarse_labelIds",
)
"""Not taken where `LABEL_IDS` fits: there objects that one may drive over are anomalies, here they are void."""

NO_KNOWN = replace(
    LABEL_IDS,
    drawing=LABEL_IDS.drawing
    + """
                          of the test split, without children and bicycles and without the 17 frames
                          that have an empty mask; only where it is named""",
    marks="^$",  # no name matches: it looks like `LABEL_IDS`, so one has to ask for it
    kept="^test/",
    # The frames of the benchmark "LostAndFound-testNoKnown", counted over the whole test split in order of name.
    dropped_indices=(17, 37, 55, 72, 91, 110, 129, 153, 174, 197, 218, 353, 490, 618, 686, 792, 793),
    dropped_names=r"/(15_Rechbergstr_Deckenpfronn|01_Hanns_Klemm_Str_45_00000[67]|10_Schlossberg_9_000004)[^/]*$",
)
