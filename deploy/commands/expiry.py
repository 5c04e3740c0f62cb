"""Parse times as an operator writes them: when a token ends, or when an event happened."""

import re
from datetime import UTC, datetime, timedelta

from deploy.commands.environment import Misused

DURATION = re.compile(r"([0-9]{1,9})([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = timedelta(days=3660)
"""The longest lifetime that the option `--expires` accepts: ten years. A later end is probably a
typing error. Without the option, a token never ends.
"""


def parse_expiry(text: str, *, now: datetime) -> datetime | timedelta:
    """Parse when a token ends, such as `2027-01-31`, `2027-01-31T12:00+02:00`, `90d` or `12h`.

    A date means the first moment of that day. A time without an offset is in UTC. Returns a
    duration for texts such as `90d`. Raises Misused if the text cannot be parsed, or if the time is
    not in the future or more than ten years away.
    """
    if duration := DURATION.fullmatch(text):
        number, unit = int(duration[1]), UNITS[duration[2]]
        try:
            lifetime = timedelta(**{unit: number})
        except OverflowError:
            lifetime = timedelta.max
        _check(lifetime)
        return lifetime
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        lifetime = moment - now
    except (ValueError, OverflowError):
        raise Misused(
            "--expires: must be a time such as 2027-01-31 or 2027-01-31T12:00+02:00, or a duration"
            " in m, h, d or w such as 12h or 90d"
        ) from None
    _check(lifetime)
    return moment


def parse_moment(option: str, text: str) -> datetime:
    """Parse a time such as `2027-01-31` or `2027-01-31T12:00+02:00`.

    Without an offset, the time is in UTC. If the text cannot be parsed, raises Misused, which names
    the option.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        rule = "must be a time such as 2027-01-31 or 2027-01-31T12:00+02:00"
        raise Misused(f"{option}: {rule}") from None


def _check(lifetime: timedelta) -> None:
    if lifetime <= timedelta():
        raise Misused("--expires: must be in the future")
    if lifetime > LONGEST:
        raise Misused("--expires: must be within ten years; without the option a token never ends")
