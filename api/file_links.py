"""Read the query of a file's address: it contains a signature or an API token.

URL libraries may rewrite a query: `?1776398568&s=x` becomes `?1776398568=&s=x`, the order changes,
or other parameters are added. All these forms are accepted.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from api.parts import Parts, now
from api.problems import PRIVATE
from api.words import NUMBER
from shared.tokens import Caller

MAX_STAMPS = 4
"""An address has the signed time as a parameter. Some libraries add another parameter that is a
time. At most this number of parameters are tried as the signed time."""

TOKEN_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""Headers of an answer to an address with a token. The answer must not be cached, and a browser
must not send the address as Referer."""

# A Unix time, as `Links.url` writes it.
_STAMP = re.compile(r"[0-9]{1,19}", re.ASCII)
# A whole query as `Links.url` writes it. Most requests have this form.
_USUAL = re.compile(r"([0-9]{1,19})(?:&e=([1-9][0-9]{0,18}))?&s=([A-Za-z0-9_-]*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileQuery:
    """The known parameters of a file's query.

    `stamps` are the possible signed times. `ends` is "" if the address does not expire. If a
    parameter is given twice, the last value is used.
    """

    stamps: tuple[str, ...]
    ends: str
    signature: str
    token: str


def read_query(raw: str) -> FileQuery:
    """Parse the raw (percent-encoded) query of a file's address.

    If the parameter `e` (the end) is not a Unix time, the result has no stamps. Then no signature
    is valid.
    """
    usual = _USUAL.fullmatch(raw)
    if usual is not None:
        stamp, ends, signature = usual.groups(default="")
        return FileQuery(stamps=(stamp,), ends=ends, signature=signature, token="")
    given = parse_qsl(raw, keep_blank_values=True)
    named = dict(given)
    ends = named.get("e", "")
    stamps = [name for name, value in given if not value and _STAMP.fullmatch(name)]
    if ends and not NUMBER.fullmatch(ends):
        stamps = []
    return FileQuery(
        stamps=tuple(dict.fromkeys(stamps))[:MAX_STAMPS],
        ends=ends,
        signature=named.get("s", ""),
        token=named.get("token", ""),
    )


def is_signed(parts: Parts, key: str, query: FileQuery) -> bool:
    """Return True if the query has a signature for `key` that is valid and has not expired."""
    links = parts.documents.links
    return any(
        links.admits(key, stamp, query.ends, query.signature, now()) for stamp in query.stamps
    )


async def find_reader(request: web.Request, parts: Parts, query: FileQuery) -> Caller | None:
    """Return the caller of the API token in an address, or None.

    Returns None also if the settings do not allow tokens in addresses. The caller may read only
    files of its own organization. Raises Problem 429 above the organization's rate, and 503 while
    too many unknown tokens are looked up.
    """
    if not query.token or not parts.settings.files_query_token:
        return None
    return await parts.gate.admit_reader(request, query.token)


def leave_no_token(request: web.Request, response: web.StreamResponse) -> None:
    """Add TOKEN_HEADERS to every answer to an address with a token, also to errors."""
    # The name may be percent-encoded: `%74oken` means `token`.
    query = request.rel_url.raw_query_string
    if query and "token" in unquote(query):
        if "Cache-Control" not in response.headers:
            response.headers.update(PRIVATE)
        response.headers.update(TOKEN_HEADERS)
