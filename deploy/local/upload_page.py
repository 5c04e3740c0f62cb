"""The page of `attachments up` to try uploads, and the small backend that gives it tickets.

The backend has the stack's token, so only this page may use it. There are two dangers. Other users
of the machine can reach loopback addresses, so the page's address contains a secret. Other pages in
the operator's browser can send requests to the backend. So a request for a ticket needs the exact
Host and Origin, and a second secret that only the page's script can read.
"""

import asyncio
import html
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from deploy.embedded.ports import HOST

MAX_BODY_BYTES = 64 * 1024
ANSWER_S = 15.0
MEDIA_TYPE = "application/vnd.api+json"
GUARD = "X-Page-Guard"
"""The header with the page's second secret. A page of another origin cannot send this header,
because that needs a preflight, which is answered with an error."""

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="page-guard" content="{guard}">
<title>Upload - attachments</title>
<link rel="stylesheet" href="page.css">
<link rel="icon" href="data:,">
<script type="module" src="page.js"></script>
<main>
  <h1>Upload</h1>
  <p>Files go from this page straight to the store. A worker measures them and makes thumbnails.</p>
  <attachment-upload></attachment-upload>
</main>
</html>
"""

STYLE = """\
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0; background: light-dark(#fff, #12161c); color: light-dark(#12161c, #f0f3f6); }
main { max-width: 40rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
"""

SCRIPT = """\
import "{api_url}/client/attachment-upload.js";

const guard = document.querySelector("meta[name=page-guard]").content;
const made = new WeakMap();

document.querySelector("attachment-upload").ticket = async (file, {{signal}}) => {{
  const answer = await fetch("ticket", {{
    method: "POST",
    headers: {{"Content-Type": "application/json", "{header}": guard}},
    body: JSON.stringify({{name: file.name, id: made.get(file) ?? null}}),
    signal,
  }});
  const ticket = await answer.json().catch(() => ({{}}));
  // A TypeError lets the client try again, as after a fault of the network.
  if (answer.status === 429 || answer.status >= 500) throw new TypeError(`${{answer.status}}`);
  if (!answer.ok) {{
    const fault = ticket.errors?.[0];
    const attribute = fault?.source?.pointer?.split("/").pop() ?? "status";
    throw new Error(`${{attribute}} ${{fault?.detail ?? answer.status}}`);
  }}
  made.set(file, ticket.id);
  return ticket;
}};
"""


class UploadPage:
    """Serves the page and gives it tickets.

    `api_url`, `token` and `organization_id` are those of the stack. `links` are the addresses of
    uploads and files. The page may connect to their hosts.
    """

    def __init__(
        self,
        *,
        port: int,
        api_url: str,
        links: Iterable[str | None],
        token: str,
        organization_id: int,
    ) -> None:
        self._origin = f"http://{HOST}:{port}"
        self._path = f"/{secrets.token_urlsafe()}/"
        self.url = f"{self._origin}{self._path}"
        self._port = port
        self._api_url = api_url
        self._guard = secrets.token_urlsafe()
        self._headers = {
            "X-Auth-Token": token,
            "X-Organization-Id": str(organization_id),
            "Content-Type": MEDIA_TYPE,
        }
        parsed = [urlsplit(each) for each in (api_url, *links) if each]
        reached = " ".join(dict.fromkeys(f"{each.scheme}://{each.netloc}" for each in parsed))
        self._policy = (
            f"default-src 'none'; script-src 'self' {api_url}; style-src 'self';"
            f" connect-src 'self' {reached}; img-src 'self' data: {reached};"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on loopback until the block ends. Raises OSError if the port is taken."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            app = web.Application(middlewares=[self._only_own], client_max_size=MAX_BODY_BYTES)
            app.router.add_get(self._path, self._show)
            app.router.add_get(f"{self._path}page.css", self._style)
            app.router.add_get(f"{self._path}page.js", self._script)
            app.router.add_post(f"{self._path}ticket", self._ticket)
            runner = web.AppRunner(app, access_log=None, handle_signals=False)
            await runner.setup()
            try:
                await web.TCPSite(runner, HOST, self._port).start()
                yield
            finally:
                await runner.cleanup()

    @web.middleware
    async def _only_own(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Add headers to answers. Answer 421 if Host is another host, to prevent DNS rebinding."""
        if request.headers.getall("Host", []) != [f"{HOST}:{self._port}"]:
            return web.Response(status=421)
        fault = None
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            response = fault = error
        response.headers["Content-Security-Policy"] = self._policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        if fault is not None:
            raise fault
        return response

    async def _show(self, _request: web.Request) -> web.Response:
        page = PAGE.format(guard=html.escape(self._guard))
        return web.Response(text=page, content_type="text/html")

    async def _style(self, _request: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def _script(self, _request: web.Request) -> web.Response:
        script = SCRIPT.format(api_url=self._api_url, header=GUARD)
        return web.Response(text=script, content_type="text/javascript")

    async def _ticket(self, request: web.Request) -> web.Response:
        """Answer POST /ticket: create an attachment or renew a ticket; return the ticket."""
        given = request.headers.get(GUARD, "")
        if request.headers.getall("Origin", []) != [self._origin] or not secrets.compare_digest(
            given.encode("utf-8", "surrogateescape"), self._guard.encode()
        ):
            raise web.HTTPForbidden
        try:
            asked = json.loads(await request.read())
            name, made = asked["name"], asked["id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise web.HTTPBadRequest from None
        if not isinstance(name, str) or not isinstance(made, str | None):
            raise web.HTTPBadRequest
        try:
            return await self._ask(name, made)
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError):
            raise web.HTTPServiceUnavailable from None

    async def _ask(self, name: str, made: str | None) -> web.Response:
        path, body = "/api/v2/attachments", None
        if made is None:
            attributes = {"name": name, "attachable_type": "comment", "attachable_id": 1}
            body = json.dumps({"data": {"type": "attachments", "attributes": attributes}})
        elif made.isascii() and made.isdecimal():
            path = f"{path}/{made}/aws_policy"
        else:
            raise web.HTTPBadRequest
        async with self._session.post(
            f"{self._api_url}{path}", data=body, headers=self._headers
        ) as answer:
            document = await answer.json(content_type=None)
            if answer.status not in (200, 201):
                return web.json_response(document, status=answer.status)
        ticket = {
            "id": document["data"]["id"],
            "aws_policy": document["data"]["attributes"]["aws_policy"],
            **{each: document["meta"][each] for each in ("upload_url", "status_url", "expires_at")},
        }
        return web.json_response(ticket)
