"""Ids and other words of a client's address: parsing, and quotation in errors."""

import re

from shared.keys import MAX_ID

_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def parse_id(text: str) -> int | None:
    """Parse an id from an address: a canonical ASCII decimal from 1 to 2^63 - 1, else None."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def shortened(text: str) -> str:
    """Return at most 100 characters of a client's text, printable ones only, for an error."""
    return "".join(character for character in text[:100] if character.isprintable())
