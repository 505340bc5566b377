"""Folders of pictures and masks of the same names: the course's, and the most usual ones."""

from logitpipe.stages.infer.data.paired import Pair, Paired

COURSE = Paired(
    drawing="""\
NAME/
  images/0.png            any picture
  labels_masks/0.png      its mask""",
    pairs=(Pair("images", "labels_masks"),),
    general=True,
    other_masks="labels",
)

PLAIN = Paired(
    drawing="""\
NAME/
  images/0.png            or original/
  labels/0.png""",
    pairs=(Pair("images", "labels"), Pair("original", "labels")),
    general=True,
)

PICTURES = Paired(
    drawing="""\
NAME/0.jpg                pictures alone, in folders or not; only where it is named""",
    pairs=(Pair(".", "labels_masks"),),
    marks="^$",  # no name matches: any folder would do
)
