"""Walks over a store: the sweep, single images, score maps, the exact check."""
