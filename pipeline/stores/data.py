"""What a store says of the data set that it was made from."""

from logitpipe.cache.errors import IncompleteError, IntegrityError
from logitpipe.cache.reading.store import Store


def unlabelled(store: Store) -> list[str]:
    """Return the names of the images in a store that came from pictures without a mask."""
    sources = {image: store.record(image).sources for image in store.completed()}
    return [
        store.schema.images[image]
        for image, of in sources.items()
        if "image_sha256" in of and "mask_sha256" not in of
    ]


def right_data(store: Store) -> str | None:
    """Say in a sentence whether a store's pictures and masks are those of a published validation set.

    Only completion records are read, and of stores that earlier releases made, whose records do not count codes, the
    masks. None where the store is not complete or damaged, or nothing is known of its data set.
    """
    from logitpipe.stages.infer.data.layout import STANDARD_CODES
    from logitpipe.stages.infer.data.published import MOST_PICTURES, compared, count_pixels, parse_counts

    # No published set is larger, and of a million images no record is read for a sentence.
    if len(store.schema.images) > MOST_PICTURES or store.missing():
        return None
    try:
        texts = [text for image in store.completed() if (text := _mask_codes(store, image))]
    except (IncompleteError, IntegrityError):  # which others tell
        return None
    codes = store.schema.label_codes or STANDARD_CODES
    return compared(store.schema.dataset, count_pixels(map(parse_counts, texts), codes)) if texts else None


def _mask_codes(store: Store, image: int) -> str:
    """Return how many pixels of an image's mask have each code; empty where it has no mask."""
    from logitpipe.stages.infer.data.preprocess import code_counts

    record = store.record(image)
    counted = record.sources.get("mask_codes")
    if counted is None and "mask_sha256" in record.sources:  # the store of an earlier release
        counted = code_counts(store.labels(image, record))
    return counted or ""
