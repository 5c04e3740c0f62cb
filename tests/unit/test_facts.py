"""The facts of a file have the same names in the decoder's answer and in the row of
`attachments`.
"""

from dataclasses import asdict

import pytest

from shared.attachments import FIELDS
from shared.facts import DECLARED, FACTS, MEASURED, NO_FACTS, Facts
from worker.decoding.protocol import SEEN

SOME = Facts(
    content_type="image/png",
    size=7,
    width=3,
    height=2,
    pages=5,
    checksum_sha256="ab",
    duration=1.5,
    thumbhash="KPgNJZKN",
    carries_more=True,
)
"""Facts that are all known. A fact is unknown if it has its default value."""


def test_each_fact_is_a_column_of_the_row() -> None:
    assert set(FACTS) <= set(FIELDS)
    assert {*SEEN, *DECLARED, *MEASURED} <= set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_that_a_later_step_does_not_know_stays(name: str) -> None:
    one = Facts(**{name: getattr(SOME, name)})
    assert one != NO_FACTS
    assert NO_FACTS.joined(one) == one.joined(NO_FACTS) == one
    assert asdict(SOME.joined(one)) == asdict(SOME)


def test_a_fact_that_a_later_step_knows_takes_the_place_of_an_earlier_one() -> None:
    assert Facts(width=1, height=1, size=9).joined(Facts(width=3, height=2)) == Facts(
        width=3, height=2, size=9
    )
