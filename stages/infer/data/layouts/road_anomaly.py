"""Road Anomaly (Lis et al., ICCV 2019) as it was released."""

from logitpipe.stages.infer.data.layout import Source
from logitpipe.stages.infer.data.paired import Pair, Paired

ROAD_ANOMALY = Paired(
    drawing="""\
RoadAnomaly_jpg/
  frames/NAME.jpg         or .webp
  frames/NAME.labels/labels_semantic.png""",
    pairs=(Pair("frames", "frames", mask_end=".labels/labels_semantic"),),
    sources=(
        Source(
            "Road Anomaly",
            "https://datasets-cvlab.epfl.ch/2019-road-anomaly/RoadAnomaly_jpg.zip",
            "for research; the pictures belong to others",
            "24 MB",
            "md5 87a0908e5c72827824693913cf2e4fb0",
        ),
    ),
)
