"""A web page that uploads files, and a small backend that requests tickets for the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.support.local import LocalStack


@asynccontextmanager
async def running_site(local: LocalStack, document: str) -> AsyncIterator[str]:
    """Serve a page, and tickets at `POST /ticket?name=…`; yield the port."""
    headers = {
        "X-Auth-Token": local.ready["token"],
        "X-Organization-Id": str(local.ready["organization_id"]),
        "Content-Type": "application/vnd.api+json",
    }

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=document, content_type="text/html")

    async def ticket(request: web.Request) -> web.Response:
        attributes = {"name": request.query["name"]}
        body = {"data": {"type": "attachments", "attributes": attributes}}
        url = f"{local.ready['api_url']}/api/v2/attachments"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json=body, headers=headers) as answer,
        ):
            assert answer.status == 201
            created = await answer.json(content_type=None)
        policy = created["data"]["attributes"]["aws_policy"]
        return web.json_response({"aws_policy": policy, **created["meta"]})

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/favicon.ico", page)
    app.router.add_post("/ticket", ticket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()
