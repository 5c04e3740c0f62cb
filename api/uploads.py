"""A `temp_url` taken at its word: the upload is recorded, or the object copied and recorded."""

from dataclasses import dataclass
from typing import Any

from api.parts import Parts
from api.problems import Problem, invalid
from api.temp_urls import locate, may_take, same_address
from shared import attachments, content_types, processing
from shared.addresses import without_credentials
from shared.attachments import Attachment
from shared.copies import Wanted
from shared.database import Connection
from shared.errors import ObjectMissing, StoreRefused
from shared.notifications import UploadEvent
from shared.settings import Settings
from shared.storage import StoredObject
from shared.turns import Turns

LOOKUPS, LOOKUPS_EACH, LOOKUP_WAIT_S = 9, 3, 30
"""Questions to the store about what a `temp_url` names at a time in this process, those of one
organization among them, and how many seconds one waits for its turn. With the copies (see
`api.copying`) they use fewer connections than the store's client has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an attachment's object comes from; `found` is None if it is in its place already.

    `url` is what is stored and shown: the address without credentials.
    """

    url: str
    pointer: str
    bucket: str
    key: str
    found: StoredObject | None

    @property
    def wanted(self) -> Wanted | None:
        """What is to be copied; None if the object is in its place already."""
        if self.found is None:
            return None
        return Wanted(bucket=self.bucket, key=self.key, etag=self.found.etag, temp_url=self.url)


def stored_type(settings: Settings, content_type: str | None, file_name: str) -> str | None:
    """Give the type that an original must be stored with; None leaves it to the store.

    In the public mode the store's type is the one that browsers see, so it is always fixed there.
    Elsewhere the redirect to the store overrides it, and only a declared one is fixed.
    """
    if settings.files_public:
        return content_types.public_type(content_type, file_name)
    return content_type


def _refuse(url: str, pointer: str, detail: str) -> Problem:
    meta = {"value": without_credentials(url)}
    return Problem(422, [invalid(f"{pointer}/attributes/temp_url", detail, meta)])


def name_source(
    settings: Settings, url: str, *, organization_id: int, pointer: str, own_key: str | None = None
) -> tuple[str, str]:
    """Tell the bucket and key that a `temp_url` names. Raises Problem 422 if it may not be taken.

    Only the attachment's own key and what `may_take` admits may be. The store is not asked, so
    that the answer does not tell what is in it.
    """
    named = locate(url, settings)
    if named is None or (
        named != (settings.s3_bucket, own_key)
        and not may_take(named, settings, organization_id=organization_id)
    ):
        raise _refuse(url, pointer, "is not an allowed location")
    return named


async def find_source(
    parts: Parts,
    url: str,
    *,
    organization_id: int,
    pointer: str,
    max_size: int,
    own_key: str | None = None,
) -> Source:
    """Check a `temp_url` and look at the object that it names, unless that is `own_key`'s.

    `max_size` is what the attachment may have, in bytes.

    Raises Problem 422 if it may not be taken, StoreUnavailable if the store cannot say.
    """
    bucket, key = name_source(
        parts.settings, url, organization_id=organization_id, pointer=pointer, own_key=own_key
    )
    shown = without_credentials(url)
    if bucket == parts.storage.bucket and key == own_key:
        return Source(url=shown, pointer=pointer, bucket=bucket, key=key, found=None)
    try:
        async with parts.lookups.turn(organization_id):
            found = await parts.storage.head(key, bucket=bucket)
    except (ObjectMissing, StoreRefused):
        raise _refuse(url, pointer, "is not an existing object") from None
    if found.size > max_size:
        raise _refuse(url, pointer, f"is too large (maximum is {max_size} bytes)")
    return Source(url=shown, pointer=pointer, bucket=bucket, key=key, found=found)


def is_as_shown(settings: Settings, url: str, row: Attachment, file_url: str) -> bool:
    """Whether a `temp_url` only repeats what the attachment shows, so that it states nothing.

    `file_url` is the address of the file, shown while there is no other. The attachment's own key
    in the bucket always states that a file is there: it may be a newer one.
    """
    if locate(url, settings) == (settings.s3_bucket, row.key):
        return False
    if row.temp_url is not None:
        return same_address(without_credentials(url), without_credentials(row.temp_url))
    return row.uploaded_at is not None and same_address(url, file_url)


async def record_in_place(
    parts: Parts, row: Attachment, changes: dict[str, Any]
) -> Attachment | None:
    """Record that the object is at the attachment's own key, with all other changes, or nothing.

    None if there is no such attachment any more.
    """
    found, recorded = await parts.clients.of(row.organization_id).run(
        _record_in_place, row, changes, publish_grace_s=parts.settings.publish_grace
    )
    for wake_up in recorded.woken:
        parts.publisher.publish(wake_up)
    return found


async def _record_in_place(
    connection: Connection, row: Attachment, changes: dict[str, Any], *, publish_grace_s: float
) -> tuple[Attachment | None, processing.Recorded]:
    event = UploadEvent(bucket=row.bucket, key=row.key, etag=None)
    async with connection.transaction():
        recorded = await processing.record_uploads(
            connection, [event], publish_grace_s=publish_grace_s
        )
        found = await attachments.update(connection, row.id, row.organization_id, changes)
    return found, recorded


def open_lookups() -> Turns:
    """Make the turns in which organizations have the store asked about their sources."""
    return Turns(LOOKUPS, each=LOOKUPS_EACH, wait_s=LOOKUP_WAIT_S)
