"""Run one API process: `python -m api`, or `attachments api`."""

if __name__ == "__main__":  # first, because some libraries read variables when they are imported
    from shared.foreign import forget_foreign_variables

    forget_foreign_variables()

import asyncio
import signal
import sys

import uvloop
from aiohttp import web

from api.app import create_app, make_runner
from api.ids import IdCheck
from api.parts import PARTS
from shared.errors import AttachmentsError
from shared.log import configure_logging, get_logger
from shared.settings import Settings, load_settings

GRACE_S = 8.0
BACKLOG = 1024

log = get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end.

    Raises OSError at start, and IdsTaken if the bucket holds originals with ids that the database
    has not handed out.
    """
    app = create_app(settings)
    runner = make_runner(app, grace_s=GRACE_S)
    await runner.setup()
    checking: asyncio.Task[None] | None = None
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        checking = await _check_ids(app[PARTS].ids)
        site = web.TCPSite(runner, settings.api_host, settings.api_port, backlog=BACKLOG)
        await site.start()
        bound = runner.addresses[0]
        log.info("api listens", host=bound[0], port=bound[1])
        await stopping.wait()
        await runner.drain(settings.drain, within_s=GRACE_S)
    finally:
        if checking is not None:
            checking.cancel()
        await runner.cleanup()


async def _check_ids(ids: IdCheck) -> "asyncio.Task[None] | None":
    """Check ids now, else in a task until that was possible. Raises IdsTaken."""
    if await ids.at_start():
        return None
    log.warning("ids are not checked yet: database or store is away, or did not decide it")
    return asyncio.create_task(ids.go_on(), name="check of ids")


def run(settings: Settings) -> None:
    """Run the API on uvloop in this process, until it is told to stop."""
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    try:
        run(load_settings())
    except AttachmentsError as error:
        sys.exit(f"attachments api: {error}")
