"""Names of data sets: a figure must not depend on what somebody called a folder."""

from collections.abc import Mapping

OTHER_NAMES: Mapping[str, str] = {
    "dataset_AnomalyTrack": "RoadAnomaly21",
    "dataset_RoadAnomalyTrack": "RoadAnomaly21",
    "dataset_ObstacleTrack": "RoadObsticle21",
    "RoadObstacle21": "RoadObsticle21",
    "RoadAnomaly_jpg": "RoadAnomaly",
    "FS_Static": "fs_static",
    "fishyscapes_static": "fs_static",
    "FS_LostFound": "FS_LostFound_full",
    "fishyscapes_lostandfound": "FS_LostFound_full",
}
"""Folders as archives unpack them or as authors spell them -> the name that the course gives a validation set."""


def known_name(dataset: str) -> str:
    """Return the name under which a data set is known here; its own, if it is not."""
    return OTHER_NAMES.get(dataset, dataset)
