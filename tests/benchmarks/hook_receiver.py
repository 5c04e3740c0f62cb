"""A receiver of webhooks as a separate process: `python -m tests.benchmarks.hook_receiver
DELAY_S`.
"""

import asyncio
import json
import sys
import time

from aiohttp import web


async def main(delay_s: float) -> None:
    """Answer every delivery after a delay. A GET returns the deliveries since the last GET."""
    arrivals: list[tuple[str, str, str, float]] = []

    async def receive(request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        message_id = request.headers["webhook-id"]
        arrivals.append((message_id, document["type"], document["timestamp"], time.time()))
        await asyncio.sleep(delay_s)
        return web.Response(status=204)

    async def show(_request: web.Request) -> web.Response:
        shown, arrivals[:] = list(arrivals), []
        return web.json_response(shown)

    app = web.Application()
    app.router.add_post("/", receive)
    app.router.add_get("/", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
