"""Run one API process: `python -m api`, or `attachments api`."""

import asyncio
import signal

import uvloop
from aiohttp import web

from api.app import create_app, make_runner
from shared.log import configure_logging, get_logger
from shared.settings import Settings, load_settings

GRACE_S = 8.0
BACKLOG = 1024

log = get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end. Raises OSError at start."""
    runner = make_runner(create_app(settings), grace_s=GRACE_S)
    await runner.setup()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        site = web.TCPSite(runner, settings.api_host, settings.api_port, backlog=BACKLOG)
        await site.start()
        bound = runner.addresses[0]
        log.info("api listens", host=bound[0], port=bound[1])
        await stopping.wait()
    finally:
        await runner.cleanup()


def run(settings: Settings) -> None:
    """Run the API on uvloop in this process, until it is told to stop."""
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    run(load_settings())
