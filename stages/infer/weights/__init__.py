"""Checkpoint files: read as plain tensors, never executed."""
