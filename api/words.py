"""Ids and other words in a client's address: parse them, and shorten them for errors."""

import re

from aiohttp import web

from api.problems import not_found
from shared.keys import MAX_ID
from shared.log_fields import add_fields

NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
"""A positive number of at most 19 digits, without a sign and without leading zeros."""


def parse_id(text: str) -> int | None:
    """Parse an id: a decimal number from 1 to 2^63 - 1 without leading zeros. Otherwise, None."""
    if not NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def path_id(request: web.Request, name: str = "id") -> int:
    """Return an id from the request's path. Raises Problem 404 for a text that is not an id."""
    number = parse_id(request.match_info[name])
    if number is None:
        raise not_found()
    return number


def path_attachment(request: web.Request) -> int:
    """Return the attachment's id from the request's path, and add it to the request's log lines.

    Raises Problem 404 for a text that is not an id.
    """
    number = path_id(request)
    add_fields(attachment=number)
    return number


def shortened(text: str) -> str:
    """Return the first 100 characters of a text for an error, without unprintable ones."""
    return "".join(character for character in text[:100] if character.isprintable())
