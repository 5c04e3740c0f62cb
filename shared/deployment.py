"""Which keys at the broker are ours: two deployments may share one database of one Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.database import Connection, Database, DatabaseAway
from shared.log import get_logger
from shared.part_settings import BrokerSettings
from shared.publisher import Publisher

AGAIN_S: Final = 1.0
"""How often a database that is away is asked again for the id."""

log = get_logger(__name__)


async def deployment_id(connection: Connection) -> str:
    """Read the id of the deployment: 32 hexadecimal digits, random, made by a migration.

    If the row was lost a new id is made, once, also by several processes at a time.
    """
    for _ in range(2):
        found = await connection.fetchval("SELECT id FROM deployment")
        if found is not None:
            return str(found)
        await connection.execute("INSERT INTO deployment DEFAULT VALUES ON CONFLICT DO NOTHING")
    return str(await connection.fetchval("SELECT id FROM deployment"))


async def find_prefix(database: Database, settings: BrokerSettings) -> str:
    """Give what all our keys at the broker begin with; it ends with a colon. Raises DatabaseAway.

    It is the setting, or else made of the deployment's id.
    """
    if settings.queue_prefix is not None:
        return settings.queue_prefix
    return f"attachments:{await database.run(deployment_id)}:"


async def learn_prefix(database: Database, settings: BrokerSettings) -> str:
    """Give the prefix as `find_prefix` does, and wait for a database that is away."""
    told = False
    while True:
        try:
            return await find_prefix(database, settings)
        except DatabaseAway as error:
            if not told:
                log.warning("the broker's queues are not known yet", error=str(error))
                told = True
        await asyncio.sleep(AGAIN_S)


@asynccontextmanager
async def open_publisher(database: Database, settings: BrokerSettings) -> AsyncIterator[Publisher]:
    """Open a publisher, whether or not database and broker can be reached.

    Until the prefix is known wake-ups wait in it, a bounded number.
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
