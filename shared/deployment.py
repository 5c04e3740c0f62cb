"""This deployment's id, and the prefix of its keys at a broker that several deployments may use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.database import Connection, Database, DatabaseAway
from shared.log import get_logger
from shared.part_settings import BrokerSettings
from shared.publisher import Publisher

AGAIN_S: Final = 1.0
"""Seconds between two attempts to read the deployment's id while the database is unavailable."""

log = get_logger(__name__)


async def deployment_id(connection: Connection) -> str:
    """Return the id of the deployment: 32 random hexadecimal digits that a migration stored.

    If the row was lost, a new id is stored. If several processes do that at once, only one id is
    stored. May be repeated.
    """
    for _ in range(2):
        found = await connection.fetchval("SELECT id FROM deployment")
        if found is not None:
            return str(found)
        await connection.execute("INSERT INTO deployment DEFAULT VALUES ON CONFLICT DO NOTHING")
    return str(await connection.fetchval("SELECT id FROM deployment"))


async def find_prefix(database: Database, settings: BrokerSettings) -> str:
    """Return the prefix of all keys of this deployment at the broker; it ends with a colon.

    The prefix is the setting, or is made from the deployment's id. Raises DatabaseAway if the id
    cannot be read.
    """
    if settings.queue_prefix is not None:
        return settings.queue_prefix
    return f"attachments:{await database.run(deployment_id)}:"


async def learn_prefix(database: Database, settings: BrokerSettings) -> str:
    """Return the prefix as `find_prefix` does; wait while the database is unavailable."""
    logged = False
    while True:
        try:
            return await find_prefix(database, settings)
        except DatabaseAway as error:
            if not logged:
                log.info("the broker's queues are not known yet", error=str(error))
                logged = True
        await asyncio.sleep(AGAIN_S)


@asynccontextmanager
async def open_publisher(database: Database, settings: BrokerSettings) -> AsyncIterator[Publisher]:
    """Open a publisher, even if the database or the broker cannot be reached.

    The publisher sends nothing until the prefix is known. Until then, it keeps a limited number of
    wake-ups.
    """
    publisher = Publisher(settings.broker_url.get_secret_value(), settings.queue_prefix)

    async def name() -> None:
        publisher.use(await learn_prefix(database, settings))

    naming = asyncio.create_task(name(), name="prefix of the queues")
    try:
        yield publisher
    finally:
        naming.cancel()
        await asyncio.gather(naming, return_exceptions=True)
        await asyncio.to_thread(publisher.close)
