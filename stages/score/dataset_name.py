"""What a store's data set is called beside its figures: a part of a data set never bears the name of the whole."""

from logitpipe.cache import Schema


def dataset_name(schema: Schema) -> str:
    """Return the name of a data set and, where only some of its pictures were taken, which: `Tiny (the first 2)`."""
    parts = [schema.selection] if schema.selection else []
    parts += [f"the first {schema.limit}"] if schema.limit else []
    return f"{schema.dataset} ({', '.join(parts)})" if parts else schema.dataset
