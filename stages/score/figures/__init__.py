"""From counts to figures: areas, rates, curves, rows."""
