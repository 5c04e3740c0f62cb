"""Checks that each change of an attachment was delivered to webhooks of its own
organization only.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final

from shared.attachments import Attachment
from tests.soak.soak_site import Site
from tests.soak.verdict import HOOKS_FOREIGN, HOOKS_LOST, Finding

DELIVERED_S: Final = 120.0

FINAL: Final[Mapping[str, str]] = {
    "ready": "attachment.ready",
    "rejected": "attachment.rejected",
    "failed": "attachment.failed",
    "expired": "attachment.expired",
}


async def deliver(site: Site, over: asyncio.Event) -> None:
    """Wait until no delivery is pending. Retries that would come minutes later are made due now."""
    deadline = time.monotonic() + DELIVERED_S
    while time.monotonic() < deadline and not over.is_set():
        await site.database.execute(
            # Deliveries that a courier is sending are not changed: their leases end within 40 s.
            "UPDATE webhook_deliveries SET due_at = now()"
            " WHERE state = 'pending' AND due_at > now() + interval '41 seconds'"
        )
        if not await site.database.fetchval(
            "SELECT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')"
        ):
            return
        await asyncio.sleep(1)


async def judge_hooks(site: Site, rows: Iterable[Attachment]) -> list[Finding]:
    """Compare the messages that arrived with the deliveries and the final rows; return the
    findings.
    """
    receivers = site.receivers
    findings = [Finding(invariant=HOOKS_FOREIGN, about=about) for about in receivers.foreign]
    queued = await site.database.fetch(
        "SELECT organization_id, message_id, state, event, attachment_id FROM webhook_deliveries"
    )
    for row in queued:
        message = f"msg_{row['message_id'].hex}"
        arrived = message in receivers.arrived.get(row["organization_id"], set())
        if row["state"] != "delivered" or not arrived:
            about = f"{row['event']} of {row['attachment_id']}: {row['state']}, {arrived=}"
            findings.append(Finding(invariant=HOOKS_LOST, about=about))
    for each in rows:
        wanted = "attachment.deleted" if each.deleted_at else FINAL.get(each.state)
        if wanted is not None and wanted not in receivers.types.get(each.id, set()):
            about = f"{each.state} attachment {each.id}: no {wanted}"
            findings.append(Finding(invariant=HOOKS_LOST, about=about))
    return findings
