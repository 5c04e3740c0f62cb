"""Do three things every ten minutes: remove old dead letters, remove old idempotency keys, and
count the usage of organizations that have no count yet."""

import asyncio

from shared import counting, dead_letters, idempotency
from shared.database import Database, DatabaseAway
from shared.jitter import spread
from shared.log import get_logger
from shared.settings import Settings

TIDY_EVERY_S = 600.0

log = get_logger(__name__)


async def tidy(database: Database, settings: Settings) -> None:
    """Remove old dead letters and idempotency keys, and count usage, every TIDY_EVERY_S seconds.

    Runs until it is cancelled. A failure is logged, and the next round tries again. If the database
    is unavailable, `shared.outages` logs that.
    """
    while True:
        await asyncio.sleep(spread(TIDY_EVERY_S))
        try:
            await database.run(dead_letters.prune, settings)
        except DatabaseAway:
            pass
        except Exception:  # The other duties and the next round must still run.
            log.exception("dead letters not pruned")
        try:
            while await database.run(idempotency.prune) == idempotency.REMOVED_AT_ONCE:
                pass
        except DatabaseAway:
            pass
        except Exception:  # The other duties and the next round must still run.
            log.exception("idempotency keys not pruned")
        try:
            if counted := await database.run(counting.count_waiting):
                log.info("usage counted", organization=counted)
        except DatabaseAway:
            pass
        except Exception:  # The other duties and the next round must still run.
            log.exception("usage not counted")
