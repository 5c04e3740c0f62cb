"""Every ten minutes, remove old deliveries, and encrypt secrets again if their key is old."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.database import Connection, Database, DatabaseAway
from shared.jitter import spread
from shared.log import get_logger
from shared.settings import Settings
from shared.webhooks import deliveries, registry
from shared.webhooks.vault import SecretUnreadable, Vault

EVERY_S = 600.0

ROUNDS = 200
"""Maximum number of statements of one kind in one run, so that a run ends. The next run
continues."""

log = get_logger(__name__)


async def keep_house(database: Database, settings: Settings) -> None:
    """Call `tidy_once` every EVERY_S seconds until cancelled.

    A failure is logged, and the next round tries again.
    """
    while True:
        await asyncio.sleep(spread(EVERY_S))
        try:
            await tidy_once(database, settings.vault)
        except DatabaseAway:  # `shared.outages` logs this outage
            pass
        except SecretUnreadable:
            log.error("secrets of webhooks are encrypted by a key that is not in the settings")
        except Exception:  # The next round may succeed.
            log.exception("deliveries not removed")


async def tidy_once(database: Database, vault: Vault | None) -> None:
    """Remove old, orphaned and surplus deliveries; encrypt old secrets with the new key.

    May be repeated, also by several workers at once. Raises DatabaseAway, and SecretUnreadable if
    no key in the settings can decrypt a secret.
    """
    await _repeat(database, deliveries.prune_old)
    await _repeat(database, deliveries.prune_orphans)
    try:
        if vault is not None and (changed := await database.run(registry.reencrypt, vault)):
            log.info("secrets of webhooks encrypted by the new key", webhooks=changed)
    finally:  # removed even after an error, so that the table stays small
        await _remove_surplus(database)


async def _remove_surplus(database: Database) -> None:
    for _ in range(ROUNDS):
        removed = await database.run(deliveries.prune_surplus)
        if not removed:
            return
        log.warning("deliveries removed: there were too many", by_webhook=removed)


async def _repeat(database: Database, remove: Callable[[Connection], Awaitable[int]]) -> None:
    for _ in range(ROUNDS):
        if not await database.run(remove):
            return
