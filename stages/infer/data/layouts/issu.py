"""ISSU (Laskar et al., CVPR 2025): the 19 classes of Cityscapes and an anomaly code, in one mask."""

from logitpipe.stages.classes import CITYSCAPES
from logitpipe.stages.infer.data.layout import Codes, Source
from logitpipe.stages.infer.data.paired import Pair, Paired

ISSU = Paired(
    drawing="""\
dataset_ISSUTrack/
  images/static_0_009599.png
  labels_masks/static_0_009599.png
or, before its convert_idd_data.py, ISSU-Test-Static/ and ISSU-Test-Temporal/
  leftImg8bit/test/0/009599_leftImg8bit.png
  gtFine_csT/test/0/009599_gtFine_csT.png""",
    pairs=(Pair("images", "labels_masks"), Pair("leftImg8bit", "gtFine_csT", "_leftImg8bit", "_gtFine_csT")),
    # Its road obstacle protocol evaluates the road alone: normal=0,anomaly=254,void=1-18+255.
    codes=Codes("normal=0-18,anomaly=254,void=255", {each.name: code for code, each in enumerate(CITYSCAPES)}),
    sources=(
        Source(
            "masks, and how to compose the pictures from four India Driving Datasets",
            "https://github.com/vojirt/benchmark_issu/blob/main/benchmark/datasets/scripts/DOWNLOAD.md",
            "of the India Driving Datasets, after registration",
        ),
    ),
    marks=r"^(static|temporal)_[^/]+$|_leftImg8bit\.[a-z]+$",
)
