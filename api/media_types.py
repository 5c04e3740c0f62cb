"""Parse media types, and lists of them in headers (RFC 9110, sections 5.6 and 8.3.1)."""

import re
from functools import lru_cache

# All quantifiers are possessive: such a pattern never backtracks, so it takes linear time.
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ITEM = re.compile(r'((?:[^",]++|"(?:[^"\\]++|\\.)*+")*+)(?:,|\Z)', re.DOTALL)
_PIECE = re.compile(r'((?:[^";]++|"(?:[^"\\]++|\\.)*+")*+)(?:;|\Z)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

MediaType = tuple[str, dict[str, str]]
"""The type and subtype in lower case, and the parameters, whose names are in lower case."""

KEPT_CHARACTERS = 200
"""Maximum length, in characters, of a header whose parsed value is cached. Clients choose the
headers, so without this maximum a client could fill the memory. The cache has 256 entries.
"""


def split_list(text: str, limit: int) -> list[str]:
    """Split a header at the commas outside of quotes; return at most `limit` items.

    If a quoted string does not end, its item and all later ones are left out.
    """
    if '"' not in text:
        return text.split(",", limit)[:limit]
    return _split(_ITEM, text, limit)[0]


def parse_media_type(text: str) -> MediaType | None:
    """Parse a media type and its parameters. Returns None if a quoted string is malformed."""
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
    """Split a text into at most `limit` pieces.

    The second value is False if a piece is malformed.
    """
    pieces: list[str] = []
    offset = 0
    while offset < len(text) and len(pieces) < limit:
        match = pattern.match(text, offset)
        if match is None:
            return pieces, False
        pieces.append(match[1])
        offset = match.end()
    return pieces, True
