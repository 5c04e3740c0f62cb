"""`attachments retry --style`: make thumbnails in a style that was configured later."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.attachments import check_organization
from deploy.commands.environment import Misused, note, print_line, with_database

if TYPE_CHECKING:
    from shared.database import Database
    from shared.style_settings import RetrySettings

AT_A_TIME = 500
"""Maximum number of attachments that one statement queues. The next ones are queued when fewer
uploads than this wait for a worker. So an attachment is `uploaded` and `processing` only for a
short time, and a new upload does not wait until all of them are processed."""

POLL_EVERY_S = 0.5
WAITING_AFTER_S = 30.0
"""Seconds of waiting after which the command prints that it waits for the workers."""


def restyle(style: str, organization: int | None, data_dir: Path) -> int:
    """Let all ready attachments that lack a style be processed again; return the exit status.

    May be interrupted and repeated: attachments that were queued are processed, and the next call
    queues the others. Raises Misused if the style is not configured.
    """
    from shared import lifecycle
    from shared.deployment import find_prefix
    from shared.overview import find_lacking
    from shared.publisher import Publisher
    from shared.style_settings import RetrySettings

    async def work(database: "Database", settings: "RetrySettings") -> None:
        edge = settings.edges.get(style)
        if edge is None:
            raise Misused(
                f"--style: must be a style of ATTACHMENTS_STYLES: {', '.join(settings.edges)}"
            )
        await check_organization(database, organization)
        prefix = await find_prefix(database, settings)
        publisher = Publisher(settings.broker_url.get_secret_value(), prefix)
        queued, after = 0, 0
        try:
            while True:
                part = await database.run(
                    find_lacking, style, edge, after=after, organization_id=organization
                )
                for start in range(0, len(part.ids), AT_A_TIME):
                    if queued:
                        await _wait_for_workers(database)
                    batch = part.ids[start : start + AT_A_TIME]
                    woken = await database.run(lifecycle.retry_style, batch, style, edge)
                    for wake_up in woken:
                        publisher.publish(wake_up)
                    queued += len(woken)
                if part.walked_to is None:
                    break
                after = part.walked_to
        finally:
            publisher.close()
            if queued:
                print_line(f"{queued} attachments are processed again for the style {style}")
        if publisher.dropped:
            note(publisher.left_to_sweep)
        if not queued:
            owner = f" of organization {organization}" if organization else ""
            note(f"no attachment{owner} lacks the style {style}; nothing was done")

    with_database(data_dir, RetrySettings, work)
    return 0


async def _wait_for_workers(database: "Database") -> None:
    """Wait until fewer than AT_A_TIME uploads wait for a worker."""
    from shared.backlog import measure

    loop = asyncio.get_running_loop()
    began = loop.time()
    noted = False
    while (waiting := (await database.run(measure)).waiting) >= AT_A_TIME:
        if not noted and loop.time() - began > WAITING_AFTER_S:
            noted = True
            note(f"waiting for the workers: {waiting} uploads are in the queue")
        await asyncio.sleep(POLL_EVERY_S)
