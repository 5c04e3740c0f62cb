"""What a `temp_url` says of an attachment that exists: nothing, its own file, another object.

Clients read a resource, change a member and send all of it back, so the address that is shown
states nothing. An address of the attachment's own key says that a file is there: the store is
asked, since it may be a newer one.
"""

import asyncio
from enum import Enum

from aiohttp import web

from api.parts import Parts, origin
from api.temp_urls import locate, names_file, same_address
from shared import lifecycle
from shared.addresses import without_credentials
from shared.attachments import Attachment
from shared.errors import Busy, StoreError
from shared.hosts import names_loopback
from shared.notifications import UploadEvent
from shared.states import MEASURED, UNDER_WAY

ASK_WITHIN_S = 5.0
"""How long the store may take to answer; after that the worker asks it."""


class Meaning(Enum):
    """What a `temp_url` means."""

    NOTHING = "it is absent, blank or what the attachment shows"
    OWN_FILE = "a file is at the attachment's own key"
    ANOTHER_OBJECT = "another object is to be copied"


def read_meaning(
    parts: Parts, request: web.Request, row: Attachment, address: str | None
) -> Meaning:
    """Tell what an address means for an attachment; whether it may be taken is not judged."""
    if address is None:
        return Meaning.NOTHING
    settings = parts.settings
    if _is_own_object(parts, row, address):
        return Meaning.OWN_FILE
    if _is_file_address(parts, request, row, address):
        showing = row.temp_url is None and row.uploaded_at is not None
        return Meaning.NOTHING if showing else Meaning.OWN_FILE
    place = locate(address, settings)
    if row.temp_url is not None and (
        same_address(without_credentials(address), without_credentials(row.temp_url))
        or (place is not None and place == locate(row.temp_url, settings))
    ):
        return Meaning.NOTHING
    return Meaning.ANOTHER_OBJECT


async def take_own(
    parts: Parts, request: web.Request, row: Attachment, address: str
) -> dict[str, str]:
    """Record the file at an attachment's own key, as an event would, unless it is known.

    It is known if its etag is the recorded one. If the store cannot tell, the worker finds out;
    an address that is only shown has no effect then. Returns what of the row is to be changed:
    the new `temp_url`, unless the address is shown already or is a signed one of the service.
    Raises BucketForeign.
    """
    kept = without_credentials(address)
    if row.temp_url is not None:
        is_shown = same_address(kept, without_credentials(row.temp_url))
    else:
        is_shown = row.uploaded_at is not None and _is_file_address(parts, request, row, address)
    is_here = row.bucket == parts.settings.s3_bucket
    etag = await _ask(parts, row) if is_here else None
    parts.bucket.require_ours()
    if is_here and _says_more(row, etag, is_shown=is_shown):
        event = UploadEvent(bucket=row.bucket, key=row.key, etag=etag)
        recorded = await parts.clients.of(row.organization_id).run(
            lifecycle.record_uploads, [event], publish_grace_s=parts.settings.publish_grace
        )
        for wake_up in recorded.woken:
            parts.publisher.publish(wake_up)
    if is_shown or not _is_own_object(parts, row, address):
        return {}
    return {"temp_url": kept}


def _says_more(row: Attachment, etag: str | None, *, is_shown: bool) -> bool:
    """Whether an answer of the store, None if it has none, says more than the row does."""
    if etag is None:
        # The sweep asks the store about these without changing them meanwhile.
        return not is_shown or row.state in MEASURED
    if row.etag is None:  # the worker that has it, or will have it, reads what is there
        return row.state not in UNDER_WAY
    return etag != row.etag


async def _ask(parts: Parts, row: Attachment) -> str | None:
    """Ask the store for the etag at a row's key; None if there is none, or it cannot tell."""
    try:
        async with asyncio.timeout(ASK_WITHIN_S), parts.lookups.turn(row.organization_id):
            await parts.bucket.require_known_ours()
            found = await parts.storage.head(row.key)
    except (StoreError, Busy, TimeoutError):
        return None
    # An object that is older than its row is another attachment's: the worker deals with it.
    return None if parts.bucket.is_anothers(found, row) else found.etag


def _is_own_object(parts: Parts, row: Attachment, address: str) -> bool:
    place = locate(address, parts.settings)
    if place is None:
        return False
    return place[0] in (row.bucket, parts.settings.s3_bucket) and place[1] == row.key


def _is_file_address(parts: Parts, request: web.Request, row: Attachment, address: str) -> bool:
    """Whether an address is the one at which the service serves a row's original.

    Without a base in the settings a link begins with the host that was asked, or with none, and
    libraries complete it with the host that they asked.
    """
    settings = parts.settings
    base = parts.documents.links.base("")
    if base:
        return same_address(address, f"{base}/{row.key}")
    own = origin(request, settings)
    if own and same_address(address, f"{own}/{row.key}"):
        return True
    host = names_file(address, row.key)
    if host is None:
        return False
    return (
        host in ("", request.headers.get("Host", "").lower())
        or host in settings.hosts
        or (settings.listens_on_loopback and names_loopback(host))
    )
