"""BDD-Anomaly (Hendrycks et al., ICML 2022): in BDD100K, trains, motorcycles and bicycles are anomalies."""

from logitpipe.stages.classes import CITYSCAPES
from logitpipe.stages.infer.data.layout import Codes, Source
from logitpipe.stages.infer.data.paired import Pair, Paired

BDD_ANOMALY = Paired(
    drawing="""\
bdd100k/
  seg/images/val/7d2f7975-e0c1c5a7.jpg
  seg/train_labels/val/7d2f7975-e0c1c5a7_train_id.png     or seg/labels/
or images/NAME.jpg and train_id/NAME_train_id.png
or images/10k/val/NAME.jpg and labels/sem_seg/masks/val/NAME.png""",
    pairs=(
        Pair("seg/images", "seg/train_labels", mask_end="_train_id"),
        Pair("seg/images", "seg/labels", mask_end="_train_id"),
        Pair("images/10k", "labels/sem_seg/masks"),
        Pair("images", "train_id", mask_end="_train_id"),
    ),
    codes=Codes("normal=0-15,anomaly=16-18,void=255", {each.name: code for code, each in enumerate(CITYSCAPES[:16])}),
    sources=(
        Source("pictures and masks of BDD100K (10K images, segmentation)", "https://bdd-data.berkeley.edu/"),
        Source("masks", "https://github.com/hendrycks/anomaly-seg/tree/master/seg", "MIT"),
    ),
)
