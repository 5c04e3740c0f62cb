"""Run one API process: `python -m api`, or `attachments api`."""

import sys

if __name__ == "__main__":  # before the imports below, which take half a second and read variables
    from shared.beginning import leave_when_told
    from shared.foreign import forget_foreign_variables

    leave_when_told()
    forget_foreign_variables()

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop
from aiohttp import web

from api.app import create_app, make_runner
from api.ids import IdCheck
from api.parts import PARTS
from shared.broker_check import refuse_cluster
from shared.errors import AttachmentsError, CannotListen
from shared.listening import fault_of, listen_everywhere
from shared.log import configure_logging, get_logger
from shared.settings import Settings, load_settings

GRACE_S = 8.0
BACKLOG = 1024

log = get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end.

    Raises CannotListen, SettingsError if the broker is in cluster mode, and IdsTaken if the
    bucket holds originals with ids that the database has not handed out.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    app = create_app(settings)
    runner = make_runner(app, grace_s=GRACE_S)
    checks: list[asyncio.Task[None]] = []

    async def start() -> None:
        await asyncio.gather(runner.setup(), refuse_cluster(settings))
        if (checking := await _check_ids(app[PARTS].ids)) is not None:
            checks.append(checking)
        await _listen(runner, settings)
        bound = runner.addresses[0]
        log.info("api listens", host=bound[0], port=bound[1])

    try:
        if await _unless(stopping, start()):
            await stopping.wait()
            await runner.drain(settings.drain, within_s=GRACE_S)
    finally:
        for check in checks:
            check.cancel()
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    host, port = settings.api_host, settings.api_port
    try:
        both = listen_everywhere(host, port, BACKLOG)
        if both is not None:
            await web.SockSite(runner, both, backlog=BACKLOG).start()
        else:
            await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    except (OSError, UnicodeError) as error:
        raise CannotListen(
            f"ATTACHMENTS_API_HOST, ATTACHMENTS_API_PORT: {host} port {port}"
            f" cannot be listened on: {fault_of(error)}"
        ) from error


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless we are told to stop meanwhile; returns whether it came to its end."""
    doing, told = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
        return doing.done()
    finally:
        doing.cancel()
        told.cancel()
        await asyncio.gather(doing, told, return_exceptions=True)


async def _check_ids(ids: IdCheck) -> "asyncio.Task[None] | None":
    """Check ids now, else in a task until that was possible. Raises IdsTaken."""
    if await ids.at_start():
        return None
    log.warning("ids are not checked yet: database or store is away, or did not decide it")
    return asyncio.create_task(ids.go_on(), name="check of ids")


def run(settings: Settings) -> None:
    """Run the API on uvloop in this process, until it is told to stop."""
    configure_logging(settings.log_level, settings.log_format, serving=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    try:
        run(load_settings())
    except AttachmentsError as error:
        sys.exit(f"attachments api: {error}")
