"""GET /client/{name}: the scripts for pages that upload. They are files of this package.

A page may import them from the API or contain a copy: the folder `browser` is an npm package.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from api.compression import accepts_gzip, compress
from api.problems import not_found

FOLDER = Path(__file__).with_name("browser")

NAMES = ("attachments.js", "attachment-retries.js", "attachment-row.js", "attachment-upload.js")

MAX_AGE_S = 3600
"""Time, in seconds, for which a browser may use its copy of a script without a new request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script, plain and compressed, with its entity tag."""

    plain: bytes
    gzipped: bytes
    tag: str


@cache
def read_script(name: str) -> Script:
    """Read a script whose name is in NAMES. Each script is read once per process."""
    plain = (FOLDER / name).read_bytes()
    return Script(plain=plain, gzipped=compress(plain), tag=f'"{sha256(plain).hexdigest()[:32]}"')


async def show(request: web.Request) -> web.Response:
    """Answer GET /client/{name}: a script whose name is in NAMES.

    It is for pages of every origin, and no token is needed. Another name is answered with 404.
    """
    name = request.match_info["name"]
    if name not in NAMES:
        raise not_found()
    script = read_script(name)
    headers = {
        "Content-Type": "text/javascript; charset=utf-8",
        "Cache-Control": f"public, max-age={MAX_AGE_S}",
        "Vary": "Accept-Encoding",
        "ETag": script.tag,
        # A browser imports a module of another origin only with this header.
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    given = request.if_none_match
    if given is not None and any(f'"{each.value}"' in (script.tag, '"*"') for each in given):
        return web.Response(status=304, headers=headers)
    if accepts_gzip(",".join(request.headers.getall("Accept-Encoding", ()))):
        return web.Response(body=script.gzipped, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=script.plain, headers=headers)
