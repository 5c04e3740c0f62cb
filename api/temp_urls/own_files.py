"""Find out what an updated `temp_url` means: no change, the attachment's own file, or a copy.

Clients read a resource, change one member and send the whole resource back. So an address that the
service itself has returned must have no effect. There is one exception: the address of the object
at the attachment's own key means that a file was uploaded there. The service then asks the store
about the object, because the file may be newer than the recorded one.
"""

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
from shared.store_limits import store_limit

ASK_WITHIN_S = 5.0
"""Time, in seconds, in which the store must answer a request. After that, a worker asks the store
later."""


class Kind(Enum):
    """The possible meanings of a `temp_url`."""

    NOTHING = "it is absent, blank or what the attachment shows"
    OWN_FILE = "a file is at the attachment's own key"
    ANOTHER_OBJECT = "another object is to be copied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a `temp_url` means for one attachment.

    For ANOTHER_OBJECT, `location` is the object to copy; None if the organization may not copy it.
    For OWN_FILE, `shows` is True if the row already has this `temp_url`. `kept` has the changes
    that the row needs: the new `temp_url`, or nothing. Nothing is needed if the row already has it,
    or if the service itself serves a file at the address.
    """

    kind: Kind
    location: Location | None = None
    shows: bool = False
    kept: dict[str, str] = field(default_factory=dict)


NOTHING = Meaning(kind=Kind.NOTHING)


def read_meaning(
    parts: Parts, request: web.Request, row: Attachment, address: str | None
) -> tuple[Meaning, list[ErrorObject]]:
    """Return what an address means for an attachment, and errors if it is not allowed."""
    if address is None:
        return NOTHING, []
    settings = parts.settings
    located = locate(address, settings)
    is_object = _is_own_object(settings, row, located)
    is_file = not is_object and _is_file_address(parts, request, row, address)
    if is_file and row.temp_url is None and row.uploaded_at is not None:
        return NOTHING, []
    if is_object or is_file:
        return _own_file(parts, request, row, address, is_object=is_object), []
    if row.temp_url is not None and (
        same_address(without_credentials(address), without_credentials(row.temp_url))
        or (located is not None and located == locate(row.temp_url, settings))
    ):
        return NOTHING, []
    location, faults = judge(settings, address, located, organization_id=row.organization_id)
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
    """Record the file at an attachment's own key as an upload, unless it is known already.

    The file is known if the row has its etag. There is no etag if the store does not answer, or if
    the object does not exist or is older than the row. Then the upload is recorded all the same,
    and a worker checks the object. There is one exception: if there is no etag and the row already
    has this `temp_url`, the upload is recorded only if the row is `ready` or `rejected`.

    Returns the changes of the row. Raises BucketForeign.
    """
    is_here = row.bucket == parts.settings.s3_bucket
    etag = await _ask(parts, row) if is_here else None
    parts.bucket.require_ours()
    if is_here and _is_news(row, etag, is_shown=meaning.shows):
        event = UploadEvent(bucket=row.bucket, key=row.key, etag=etag)
        recorded = await parts.clients.of(row.organization_id).run(
            lifecycle.record_uploads, [event], publish_grace_s=parts.settings.publish_grace
        )
        for wake_up in recorded.woken:
            parts.publisher.publish(wake_up)
    return meaning.kept


def _is_news(row: Attachment, etag: str | None, *, is_shown: bool) -> bool:
    """Return True if an upload must be recorded.

    `etag` is the etag of the object in the store; None if there is no object or no answer.
    """
    if etag is None:
        # If the row already has this address, record an upload only for a measured row. For other
        # rows, the sweep asks the store later.
        return not is_shown or row.state in MEASURED
    # A worker will process the row and read the present object, so no upload needs to be recorded.
    if row.etag is None:
        return row.state not in UNDER_WAY
    return etag != row.etag


async def _ask(parts: Parts, row: Attachment) -> str | None:
    """Return the etag of the object at a row's key; None if there is no object or no answer."""
    try:
        async with store_limit(ASK_WITHIN_S), parts.lookups.turn(row.organization_id):
            await parts.bucket.require_known_ours()
            found = await parts.storage.head(row.key)
    except (StoreError, Busy, TimeoutError):
        return None
    # An object that is older than its row belongs to another attachment. A worker handles that.
    return None if parts.bucket.is_anothers(found, row) else found.etag


def _is_own_object(settings: Settings, row: Attachment, located: tuple[str, str] | None) -> bool:
    if located is None:
        return False
    return located[0] in (row.bucket, settings.s3_bucket) and located[1] == row.key


def _is_file_address(parts: Parts, request: web.Request, row: Attachment, address: str) -> bool:
    """Return True if the service serves a row's original at this address.

    If the settings give no base address, a link is relative or begins with the host of the request.
    The client may have completed a relative link with the host that it used.
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
