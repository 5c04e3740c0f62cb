"""A minimal API for comparison: aiohttp, uvloop, one SQL statement for each request, and no checks.

A create request is one INSERT; an event is one UPDATE by id.

Run `python -m tests.benchmarks.bare DATABASE_URL [--keep-session]`; it writes its port to standard
output. By default, asyncpg resets a session by an extra query after every use. That query costs as
much as the statement. With `--keep-session`, asyncpg sends no such query, as in the service's API.
"""

import asyncio
import sys
from urllib.parse import unquote_plus

import asyncpg
import uvloop
from aiohttp import web


async def _keep_session(_connection: object) -> None:
    """Do nothing; asyncpg calls this function instead of resetting a session."""


async def main(database_url: str, *, keep_session: bool) -> None:
    """Answer requests until the process is killed."""
    pool = await asyncpg.create_pool(database_url, reset=_keep_session if keep_session else None)
    await pool.execute(
        "CREATE TABLE IF NOT EXISTS bare (id bigserial PRIMARY KEY, name text, owner text)"
    )

    await pool.execute(
        "CREATE TABLE IF NOT EXISTS bare_uploads (id bigint PRIMARY KEY, state text, etag text)"
    )

    async def create(request: web.Request) -> web.Response:
        attributes = (await request.json())["data"]["attributes"]
        number = await pool.fetchval(
            "INSERT INTO bare (name, owner) VALUES ($1, $2) RETURNING id",
            attributes["name"],
            attributes["attachable_type"],
        )
        return web.json_response({"data": {"id": str(number)}}, status=201)

    async def take_in(request: web.Request) -> web.Response:
        uploaded = (await request.json())["Records"][0]["s3"]["object"]
        partition = unquote_plus(uploaded["key"]).split("/")[2:-2]
        await pool.execute(
            "UPDATE bare_uploads SET state = 'uploaded', etag = $2 WHERE id = $1",
            int("".join(partition)),
            uploaded["eTag"],
        )
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/v2/attachments", create)
    app.router.add_post("/events/s3", take_in)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], keep_session="--keep-session" in sys.argv))
