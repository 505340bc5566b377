"""The results folder of `pipe score --out`: written, and read back."""
