"""What a user of the command line can do about an error: its remedy's name to words with flags in them."""

from collections.abc import Mapping

from logitpipe.cache.errors import PipeError

ADVICE: Mapping[str, str] = {
    "overwrite": "name another place with --{named}, or replace it with --overwrite",
    "install": "run pip install {extra} in the project's folder",
    "score-store": "`pipe score {store} --out RESULTS` makes results of it; name that folder",
    "results-folder": "name the folder that `pipe score --out` wrote",
    "score": "`pipe score --out {folder}` makes it",
    "score again": "run `pipe score --out {folder} --overwrite` again",
    "give-weights": "give the checkpoint with --weights",
    "leave-out": "leave it out",
    "declare-classes": "name the channels with --classes cityscapes|coco|FILE, and say with --void-class and "
    "--outlier-class (first, last, NAME or none) which of them are no classes",
    "give-input-size": "give --resize HxW, or another rule",
    "fixed-size": "give --resize HxW, windows:N or pad:N",
    "same-sizes": "leave the files as they are, choose another --out, or start anew with --overwrite",
    "sigmoid-at": "score with --set sigmoid-at=masks",
    "give-size-eomt": "give --resize windows:N or HxW, or with --config the training's yaml or config.json",
    "base-weights": "give the backbone's own weights, of the same architecture, with --base-weights",
    "give-masked-attention": "give the training's yaml, or the network's config.json, with --config, and "
    "--masked-attention on or off",
    "weights-key": "say which with --weights-key",
    "choose-output": "name the part that is meant with --declare output=NAME, or output=INDEX",
    "declare-mean": "give --declare mean=R,G,B and --declare std=R,G,B",
    "around": "write a function or a class around it that returns them",
    "range": "give --declare range=255 where its authors take values of 0..255",
    "importable": "install what is missing, or call `pipe` in the folder in which its authors start their scripts",
    "network-options": "give what it is called with as --network-options KEY=VALUE, or name a function of your own "
    "that makes the network",
    "check-network-options": "check --network, --network-options and --weights",
    "logits": "leave its softmax out, by an option of its own or in a function or class around it",
    "two-channels": "write a class around it that returns a channel for each class; one logit z is the pair 0, z",
    "trust-model": "give --trust-model if you trust who made it",
    "file-name": "name the method with --name, or choose images with --images",
    "some-images": "choose images with --images, and export the others into another folder",
    "infer": "run the same `pipe infer` again to add them",
    "exact-room": "name a folder with more room in the variable TMPDIR, or leave --exact out: --resolve all leaves "
    "no digit open either",
    "label-space": "name another label space with --label-space",
    "class-codes": "say which code stands for which class with --class-codes",
    "save-merged": "merge or dequantise them, and save the state dict of the plain network",
    "download": "download the store",
    "finish": "run the same `pipe infer` again to add it",
    "finish-or-allow": "run the same `pipe infer` again to finish it, or take what is there with --allow-incomplete",
    "make-store": "`pipe infer` makes one",
    "other-out": "choose another --out",
    "other-page": "name another with --out",
    "remove-or-other-out": "remove it, or name another file with --out",
    "other-out-or-overwrite": "choose another --out, or start anew with --overwrite",
    "overwrite-or-remove": "start anew with --overwrite, or remove the folder",
    "pack-again": "make the zip with `pipe pack`",
    "put-back": "put it back, or remove what is left of it, and call this command again",
    "repair": "the same command with --repair may mend it",
    "repair-image": "the same command with --repair computes the image again",
    "same-run-or-overwrite": "call `pipe infer` as when the store was made, or start anew with --overwrite",
    "upgrade": "upgrade logitpipe",
    "wait-and-repeat": "wait for it, and call the same command again",
    "wait-or-stop": "wait for it or stop it, and call this command again",
    "changed-data": "restore the file, choose another --out, or start anew with --overwrite",
    "csv-names": "give each picture a name of its own in the column `name`",
    "fishyscapes-pictures": "put the pictures beside the masks, called 0000_NAME_rgb.png or as their own data set "
    "calls them; an overlay *_rgb.npz has to be added to its picture of Cityscapes first",
    "max-pixels": "allow more with --max-pixels, reduce it, or take it out of the data set",
    "check-config": "check --config",
    "check-network": "check that --network is the network that these weights were trained for",
    "check-network-weights-config": "check --network, --weights and --config",
    "check-weights": "check --weights",
    "check-weights-config": "check --weights and --config",
    "config-of-training": "give --config the yaml file that these weights were trained with",
    "device-auto": "take --device auto, or install the torch build for this machine",
    "go-on": "the same command again goes on where it stopped",
    "go-on-kept": "the same command, without --overwrite, goes on where it stopped",
    "label-codes": "say what they mean with --label-codes normal=...,anomaly=...,void=...",
    "make-room": "make room, or choose another --out; then {then}",
    "other-input-size": "change --resize",
    "set-right": "set that right, or choose another --out; then {then}",
    "smaller-batch": "choose a smaller --batch-size",
    "smaller-pictures": "choose a smaller --resize, or take the largest pictures out",
    "state-img-size": "state the training's img_size, [H, W], in the file that --config names",
    "store-float32": "use --precision float32, with another --out or --overwrite",
    "list-layouts": "`pipe list layouts` draws them; name one with --layout",
    "mask-resize": "--mask-resize nearest brings masks to their pictures' sizes, as these differ by whole factors",
    "name-layout": "say with --layout which one it is",
    "name-masks": "name a folder of masks, or a data set of a known layout (`pipe list layouts`)",
    "near-miss": "rename them, or name the layout that has such names with --layout",
    "rename-picture": "rename or remove one",
    "restore-data": "let the data set be, then retry",
    "take-out": "take it out",
    "fit": "fit them with `pipe fit` on a store of this network",
    "fit-temperature": "fit them too, with `pipe fit --methods` and its --temperatures",
    "fit-protocol": "fit them with `pipe fit --protocol`, or score under their protocol",
    "give-statistics": "name a file of `pipe fit` with --statistics",
    "fit-classes": "fit it with `pipe fit` on a store whose masks name the classes",
    "give-region": "name a region with --at X,Y or --box LEFT,TOP,RIGHT,BOTTOM",
    "make-fit": "`pipe fit` makes them",
    "device-failed": "call the same command again; with CUDA_LAUNCH_BLOCKING=1 it says where, and --device cpu does "
    "without",
    "amp-device": "take --amp none, or bf16",
    "amp-none": "take --amp none",
    "room": "free memory of it, or take another --device",
    "lacks-operation": "set PYTORCH_ENABLE_MPS_FALLBACK=1, which computes it on the CPU, or take a newer torch or "
    "--device cpu",
    "same-version": "install the same release of logitpipe, numpy and numba on every machine",
    "shared-place": "give the store's path as all machines see it, or its URL",
    "resolve-none": "call the same command again, with --resolve none if it does not help",
    "start-cluster": "start a scheduler and workers, or take --dask local:N",
    "cluster-memory": "give each worker more memory, or each process fewer threads",
}
"""Remedy -> words that follow the error, in which an error's `details` stand in braces."""

DAMAGED_ADVICE = "`pipe verify` tells all damage, and the same `pipe infer` with --repair mends it"
"""What follows damage that a command other than `pipe infer` came upon."""

LESS_MEMORY: Mapping[str, str] = {
    "infer": "a smaller --batch-size or --resize needs less",
    "score": "fewer --workers need less",
}
"""Command -> what makes it need less memory."""


def with_advice(error: PipeError) -> str:
    """Return an error as one line: what is wrong and, where it names a remedy, what to do."""
    told = str(error) if error.option is None else error.about(f"--{error.option.replace('_', '-')}")
    if error.remedy is None:
        return told
    details = dict(error.details)
    if "then" in details:  # what to do has two parts, and this names the second one's remedy
        details["then"] = ADVICE[str(details["then"])]
    return f"{told}; {ADVICE[error.remedy].format(**details)}"
