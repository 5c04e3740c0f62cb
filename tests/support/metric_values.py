"""Checks that every metric of a process has the expected value."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan

from prometheus_client.parser import text_string_to_metric_families

from tests.support.metric_labels import documented, metric_of, unknown_values
from tests.support.scraping import Logging, Shown, shown
from tests.support.service import until

OFTEN = """
from shared import backlog, publisher
backlog.SAMPLE_S = publisher.MEASURE_EVERY_S = 0.1
backlog.read_sample.__kwdefaults__["max_age_s"] = 0.1
"""
"""Code that makes a process measure the backlog and the queues ten times a second."""

ONE_LETTER = """
from shared import allowance
allowance.BURST, allowance.LETTERS_PER_S = 1, 0.0
"""
"""Code that limits the number of dead letters to one for each origin."""

MOST_SERIES = 1000


@dataclass(frozen=True, slots=True)
class Within:
    """A range for a value that is not known exactly, such as seconds of CPU time."""

    least: float
    most: float = inf


Expected = float | Within
Table = Mapping[str, Expected]
"""Expected values by sample. A sample is written as in `attachments_events_total{dialect="aws"}`.

If a sample has only some of the labels, its value is the sum of all samples with these labels.
"""


def value_of(found: Shown, sample: str) -> float:
    """Return the value of a sample, which is written as in `Table`."""
    name, labels = _parsed(sample)
    return found.sum(name, **labels)


def differences(found: Shown, expected: Table) -> dict[str, tuple[float, Expected]]:
    """Return each wrong sample with its value and its expected value."""
    values = {sample: value_of(found, sample) for sample in expected}
    return {
        sample: (value, expected[sample])
        for sample, value in values.items()
        if not _is(value, expected[sample])
    }


async def reached(process: Logging, expected: Table) -> Shown:
    """Wait until the metrics of a process have the expected values, and return the metrics."""
    wrong: dict[str, object] = {}

    async def is_reached() -> Shown | None:
        found = await shown(process)
        wrong.clear()
        wrong.update(differences(found, expected))
        return None if wrong else found

    try:
        result: Shown = await until(is_reached, within_s=30, every_s=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {wrong}") from None
    return result


def shows_exactly(found: Shown, process: str, expected: Table) -> None:
    """Assert that a process has all metrics that are documented for its kind, and no others.

    `process` is A, W or C. All values must be as expected. There may be at most MOST_SERIES
    samples, and only known label values.
    """
    rows = documented()
    wanted = {name for name, row in rows.items() if process in row.processes}
    assert set(found.types) == wanted
    assert {name: rows[name].kind for name in wanted} == found.types
    assert {metric_of(_parsed(sample)[0]) for sample in expected} == wanted
    assert differences(found, expected) == {}
    assert unknown_values(found) == set()
    assert len(found.values) <= MOST_SERIES


def _parsed(sample: str) -> tuple[str, dict[str, str]]:
    (family,) = text_string_to_metric_families(f"{sample} 0\n")
    (found,) = family.samples
    return found.name, found.labels


def _is(value: float, expected: Expected) -> bool:
    if isinstance(expected, Within):
        return expected.least <= value <= expected.most
    return value == expected or (isnan(value) and isnan(expected))
