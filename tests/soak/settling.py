"""The end of a soak test: wait until no row is due, then read the final state."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiobotocore.session import get_session

from deploy.local.services import answers
from shared.attachments import COLUMNS, Attachment
from shared.bucket_owner import MARKER
from shared.errors import ObjectMissing
from shared.keys import PREFIX
from shared.styles import shown_thumbnails
from tests.soak.clients import Clients, Ledger
from tests.soak.files import read_code
from tests.soak.plan import MAX_VERSIONS, Upload, Version
from tests.soak.soak_site import Site
from tests.soak.verdict import HANDS, ORPHANS, UNFINISHED, Finding, StoredItem
from tests.support.objects import content

POLL_S = 1.0
BACK_S = 120.0
"""Maximum time, in seconds, until all processes run again and the backlog is processed."""
PROOF_S = 60.0
PROOF_AT_ONCE = 8
MARGIN_S = 180.0
"""A row may still be due for this number of seconds after the last check of the store.

The time is enough for a sweep, a lease, and the pauses of a few attempts.
"""
PAGE = 1000
READERS = 8

UNSETTLED = """
    SELECT count(*) FROM attachments AS a
    WHERE a.deleted_at IS NULL AND (a.state IN ('pending', 'uploaded', 'processing')
                                    OR (a.due_at IS NOT NULL AND a.state <> 'expired'))
