"""The formats in which an operator can write the expiry of a token."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from deploy.commands.environment import Misused
from deploy.commands.expiry import parse_expiry

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
        ("3660d", timedelta(days=3660)),
        ("2027-02-01", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027-01-31T12:01", datetime(2027, 1, 31, 12, 1, tzinfo=UTC)),
        ("2027-01-31 12:01:30", datetime(2027, 1, 31, 12, 1, 30, tzinfo=UTC)),
        ("2027-01-31T15:00+02:00", datetime(2027, 1, 31, 15, tzinfo=EAST)),
        ("2027-01-31T13:00Z", datetime(2027, 1, 31, 13, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_time_or_a_duration(text: str, end: datetime | timedelta) -> None:
    assert parse_expiry(text, now=NOW) == end


@pytest.mark.parametrize(
    "text",
    ["2027-01-31", "2027-01-31T12:00", "2027-01-31T13:59+02:00", "0h", "3661d", "2037-02-28"],
)
def test_an_end_is_in_the_future_and_within_ten_years(text: str) -> None:
    with pytest.raises(Misused, match="--expires: must be"):
        parse_expiry(text, now=NOW)
