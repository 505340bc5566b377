"""SegmentMeIfYouCan (Chan et al., NeurIPS 2021): RoadAnomaly21 and RoadObstacle21 as their archives unpack."""

from logitpipe.stages.infer.data.layout import Source
from logitpipe.stages.infer.data.paired import Pair, Paired

SMIYC = Paired(
    drawing="""\
dataset_AnomalyTrack/     or dataset_ObstacleTrack/, dataset_RoadAnomalyTrack/
  images/validation0000.jpg
  labels_masks/validation0000_labels_semantic.png
                          most pictures have no public mask; *_color.png is passed over""",
    pairs=(Pair("images", "labels_masks", mask_end="_labels_semantic"),),
    sources=(
        Source(
            "RoadAnomaly21 (AnomalyTrack)",
            "https://zenodo.org/records/5270237/files/dataset_AnomalyTrack.zip",
            "CC BY, CC BY-SA or public domain, by picture",
            "50 MB",
            "md5 231bf79ed58924bcd33d9cbe22e61076",
        ),
        Source(
            "RoadObstacle21 (ObstacleTrack)",
            "https://zenodo.org/records/5281633/files/dataset_ObstacleTrack.zip",
            "CC BY 4.0",
            "198 MB",
            "md5 895fb36d18765482cc291f69e63d6da6",
        ),
    ),
)
