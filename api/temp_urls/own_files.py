"""What a `temp_url` says of an attachment that exists: nothing, its own file, another object.

Clients read a resource, change a member and send all of it back, so the address that is shown
states nothing. An address of the attachment's own key says that a file is there: the store is
asked, since it may be a newer one.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import web

from api.parts import Parts, origin
from api.problems import ErrorObject
from api.temp_urls.locations import Location, judge, locate, names_file, same_address
from shared import lifecycle
from shared.addresses import without_credentials
from shared.attachments import Attachment
from shared.errors import Busy, StoreError
from shared.hosts import names_loopback
from shared.notifications import UploadEvent
from shared.settings import Settings
from shared.states import MEASURED, UNDER_WAY

ASK_WITHIN_S = 5.0
"""How long the store may take to answer; after that the worker asks it."""


class Kind(Enum):
    """What a `temp_url` means."""

    NOTHING = "it is absent, blank or what the attachment shows"
    OWN_FILE = "a file is at the attachment's own key"
    ANOTHER_OBJECT = "another object is to be copied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a `temp_url` means for an attachment.

    `location` is of another object, None if it may not be taken. Of a file at the attachment's own
    key, `shows` tells whether the attachment shows the address already, and `kept` is what of the
    row is to be changed: the new `temp_url`, unless the address is shown already or is a signed
    one of the service.
    """

    kind: Kind
    location: Location | None = None
    shows: bool = False
    kept: dict[str, str] = field(default_factory=dict)


NOTHING = Meaning(kind=Kind.NOTHING)


def read_meaning(
    parts: Parts, request: web.Request, row: Attachment, address: str | None
) -> tuple[Meaning, list[ErrorObject]]:
    """Tell what an address means for an attachment, and why it may not be taken if so."""
    if address is None:
        return NOTHING, []
    settings = parts.settings
    place = locate(address, settings)
    is_object = _is_own_object(settings, row, place)
    is_file = not is_object and _is_file_address(parts, request, row, address)
    if is_file and row.temp_url is None and row.uploaded_at is not None:
        return NOTHING, []
    if is_object or is_file:
        return _own_file(parts, request, row, address, is_object=is_object), []
    if row.temp_url is not None and (
        same_address(without_credentials(address), without_credentials(row.temp_url))
        or (place is not None and place == locate(row.temp_url, settings))
    ):
        return NOTHING, []
    location, faults = judge(settings, address, place, organization_id=row.organization_id)
    return Meaning(kind=Kind.ANOTHER_OBJECT, location=location), faults


def _own_file(
    parts: Parts, request: web.Request, row: Attachment, address: str, *, is_object: bool
) -> Meaning:
    kept = without_credentials(address)
    if row.temp_url is not None:
        shows = same_address(kept, without_credentials(row.temp_url))
    else:
        shows = row.uploaded_at is not None and _is_file_address(parts, request, row, address)
    changes = {} if shows or not is_object else {"temp_url": kept}
    return Meaning(kind=Kind.OWN_FILE, shows=shows, kept=changes)


async def take_own(parts: Parts, row: Attachment, meaning: Meaning) -> dict[str, str]:
    """Record the file at an attachment's own key, as an event would, unless it is known.

    It is known if its etag is the recorded one. If the store cannot tell, the worker finds out;
    an address that is only shown has no effect then. Returns what of the row is to be changed.
    Raises BucketForeign.
    """
    is_here = row.bucket == parts.settings.s3_bucket
    etag = await _ask(parts, row) if is_here else None
    parts.bucket.require_ours()
    if is_here and _says_more(row, etag, is_shown=meaning.shows):
        event = UploadEvent(bucket=row.bucket, key=row.key, etag=etag)
        recorded = await parts.clients.of(row.organization_id).run(
            lifecycle.record_uploads, [event], publish_grace_s=parts.settings.publish_grace
        )
        for wake_up in recorded.woken:
            parts.publisher.publish(wake_up)
    return meaning.kept


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


def _is_own_object(settings: Settings, row: Attachment, place: tuple[str, str] | None) -> bool:
    if place is None:
        return False
    return place[0] in (row.bucket, settings.s3_bucket) and place[1] == row.key


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
