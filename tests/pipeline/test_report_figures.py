"""Axes, ticks and labels of the figures in the report."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logitpipe.report.charts import axes
from logitpipe.report.charts.plot import spread

FINITE = st.floats(-1e6, 1e6)


@given(FINITE, st.floats(1e-3, 1e6))
def test_ticks_are_round_few_and_enclose_what_is_drawn(low, width):
    axis = axes.even_axis(low, low + width, 0, 100)
    values = [value for value, _ in axis.ticks]
    slack = 1e-6 * (abs(low) + width)
    assert axis.low <= low + slack and axis.high >= low + width - slack
    assert 2 <= len(values) <= 8
    assert all(text == f"{value:.10g}" for value, text in axis.ticks)
    assert [axis.position(axis.low), axis.position(axis.high)] == pytest.approx([0, 100])


@pytest.mark.parametrize(
    ("temperatures", "ticks", "logarithmic"),
    [
        ((0.5, 1, 2), ["0.5", "1", "1.5", "2"], False),
        ((0.1, 1, 10), ["0.1", "0.2", "0.5", "1", "2", "5", "10"], True),
        ((0.001, 1000), ["0.001", "0.01", "0.1", "1", "10", "100", "1000"], True),
    ],
)
def test_temperatures_over_decades_have_a_logarithmic_axis(temperatures, ticks, logarithmic):
    axis = axes.temperature_axis(temperatures, 0, 100)
    assert ([text for _, text in axis.ticks], axis.logarithmic) == (ticks, logarithmic)
    middle = (temperatures[0] * temperatures[-1]) ** 0.5 if logarithmic else sum(temperatures[::2]) / 2
    assert axis.position(middle) == pytest.approx(50)


@given(FINITE, FINITE)
@example(2.0, 5e-324)  # a quotient of these is 0
def test_the_roundest_number_lies_within_its_limits(a, b):
    low, high = sorted((a, b))
    assert low <= axes.roundest(low, high) <= high


def test_the_roundest_number_has_the_fewest_digits():
    pairs = [(0.013, 0.024), (-7.3, -6.1), (0.99981, 0.99993), (-1, 1), (2.4, 2.4), (130, 260)]
    assert [axes.number(axes.roundest(*pair)) for pair in pairs] == ["0.02", "-7", "0.9999", "0", "2.4", "200"]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=12))
def test_labels_keep_their_order_their_distance_and_the_figure(places):
    moved = spread(places, 12.5, 0, 200)
    gap = min(12.5, 200 / max(1, len(places) - 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= gap - 1e-6 for a, b in pairwise(order))
    assert all(-1e-6 <= place <= 200 + 1e-6 for place in moved)
    if all(places[b] - places[a] >= gap for a, b in pairwise(order)):
        assert moved == pytest.approx(places)
