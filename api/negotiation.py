"""Content negotiation: the media types of a request's body and of its answer."""

from functools import lru_cache

from aiohttp import web

from api.media_types import KEPT_CHARACTERS, parse_media_type, split_list
from api.problems import MEDIA_TYPE, bad_request, general

MAX_RANGES = 100
"""Maximum number of media ranges in Accept that are parsed. A client may send more than 100,000."""

USUAL_ACCEPTS = (["*/*"], [f"{MEDIA_TYPE}; ext=bulk"])
"""Values of Accept that every answer satisfies, so they are not parsed."""


def check_accept(request: web.Request, *, bulk: bool = False) -> None:
    """Raise Problem 406 if no media range of Accept allows `application/vnd.api+json`.

    The check is lenient (contract.md): wildcards and a missing Accept are allowed. A media type
    with parameters other than `ext` and `profile` is ignored (JSON:API 1.1, "Server
    Responsibilities"). `bulk` is the only known extension; profiles are ignored. With `bulk`, the
    media type must name that extension.
    """
    given = request.headers.getall("Accept", [])
    if not given or given in USUAL_ACCEPTS:
        return
    remembered = sum(map(len, given)) <= KEPT_CHARACTERS
    if not (_met_remembered if remembered else _is_met)(tuple(given), bulk):
        raise general(406)


def _is_met(given: tuple[str, ...], bulk: bool) -> bool:
    # An empty list means the same as a missing header (RFC 9110, section 12.5.1).
    if not "".join(given).strip(" \t,"):
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


# Most requests have one of a few values of this header, so the results are cached.
_met_remembered = lru_cache(maxsize=256)(_is_met)

UTF_8 = frozenset({"utf-8", "utf8"})


def check_content_type(request: web.Request) -> bool:
    """Return True if the body uses the bulk extension. Raises Problem 415 for a wrong media type.

    Parameters other than `ext` and `profile` are not allowed (JSON:API 1.1). `charset=utf-8` is
    allowed (contract.md), because HTTP libraries add it.
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


def refuse_bulk(request: web.Request, *, only_for: str) -> None:
    """Raise Problem 400 if the body uses the bulk extension, or 415 if its media type is wrong."""
    if check_content_type(request):
        raise bad_request(f"The bulk extension is for {only_for} only")


def _extensions(parameters: dict[str, str]) -> set[str] | None:
    """Return the extensions in a media type's parameters; None if one of them is unknown."""
    extensions = set(parameters.get("ext", "").split())
    if parameters.keys() - {"ext", "profile"} or extensions - {"bulk"}:
        return None
    return extensions
