"""A store read back: each value held against its completion record, or every byte verified."""