"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The final state.

    `rows` and `shown` map attachment ids to rows and to the numbers that the thumbnails show.
    `objects` maps keys to objects.
    """

    rows: dict[int, Attachment]
    objects: dict[str, StoredItem]
    shown: dict[int, int | None]


async def backlog(site: Site) -> int:
    """Count the uploads that wait for a worker or are being processed."""
    return int(
        await site.database.fetchval(
            "SELECT count(*) FROM attachments AS a"
            " WHERE a.deleted_at IS NULL AND a.state IN ('uploaded', 'processing')"
        )
    )


async def prove_alive(site: Site, clients: Clients, ledger: Ledger, first: int) -> list[Finding]:
    """Check that every process works again within some time after the last fault.

    The function makes further uploads until each worker has processed one. The first of these
    uploads has the number `first`.
    """
    findings = []
    deadline = time.monotonic() + BACK_S
    while time.monotonic() < deadline:
        if all(part.alive for part in site.kept.values()) and not await backlog(site):
            break
        await asyncio.sleep(POLL_S)
    for part, url in zip(site.apis, site.relay.targets, strict=True):
        if not await answers(f"{url}/health/ready"):
            findings.append(Finding(invariant=HANDS, about=f"{part.name} is not ready"))
    idle = {part.name: site.modules[part.name].log_size for part in site.workers}
    deadline = time.monotonic() + PROOF_S
    while idle and time.monotonic() < deadline:
        uploads = [_proof(number) for number in range(first, first + PROOF_AT_ONCE)]
        first += PROOF_AT_ONCE
        ledger.begun += PROOF_AT_ONCE
        await asyncio.gather(*(clients.attend(upload) for upload in uploads))
        await asyncio.sleep(POLL_S)
        for name, since in list(idle.items()):
            if site.modules[name].wrote(b'"processed"', since=since):
                del idle[name]
    findings += [Finding(invariant=HANDS, about=f"{name} processes nothing") for name in idle]
    findings += [
        Finding(invariant=HANDS, about=f"{part.name} does not run")
        for part in site.kept.values()
        if not part.alive
    ]
    return findings


def _proof(number: int) -> Upload:
    version = Version(kind="jpeg", code=number * MAX_VERSIONS, after_s=0)
    return Upload(
        number=number, organization=0, name=f"proof {number:07d}.jpg", versions=(version,)
    )


async def settle(
    site: Site, over: asyncio.Event, print_line: Callable[[str], None]
) -> list[Finding]:
    """Wait until no row is due: all policies have expired, and the last check of the
    store is over.
    """
    left_s = await site.database.fetchval(
        "SELECT extract(epoch FROM max(a.policy_expires_at) + interval '60 s' - now())"
        " FROM attachments AS a"
    )
    wait_s = max(float(left_s or 0), 0) + MARGIN_S
    print_line(f"settling: the store is asked for the last time in {wait_s - MARGIN_S:.0f} s")
    late = await _wait_for(site, UNSETTLED, wait_s, over)
    return [Finding(invariant=UNFINISHED, about=f"{about} not settled") for about in late]


async def purge(
    site: Site, over: asyncio.Event, print_line: Callable[[str], None]
) -> list[Finding]:
    """Purge the deleted attachments now. By itself, the service would purge them an hour later."""
    moved = await site.database.execute(
        "UPDATE attachments AS a SET due_at = now()"
        " WHERE a.deleted_at IS NOT NULL AND a.due_at IS NOT NULL"
    )
    print_line(f"purge of {moved.rpartition(' ')[2]} deleted attachments moved forward by an hour")
    unpurged = (
        "SELECT count(*) FROM attachments AS a"
        " WHERE a.deleted_at IS NOT NULL AND a.due_at IS NOT NULL"
    )
    late = await _wait_for(site, unpurged, MARGIN_S, over)
    return [Finding(invariant=ORPHANS, about=f"{about} not purged") for about in late]


async def _wait_for(site: Site, count: str, wait_s: float, over: asyncio.Event) -> list[str]:
    """Wait until the statement `count` returns zero. After a timeout, return the counted rows."""
    deadline = time.monotonic() + wait_s
    while await site.database.fetchval(count):
        if over.is_set():
            return ["interrupted:"]
        if time.monotonic() > deadline:
            condition = count.partition("WHERE")[2]
            rows = await site.database.fetch(
                f"SELECT a.id, a.state FROM attachments AS a WHERE {condition}"
            )
            return [f"{row['state']} attachment {row['id']}:" for row in rows]
        await asyncio.sleep(POLL_S)
    return []


async def look(site: Site) -> Picture:
    """Read all rows, list all objects, and read the number that each thumbnail shows."""
    rows: dict[int, Attachment] = {}
    after = 0
    while found := await site.database.fetch(
        f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id > $1 ORDER BY a.id LIMIT {PAGE}", after
    ):
        rows |= {row["id"]: Attachment.from_row(row) for row in found}
        after = found[-1]["id"]
    objects = await list_objects(site)
    resized = iter([row for row in rows.values() if row.resized and row.deleted_at is None])
    shown: dict[int, int | None] = {}

    async def reader() -> None:
        for row in resized:
            shown[row.id] = await _read_thumbnail(site, row)

    await asyncio.gather(*(reader() for _ in range(READERS)))
    return Picture(rows=rows, objects=objects, shown=shown)


async def _read_thumbnail(site: Site, row: Attachment) -> int | None:
    """Return the number that all thumbnails of a row show.

    Returns None if there is no thumbnail, if one cannot be read, or if their numbers differ.
    """
    try:
        codes = {
            await asyncio.to_thread(read_code, await content(site.storage, each.key))
            for each in shown_thumbnails(row).values()
        }
    except (ObjectMissing, OSError):  # Pillow raises OSError for a file that is no image
        return None
    return codes.pop() if len(codes) == 1 else None


async def list_objects(site: Site) -> dict[str, StoredItem]:
    """Return all objects below PREFIX by key, except MARKER, which names the bucket's owner."""
    store = site.stack.seaweedfs
    objects: dict[str, StoredItem] = {}
    async with get_session().create_client(
        "s3",
        region_name=store.region,
        endpoint_url=store.url,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
    ) as client:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=site.storage.bucket, Prefix=PREFIX
        )
        async for page in pages:
            for item in page.get("Contents", ()):
                objects[item["Key"]] = StoredItem(etag=item["ETag"].strip('"'), size=item["Size"])
    objects.pop(MARKER, None)
    return objects
