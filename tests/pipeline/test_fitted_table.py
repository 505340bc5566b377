"""The table of fitted temperatures: chosen where classes are known, held against what test labels would choose."""

import pytest
from rows import make_row

from logitpipe.stages.score.figures.closed_set import ClosedSetFigures
from logitpipe.stages.score.passes.closed_set import ClosedSetRow
from logitpipe.tables.uncertainty.fitted import fitted_tables


def closed(dataset: str, T: float, nll: float, network: str = "enet") -> ClosedSetRow:
    figures = ClosedSetFigures(0.5, 0.5, nll, 0.5, 0.1, (0.5,), 9, ())
    return ClosedSetRow(
        f"{network}-{dataset}", network, "pixel", dataset, "standard", "own", ("road",), T, False, 3, figures
    )


FIT, TEST = {0.5: 0.9, 1.0: 0.4, 2.0: 0.6}, {0.5: 0.8, 1.0: 0.5, 2.0: 0.3}


def lines(*arguments):
    (table,) = fitted_tables(*arguments)
    return [[cell.text for cell in line] for line in table.lines]


def test_each_data_set_gives_its_temperature_to_the_others():
    rows = [closed("fit", T, nll) for T, nll in FIT.items()] + [closed("test", T, nll) for T, nll in TEST.items()]
    assert lines(rows, []) == [
        ["enet", "fit", "test", "NLL", "1", "0.50000", "2", "0.30000"],
        ["enet", "test", "fit", "NLL", "2", "0.60000", "1", "0.40000"],
    ]


def test_anomalies_of_the_same_network_alone():
    areas = {0.5: 0.1, 1.0: 0.2, 2.0: 0.3}
    pixels = [make_row(dataset="far", temperature=T, auprc=area) for T, area in areas.items()]
    others = [make_row(dataset="far", network="erfnet", temperature=T, auprc=area) for T, area in areas.items()]
    level = make_row(dataset="far", method="maxlogit", temperature=None, auprc=0.4)
    assert lines([closed("fit", T, nll) for T, nll in FIT.items()], [*pixels, *others, level]) == [
        ["enet", "fit", "far", "AuPRC of msp", "1", "20.000", "2", "30.000"]
    ]


@pytest.mark.parametrize("rows", [[], [closed("fit", 1.0, 0.5)], [closed("fit", T, 0.5) for T in (1.0, 2.0)]])
def test_nothing_to_hold_a_temperature_against(rows):
    assert fitted_tables(rows, []) == []
