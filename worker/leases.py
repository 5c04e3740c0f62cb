"""The claims that this worker holds, and the renewal of their leases."""

import asyncio
from typing import Any

from shared import lifecycle
from shared.database import Database, DatabaseAway
from shared.lifecycle import Claim
from shared.log import get_logger
from worker.attempt_spans import fields_of
from worker.measuring import LEASES_LOST

log = get_logger(__name__)


class Leases:
    """The claims that one worker holds, each with the task that processes its upload."""

    def __init__(self, database: Database, *, lease_s: float) -> None:
        self._database = database
        self._lease_s = lease_s
        self._held: dict[int, tuple[Claim, asyncio.Task[Any]]] = {}

    def hold(self, claim: Claim) -> None:
        """Renew a claim's lease until `drop` is called.

        If the claim is lost, the task that called this is cancelled.
        """
        task = asyncio.current_task()
        assert task is not None
        self._held[claim.attachment.id] = (claim, task)

    def holds(self, claim: Claim) -> bool:
        """Return True if exactly this claim is held, and not a later one of the same upload."""
        held = self._held.get(claim.attachment.id)
        return held is not None and held[0] is claim

    def drop(self, claim: Claim) -> None:
        """Stop renewing a claim; does nothing if it is not held."""
        # This worker's sweep may have claimed the same upload again. Do not drop that newer claim.
        if self.holds(claim):
            del self._held[claim.attachment.id]

    async def renew(self) -> None:
        """Renew all leases every third of the lease time, in one statement. Runs until cancelled.

        If a claim is lost, the task that processes its upload is cancelled.
        """
        while True:
            await asyncio.sleep(self._lease_s / 3)
            held = dict(self._held)
            if not held:
                continue
            try:
                kept = await self._database.run(
                    lifecycle.renew, [claim for claim, _ in held.values()], lease_s=self._lease_s
                )
            except DatabaseAway:  # `shared.outages` logs this outage
                continue
            except Exception:  # the next renewal may succeed before the leases end
                log.exception("leases not renewed")
                continue
            for attachment_id, (claim, task) in held.items():
                if attachment_id not in kept and self.holds(claim):
                    log.info("another worker took over", **fields_of(claim))
                    LEASES_LOST.inc()
                    self.drop(claim)
                    task.cancel()
