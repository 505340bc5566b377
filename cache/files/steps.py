"""The steps of making a store and of committing an image, by name: the places where a crash can come between.

Each is announced just before it is taken, through the interpreter's own hook (`sys.addaudithook`), under the event
`cache.step` and with the name and the file. Nobody listens but the tests, which kill the process there.
"""

import sys
from typing import Literal

Step = Literal[
    "image.begin",  # a commit, before it has changed anything
    "image.end",  # the image is in the store, and all of it is durable
    "file.create",  # a file is opened beside its key
    "file.write",  # it is given its bytes
    "file.sync",  # these are made durable
    "file.rename",  # it takes the place of what its key holds
    "file.read-back",  # what lies under the key is compared
    "file.remove",  # what lies under the key is removed
    "folder.make",
    "folder.sync",  # a new folder, a rename or a removal is made durable
    "lock.take",  # images, or all of a store, become this process's own
    "lock.remove",  # the last to write a store removes its lock file
    "store.place",  # a store that was built beside is renamed to its place
    "store.retire",  # the old store is renamed away
    "store.discard",  # its files are removed
    "sweep.file",  # what a crash left half-written is removed
    "sweep.folder",
]

EVENT = "cache.step"


def step(name: Step, where: object) -> None:
    """Announce a step that is taken next; free where nobody listens.

    Parameters
    ----------
    name : of the step
    where : key or path of the file or folder, or index of the image
    """
    sys.audit(EVENT, name, where)
