"""Data sets on disk: which pictures and masks there are, and how they become arrays."""
