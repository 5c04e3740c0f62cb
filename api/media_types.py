"""Media types and lists of them, as headers write them (RFC 9110, sections 5.6 and 8.3.1)."""

import re
from functools import lru_cache

# All are possessive: nothing is matched twice, so the time is linear, whatever was sent.
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ITEM = re.compile(r'((?:[^",]++|"(?:[^"\\]++|\\.)*+")*+)(?:,|\Z)', re.DOTALL)
_PIECE = re.compile(r'((?:[^";]++|"(?:[^"\\]++|\\.)*+")*+)(?:;|\Z)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

MediaType = tuple[str, dict[str, str]]
"""Type and subtype in lower case, and the parameters by their names in lower case."""

KEPT_CHARACTERS = 200
"""A longer media type is parsed each time: clients choose them, and 256 are remembered."""


def split_list(text: str, limit: int) -> list[str]:
    """Split a header at its commas, but not at those in quotes; gives at most `limit` items.

    A quote without its end spoils what follows, which is left out.
    """
    if '"' not in text:
        return text.split(",", limit)[:limit]
    return _split(_ITEM, text, limit)[0]


def parse_media_type(text: str) -> MediaType | None:
    """Read a media type and its parameters; None if a quoted string is not well-formed."""
    parsed = _parse_remembered(text) if len(text) <= KEPT_CHARACTERS else _parse(text)
    return parsed and (parsed[0], dict(parsed[1]))


def _parse(text: str) -> MediaType | None:
    pieces, whole = (text.split(";"), True) if '"' not in text else _split(_PIECE, text, len(text))
    parameters = {}
    for piece in pieces[1:]:
        name, _, value = (part.strip() for part in piece.partition("="))
        if '"' in value:
            quoted = _QUOTED.fullmatch(value)
            if quoted is None:
                return None
            value = _ESCAPED.sub(r"\1", quoted[1])
        if name:
            parameters[name.lower()] = value
    return (pieces[0].strip().lower(), parameters) if whole and pieces else None


_parse_remembered = lru_cache(maxsize=256)(_parse)


def _split(pattern: re.Pattern[str], text: str, limit: int) -> tuple[list[str], bool]:
    """Split a text; also tells whether all of it could be read, up to `limit` pieces."""
    pieces: list[str] = []
    place = 0
    while place < len(text) and len(pieces) < limit:
        match = pattern.match(text, place)
        if match is None:
            return pieces, False
        pieces.append(match[1])
        place = match.end()
    return pieces, True
