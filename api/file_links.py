"""The query of a file's address, as clients keep it: a signature, or an API token.

Libraries of URLs write a query anew: `?1776398568&s=x` becomes `?1776398568=&s=x`, or comes in
another order, or with parameters of others.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from api.parts import Parts, now
from api.problems import PRIVATE
from shared.tokens import Caller

MAX_STAMPS = 4
"""How many parameters that look like a stamp are tried: some libraries add a time of their own."""

TOKEN_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""The headers of an answer to an address that holds a token: nothing may keep or pass it on."""

# Unix times, as `Links.url` writes them.
_STAMP = re.compile(r"[0-9]{1,19}", re.ASCII)
_END = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
# As `Links.url` writes the whole query, and as most requests have it.
_USUAL = re.compile(r"([0-9]{1,19})(?:&e=([1-9][0-9]{0,18}))?&s=([A-Za-z0-9_-]*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileQuery:
    """What the query of a file's address holds; unknown parameters are left out.

    `ends` is "" for an address without an end. Of what is given twice the last counts.
    """

    stamps: tuple[str, ...]
    ends: str
    signature: str
    token: str


def read_query(raw: str) -> FileQuery:
    """Read the query of a file's address, not yet decoded.

    With an end that is no Unix time no stamp is given, as nothing can be signed so.
    """
    usual = _USUAL.fullmatch(raw)
    if usual is not None:
        stamp, ends, signature = usual.groups(default="")
        return FileQuery(stamps=(stamp,), ends=ends, signature=signature, token="")
    given = parse_qsl(raw, keep_blank_values=True)
    named = dict(given)
    ends = named.get("e", "")
    stamps = [name for name, value in given if not value and _STAMP.fullmatch(name)]
    if ends and not _END.fullmatch(ends):
        stamps = []
    return FileQuery(
        stamps=tuple(dict.fromkeys(stamps))[:MAX_STAMPS],
        ends=ends,
        signature=named.get("s", ""),
        token=named.get("token", ""),
    )


def is_signed(parts: Parts, key: str, query: FileQuery) -> bool:
    """Whether a query holds a signature of ours for a key, which has not ended."""
    links = parts.documents.links
    return any(
        links.admits(key, stamp, query.ends, query.signature, now()) for stamp in query.stamps
    )


async def find_reader(request: web.Request, parts: Parts, query: FileQuery) -> Caller | None:
    """Give the caller whose API token an address holds, if the settings admit tokens there.

    The caller may read what its own organization has. Raises Problem 429 above the organization's
    rate, 503 while too many unknown tokens are looked up.
    """
    if not query.token or not parts.settings.files_query_token:
        return None
    return await parts.gate.admit_reader(request, query.token)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def leave_no_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every answer to an address that holds a token TOKEN_HEADERS, whatever the answer is."""
    response = await handler(request)
    # Its name may be encoded: `%74oken` is read as `token`.
    if "token" in unquote(request.rel_url.raw_query_string):
        if "Cache-Control" not in response.headers:
            response.headers.update(PRIVATE)
        response.headers.update(TOKEN_HEADERS)
    return response
