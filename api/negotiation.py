"""Content negotiation: the media types of a request's body and of its answer."""

from functools import lru_cache

from aiohttp import web

from api.media_types import KEPT_CHARACTERS, parse_media_type, split_list
from api.problems import MEDIA_TYPE, general

MAX_RANGES = 100
"""How many media ranges of Accept are looked at: a client may send hundreds of thousands."""

USUAL_ACCEPTS = (["*/*"], [f"{MEDIA_TYPE}; ext=bulk"])
"""Accept headers that every answer meets; they need not be parsed."""


def check_accept(request: web.Request, *, bulk: bool = False) -> None:
    """Raise Problem 406 if no media range of Accept takes `application/vnd.api+json`.

    Lenient by contract: wildcards and no Accept at all are fine. JSON:API 1.1, "Server
    Responsibilities": the media type with parameters other than `ext` and `profile` does not
    count; of extensions `bulk` is known, and profiles are ignored.
    """
    given = request.headers.getall("Accept", [])
    if not given or given in USUAL_ACCEPTS:
        return
    remembered = sum(map(len, given)) <= KEPT_CHARACTERS
    if not (_met_remembered if remembered else _is_met)(tuple(given), bulk):
        raise general(406)


def _is_met(given: tuple[str, ...], bulk: bool) -> bool:
    if not "".join(given).strip(" \t,"):  # an empty list is as good as none (RFC 9110, 12.5.1)
        return True
    ranges = [item for header in given for item in split_list(header, MAX_RANGES)]
    for item in ranges[:MAX_RANGES]:
        parsed = parse_media_type(item)
        if parsed is None:
            continue
        media, parameters = parsed
        if parameters.pop("q", "1").rstrip("0").rstrip(".") in ("", "0"):
            continue
        if media in ("*/*", "application/*"):
            return True
        if media == MEDIA_TYPE:
            extensions = _extensions(parameters)
            if extensions is not None and (extensions or not bulk):
                return True
    return False


_met_remembered = lru_cache(maxsize=256)(_is_met)  # most requests send the same few

UTF_8 = frozenset({"utf-8", "utf8"})


def check_content_type(request: web.Request) -> bool:
    """Return whether the body is of the bulk extension. Raises Problem 415.

    JSON:API 1.1: parameters other than `ext` and `profile` are refused. `charset=utf-8` is
    tolerated (contract.md), because HTTP stacks add it.
    """
    given = request.headers.getall("Content-Type", [])
    if given == [MEDIA_TYPE]:
        return False
    parsed = parse_media_type(given[0]) if len(given) == 1 else None
    if parsed is not None and parsed[0] == MEDIA_TYPE:
        parameters = parsed[1]
        charset = parameters.pop("charset", "utf-8").lower()
        extensions = _extensions(parameters)
        if charset in UTF_8 and extensions is not None:
            return bool(extensions)
    raise general(415)


def _extensions(parameters: dict[str, str]) -> set[str] | None:
    """Give the extensions that a media type names; None if it is not one that we know."""
    extensions = set(parameters.get("ext", "").split())
    if parameters.keys() - {"ext", "profile"} or extensions - {"bulk"}:
        return None
    return extensions
