"""Walks over a store: each reads every image once, and adds it to a statistic."""
