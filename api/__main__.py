"""Run one API process: `python -m api`, or `attachments api`."""

import sys

# Set the signal handlers before the other imports: these take half a second, and a signal may
# arrive in this time. Also remove environment variables that are not meant for the service, because
# some imported modules read variables.
if __name__ == "__main__":
    from shared.beginning import end_on_signal, pause_collection
    from shared.foreign import forget_foreign_variables

    end_on_signal()
    pause_collection()
    forget_foreign_variables()

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop
from aiohttp import web

from api.app import create_app, make_runner
from api.ids import START_S
from api.parts import PARTS, Parts
from shared.beginning import resume_collection
from shared.broker_check import refuse_cluster
from shared.errors import AttachmentsError, CannotListen
from shared.listening import allow_connections, fault_of, listen_everywhere
from shared.liveness import Health
from shared.log import configure_logging, get_logger
from shared.log_lines import fault_line, name_process
from shared.readiness import announce
from shared.settings import Settings, load_settings
from shared.trace_start import exported

GRACE_S = 8.0
BACKLOG = 1024

log = get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end.

    Raises CannotListen if the address cannot be used, SettingsError if the broker is in cluster
    mode, BucketForeign if the bucket belongs to another deployment, and IdsTaken if the bucket has
    originals whose ids the database has not assigned yet.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    health = Health(step="bucket")
    app = create_app(settings, health=health)
    runner = make_runner(app, grace_s=GRACE_S)
    checks = [
        asyncio.create_task(
            announce(health, waits="api waits", ready="api is ready"), name="announcement"
        )
    ]

    async def start() -> None:
        await asyncio.gather(runner.setup(), refuse_cluster(settings))
        checks.extend(await _check_bucket(app[PARTS]))
        await _listen(runner, settings)
        bound = runner.addresses[0]
        log.info("api listens", host=bound[0], port=bound[1])
        health.step = None

    try:
        if await _unless(stopping, start()):
            await stopping.wait()
            checks[0].cancel()
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
    """Run `work`, but cancel it when `stopping` is set; return True if it has finished."""
    doing, stopped = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
        return doing.done()
    finally:
        doing.cancel()
        stopped.cancel()
        await asyncio.gather(doing, stopped, return_exceptions=True)


async def _check_bucket(parts: Parts) -> list["asyncio.Task[None]"]:
    """Check that the bucket belongs to this deployment, and that the next attachment ids are free.

    An id is free if the bucket has no original with this id. Returns background tasks. One watches
    the bucket's owner, which can change. If the check of the ids had no result, a second task
    repeats it. Raises BucketForeign or IdsTaken.
    """
    owner, ids = await asyncio.gather(
        parts.bucket.at_start(within_s=START_S), parts.ids.at_start(), return_exceptions=True
    )
    # If both checks failed, raise the error about the owner: another deployment's bucket is the
    # cause of taken ids.
    for ended in (owner, ids):
        if isinstance(ended, BaseException):
            raise ended
    tasks = [asyncio.create_task(parts.bucket.watch(), name="check of the bucket")]
    if not ids:
        log.info(  # the cause is logged by the check itself
            "ids are not checked yet: database or store is unavailable, or the check was undecided"
        )
        tasks.append(asyncio.create_task(parts.ids.go_on(), name="check of ids"))
    return tasks


def run(settings: Settings) -> None:
    """Run the API on uvloop in this process until SIGTERM or SIGINT. Raises what `serve` raises."""
    resume_collection()
    allow_connections()
    configure_logging(settings.log_level, settings.log_format, serving=True, process="api")
    with exported(settings, "api"), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    name_process("api")
    try:
        run(load_settings())
    except AttachmentsError as error:
        sys.exit(fault_line(f"attachments api: {error}"))
