"""Images through a network into a store."""
