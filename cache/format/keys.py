"""Keys of a store's files that are neither chunks nor records, where readers and writers both find them."""

METADATA = "zarr.json"
"""Key of the group's metadata; that of an array lies under the same name below the array."""

IMAGES = "images.json"
"""Key of the names of the images, from version 2 on: a JSON list."""

LOCK = "records/lock"
"""Key of the lock file. It is empty, and there only while someone writes, or after a crash."""
