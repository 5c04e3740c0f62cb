"""An API that sends an answer which the OpenAPI document does not describe.

Tests run it with `python -m tests.support.strange_api`.
"""

import asyncio

from aiohttp import web

from api import __main__ as process
from api import app
from shared.settings import load_settings


async def health(_request: web.Request) -> web.Response:
    """Answer with a member and a header field that the OpenAPI document does not describe."""
    return web.json_response({"status": "alive", "another": 1}, headers={"X-Another": "1"})


if __name__ == "__main__":
    app.health_live = health
    asyncio.run(process.serve(load_settings()))
