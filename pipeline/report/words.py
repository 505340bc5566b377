"""Figures in words."""

from datetime import UTC, datetime

from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.metrics import METRICS, printed


def per_cent(figure: float | None) -> str:
    """Return a fraction as per cent to three decimals, as the tables have it; `none` where it does not exist."""
    return "none" if figure is None else f"{100 * figure:.3f}"


def figure(row: Row, metric: str) -> str:
    """Return a figure of METRICS as the tables have it: no digit that its bounds leave open."""
    return printed(row, METRICS[metric])


def at_temperature(row: Row) -> str:
    """Return ` at T = 2`, or nothing for a method without temperature."""
    return "" if row.temperature is None else f" at T = {row.temperature:g}"


def chosen_from(count: int) -> str:
    """Say that the best of so many temperatures was chosen by its figures."""
    return f"best of {count} temperatures on these labels"


def moment(text: str) -> str:
    """Return a time, ISO 8601, to the minute in UTC; ValueError if it is none."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
