"""The command line of a campaign: how often, and from which seed."""

import argparse
from collections.abc import Sequence


def numbers(description: str | None, words: Sequence[str] | None = None, **defaults: int) -> argparse.Namespace:
    """Read `--NAME NUMBER` for each of the names; `words` stand in for the command line's own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=number, help=f"[default: {number}]")
    return parser.parse_args(words)
